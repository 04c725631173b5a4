//! Reads the input on a thread of its own and hands over parsed records in batches.
//!
//! A batch is what one read of the input completed, so that a slow input (somebody typing, `tail -f`)
//! is sent line by line and a fast one in large pieces.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    thread,
};

use bytes::BytesMut;
use millstream::Record;
use tokio::sync::mpsc;

use crate::{
    failure::{Failure, Result},
    quantity,
};

/// Batches of parsed records between the reader and the sender.
pub(crate) const BATCHES_QUEUED_MAX: usize = 4;
/// Bytes asked for in one read.
const READ_BYTES: usize = 256 * 1024;
/// Room for what a row has beside its record (quotes, JSON names) before it counts as endless.
const ROW_OVERHEAD_BYTES_MAX: usize = 1024 * 1024;

/// Where the rows come from.
pub(crate) struct Source {
    reader: Box<dyn Read + Send>,
    name: String,
    length: Option<u64>,
}

impl Source {
    /// The file, or standard input.
    ///
    /// # Errors
    /// When the file cannot be opened or is a directory.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::new("standard input", io::stdin()));
        };
        let name = path.display().to_string();
        let action = format!("cannot open {name}");
        let file = File::open(path).map_err(|error| Failure::io(&action, &error))?;
        let metadata = file
            .metadata()
            .map_err(|error| Failure::io(&action, &error))?;
        if metadata.is_dir() {
            return Err(Failure::new(
                format!("{name} is a directory, expected a file"),
                "name a file in it",
            ));
        }
        let mut source = Self::new(&name, file);
        source.length = metadata.is_file().then_some(metadata.len());
        Ok(source)
    }

    fn new(name: &str, reader: impl Read + Send + 'static) -> Self {
        Self {
            reader: Box::new(reader),
            name: name.to_owned(),
            length: None,
        }
    }

    /// Bytes that there are, where that is known.
    pub(crate) const fn length(&self) -> Option<u64> {
        self.length
    }
}

/// Turns bytes into records.
pub(crate) trait Parse: Send {
    /// Takes the next whole row off the front of `input`; `None` where more bytes are needed, or at
    /// the end, where nothing is left.
    ///
    /// # Errors
    /// When the row is not what the format says.
    fn next(&mut self, input: &mut BytesMut, at_end: bool) -> Result<Option<Record>>;
}

/// Records that one read completed.
#[derive(Default)]
pub(crate) struct Parsed {
    pub(crate) records: Vec<Record>,
    /// Bytes of input that they took.
    pub(crate) bytes: u64,
}

/// Starts the reader. It ends at the end of the input, after an error, or when nobody listens.
pub(crate) fn spawn(
    source: Source,
    parser: Box<dyn Parse>,
    record_bytes_max: usize,
) -> mpsc::Receiver<Result<Parsed>> {
    let (sender, receiver) = mpsc::channel(BATCHES_QUEUED_MAX);
    let row_bytes_max = record_bytes_max.saturating_add(ROW_OVERHEAD_BYTES_MAX);
    thread::spawn(move || {
        let mut reader = Reader {
            source,
            parser,
            buffer: BytesMut::new(),
            row_bytes_max,
            failure: None,
        };
        loop {
            let next = reader.next();
            let is_last = !matches!(next, Ok(Some(_)));
            if let Some(batch) = next.transpose()
                && sender.blocking_send(batch).is_err()
            {
                return;
            }
            if is_last {
                return;
            }
        }
    });
    receiver
}

struct Reader {
    source: Source,
    parser: Box<dyn Parse>,
    buffer: BytesMut,
    row_bytes_max: usize,
    /// What is wrong behind the records handed over last.
    failure: Option<Failure>,
}

impl Reader {
    /// What the next read completes; `None` at the end. Whole rows before a bad one come before its
    /// error.
    fn next(&mut self) -> Result<Option<Parsed>> {
        loop {
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            let at_end = self.fill()? == 0;
            let mut parsed = Parsed::default();
            self.failure = self.parse(&mut parsed, at_end).err();
            if !parsed.records.is_empty() {
                return Ok(Some(parsed));
            }
            if at_end && self.failure.is_none() {
                return Ok(None);
            }
        }
    }

