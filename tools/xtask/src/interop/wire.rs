//! The little of Kafka's protocol that the run itself speaks: to create topics, and to ask a broker what it
//! serves and how it is configured. Old versions without compact lengths.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

/// Longest answer that is believed.
const ANSWER_BYTES_MAX: usize = 16 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);
const CREATE_TOPICS: i16 = 19;
const API_VERSIONS: i16 = 18;
const DESCRIBE_CONFIGS: i16 = 32;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// What a configuration is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Topic = 2,
    Broker = 4,
    Group = 32,
}

/// One key that DescribeConfigs answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigKey {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) read_only: bool,
}

/// A connection to a broker.
pub(crate) struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub(crate) fn connect(server: &str) -> Result<Self> {
        let stream =
            TcpStream::connect(server).with_context(|| format!("cannot reach {server}"))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Creates a topic with one replica, if it is not there.
    ///
    /// # Errors
    /// When the broker refuses it.
    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let mut body = Writer::default();
        body.count(1)?.string(name)?.int32(partitions).int16(1);
        body.count(0)?.count(configs.len())?;
        for (key, value) in configs {
            body.string(key)?.string(value)?;
        }
        body.int32(60_000).int8(0);
        let answer = self.call(CREATE_TOPICS, 2, &body.0)?;
        let mut answer = Reader(&answer);
        answer.int32()?;
        ensure!(answer.int32()? == 1, "one topic was to be created");
        answer.string()?;
        match (answer.int16()?, answer.string()?) {
            (0 | TOPIC_ALREADY_EXISTS, _) => Ok(()),
            (code, message) => bail!("topic {name} is refused: error {code}, {message:?}"),
        }
    }

    /// Keys of all APIs with the first and last version of each.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) fn api_versions(&mut self) -> Result<Vec<(i16, i16, i16)>> {
        let answer = self.call(API_VERSIONS, 2, &[])?;
        let mut answer = Reader(&answer);
        let code = answer.int16()?;
        ensure!(code == 0, "ApiVersions answers error {code}");
        let count = answer.int32()?;
        (0..count)
            .map(|_| Ok((answer.int16()?, answer.int16()?, answer.int16()?)))
            .collect()
    }

    /// All configuration keys of a resource, or with which error the broker refuses.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) fn describe_configs(
        &mut self,
        resource: Resource,
        name: &str,
    ) -> Result<Result<Vec<ConfigKey>, String>> {
        let mut body = Writer::default();
        body.count(1)?.int8(resource as i8).string(name)?;
        body.int32(-1).int8(0).int8(0);
        let answer = self.call(DESCRIBE_CONFIGS, 3, &body.0)?;
        let mut answer = Reader(&answer);
        answer.int32()?;
        ensure!(answer.int32()? == 1, "one resource was asked for");
        let (code, message) = (answer.int16()?, answer.string()?);
        if code != 0 {
            return Ok(Err(format!("error {code}, {message:?}")));
        }
        answer.int8()?;
        answer.string()?;
        let count = answer.int32()?;
        let keys: Result<Vec<_>> = (0..count).map(|_| answer.config_key()).collect();
        keys.map(Ok)
    }

    /// Sends a request and answers the body of the response, behind its correlation id.
    fn call(&mut self, api: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
        let mut request = Writer::default();
        request.int16(api).int16(version).int32(1).string("xtask")?;
        request.0.extend(body);
        let mut frame = Writer::default();
        frame.count(request.0.len())?.0.extend(request.0);
        self.stream.write_all(&frame.0)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        let mut correlation_id = [0; 4];
        self.stream.read_exact(&mut correlation_id)?;
        let body_length = length.checked_sub(correlation_id.len());
        let mut answer = vec![0; body_length.context("an answer without correlation id")?];
        self.stream.read_exact(&mut answer)?;
        Ok(answer)
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn int8(&mut self, value: i8) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn int16(&mut self, value: i16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn int32(&mut self, value: i32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn count(&mut self, count: usize) -> Result<&mut Self> {
        Ok(self.int32(i32::try_from(count)?))
    }

    fn string(&mut self, text: &str) -> Result<&mut Self> {
        self.int16(i16::try_from(text.len())?)
            .0
            .extend(text.bytes());
        Ok(self)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().context("an answer ends early")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn int8(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.take()?))
    }

    fn int16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    fn int32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    fn string(&mut self) -> Result<Option<String>> {
        let Ok(length) = usize::try_from(self.int16()?) else {
            return Ok(None);
        };
        let (text, rest) = self
            .0
            .split_at_checked(length)
            .context("an answer ends early")?;
        self.0 = rest;
        Ok(Some(String::from_utf8(text.to_vec())?))
    }

    fn config_key(&mut self) -> Result<ConfigKey> {
        let name = self.string()?.context("a key without name")?;
        let value = self.string()?;
        let read_only = self.int8()? != 0;
        let (_source, _sensitive) = (self.int8()?, self.int8()?);
        ensure!(self.int32()? == 0, "synonyms were not asked for");
        let (_type, _documentation) = (self.int8()?, self.string()?);
        Ok(ConfigKey {
            name,
            value,
            read_only,
        })
    }
}