    /// Takes all whole rows off the buffer.
    fn parse(&mut self, parsed: &mut Parsed, at_end: bool) -> Result<()> {
        let before = self.buffer.len();
        while let Some(record) = self.parser.next(&mut self.buffer, at_end)? {
            parsed.records.push(record);
            parsed.bytes = (before - self.buffer.len()) as u64;
        }
        if self.buffer.len() > self.row_bytes_max {
            return Err(self.endless_row());
        }
        Ok(())
    }

    /// Reads once; answers the bytes read, 0 at the end.
    fn fill(&mut self) -> Result<usize> {
        let start = self.buffer.len();
        self.buffer.resize(start + READ_BYTES, 0);
        let room = self.buffer.get_mut(start..).unwrap_or_default();
        let result = loop {
            match self.source.reader.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let read = result
            .map_err(|error| Failure::io(&format!("cannot read {}", self.source.name), &error))?;
        self.buffer.truncate(start + read);
        Ok(read)
    }

    fn endless_row(&self) -> Failure {
        let found = quantity::bytes(self.buffer.len() as u64);
        let max = quantity::bytes(self.row_bytes_max as u64);
        Failure::new(
            format!(
                "a row of {} does not end within {found}, at most {max} are allowed",
                self.source.name
            ),
            "check for an unclosed quote or the wrong --format, or raise --record-bytes-max",
        )
    }
}

/// Where the first line ends: its length without and with its line end (LF or CRLF).
pub(crate) fn line_end(input: &[u8]) -> Option<(usize, usize)> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let is_crlf = end > 0 && input.get(end - 1) == Some(&b'\r');
    Some((end - usize::from(is_crlf), end + 1))
}

/// Takes the next line off `input`, without its line end; the last one may lack it.
pub(crate) fn take_line(input: &mut BytesMut, at_end: bool) -> Option<BytesMut> {
    let Some((length, with_end)) = line_end(input) else {
        let is_rest = at_end && !input.is_empty();
        return is_rest.then(|| input.split());
    };
    let mut line = input.split_to(with_end);
    line.truncate(length);
    Some(line)
}

#[cfg(test)]
pub(crate) mod tests {
    //! A parser's harness, and the reader itself.

    use std::sync::Arc;

    use super::*;
    use crate::commands::produce::{json::JsonLines, lines::Lines};

    /// What the parser makes of `input`, given to it in pieces of `step` bytes.
    pub(crate) fn parse_all(
        parser: &mut dyn Parse,
        input: &[u8],
        step: usize,
    ) -> Result<Vec<Record>> {
        let mut buffer = BytesMut::new();
        let mut records = Vec::new();
        for piece in input.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(record) = parser.next(&mut buffer, false)? {
                records.push(record);
            }
        }
        while let Some(record) = parser.next(&mut buffer, true)? {
            records.push(record);
        }
        Ok(records)
    }

    fn reader(input: &'static [u8], row_bytes_max: usize) -> Reader {
        Reader {
            source: Source::new("test", input),
            parser: Box::new(Lines::new(Arc::from("t"))),
            buffer: BytesMut::new(),
            row_bytes_max,
            failure: None,
        }
    }

    #[test]
    fn records_and_their_bytes_are_counted_and_the_end_is_told() {
        let mut reader = reader(b"a\nbc\nd", 100);
        let first = reader.next().expect("readable").expect("rows");
        assert_eq!((first.records.len(), first.bytes), (2, 5));
        let last = reader.next().expect("readable").expect("the rest");
        assert_eq!((last.records.len(), last.bytes), (1, 1));
        assert!(reader.next().expect("readable").is_none());
    }

    #[test]
    fn rows_before_a_bad_one_come_before_its_error() {
        let mut reader = reader(b"{\"value\":1}\n{\"value\":2}\nbad\n{}\n", 100);
        reader.parser = Box::new(JsonLines::new(Arc::from("t")));
        let sound = reader.next().expect("sound rows").expect("two");
        assert_eq!((sound.records.len(), sound.bytes), (2, 24));
        let failure = reader.next().map(|_| ()).expect_err("the bad row");
        assert!(failure.to_string().contains("row 3"), "{failure}");
    }

    #[test]
    fn a_row_without_end_is_refused() {
        let failure = reader(b"abcdefghijkl", 10).next().map(|_| ());
        let text = failure.expect_err("too long").to_string();
        insta::assert_snapshot!(text, @r"
        error: a row of test does not end within 12 B, at most 10 B are allowed
        hint: check for an unclosed quote or the wrong --format, or raise --record-bytes-max
        ");
    }
}
