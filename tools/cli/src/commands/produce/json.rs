//! [`JsonLines`]: each line is an object with key, value, headers, timestamp and partition, as
//! `millstream consume --format json` writes them.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use millstream::{Header, Record};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::input::{Parse, take_line};
use crate::{
    failure::{Failure, Result},
    time,
};

/// Parses JSON lines.
pub(crate) struct JsonLines {
    topic: Arc<str>,
    rows: u64,
}

/// One line. `topic` and `offset` are what `consume` wrote; they do not count here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(default)]
    key_encoding: Option<Encoding>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    value_encoding: Option<Encoding>,
    #[serde(default)]
    headers: Headers<'a>,
    #[serde(default)]
    timestamp: Option<Time>,
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default, rename = "topic")]
    _topic: Option<Cow<'a, str>>,
    #[serde(default, rename = "offset")]
    _offset: Option<i64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Base64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Millis(i64),
    Text(String),
}

/// A list keeps order and keys that repeat; an object is the short form.
#[derive(Deserialize)]
#[serde(untagged)]
enum Headers<'a> {
    List(#[serde(borrow)] Vec<HeaderRow<'a>>),
    Object(BTreeMap<String, Option<String>>),
}

impl Default for Headers<'_> {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderRow<'a> {
    key: Cow<'a, str>,
    value: Option<Cow<'a, str>>,
    #[serde(default)]
    value_encoding: Option<Encoding>,
}

impl JsonLines {
    pub(crate) const fn new(topic: Arc<str>) -> Self {
        Self { topic, rows: 0 }
    }

    fn record(&self, line: &[u8]) -> Result<Record> {
        // serde would take an array for an object without names.
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err(self.refuse(&"expected an object"));
        }
        let row: Row<'_> = serde_json::from_slice(line).map_err(|error| self.refuse(&error))?;
        let mut record = Record::to_topic(Arc::clone(&self.topic));
        if let Some(key) = self.bytes("key", row.key, row.key_encoding)? {
            record = record.key(key);
        }
        if let Some(value) = self.bytes("value", row.value, row.value_encoding)? {
            record = record.value(value);
        }
        if let Some(partition) = row.partition {
            record = record.partition(partition);
        }
        match row.timestamp {
            Some(Time::Millis(millis)) => record = record.timestamp_ms(millis),
            Some(Time::Text(text)) => {
                let millis = time::parse(&text).ok_or_else(|| {
                    self.refuse(&format!("timestamp is {text:?}, expected {}", time::FORMS))
                })?;
                record = record.timestamp_ms(millis);
            }
            None => {}
        }
        Ok(record.headers(self.headers(row.headers)?))
    }

    /// A string's own bytes, base64 where it says so; any other JSON as it stands; null is null.
    fn bytes(
        &self,
        field: &str,
        raw: Option<&RawValue>,
        encoding: Option<Encoding>,
    ) -> Result<Option<Bytes>> {
        let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
            return Ok(None);
        };
        if !raw.get().starts_with('"') {
            return Ok(Some(Bytes::copy_from_slice(raw.get().as_bytes())));
        }
        let text: String = serde_json::from_str(raw.get()).map_err(|error| self.refuse(&error))?;
        self.decode(field, text, encoding).map(Some)
    }

    fn decode(&self, field: &str, text: String, encoding: Option<Encoding>) -> Result<Bytes> {
        match encoding {
            None => Ok(Bytes::from(text)),
            Some(Encoding::Base64) => STANDARD
                .decode(&text)
                .map(Bytes::from)
                .map_err(|_| self.refuse(&format!("{field} is no base64"))),
        }
    }

    fn headers(&self, headers: Headers<'_>) -> Result<Vec<Header>> {
        let with_value = |key: String, value: Option<Bytes>| match value {
            Some(value) => Header::new(key, value),
            None => Header {
                key: key.into(),
                value: None,
            },
        };
        match headers {
            Headers::List(rows) => rows
                .into_iter()
                .map(|row| {
                    let decode = |text: Cow<'_, str>| {
                        self.decode("header value", text.into_owned(), row.value_encoding)
                    };
                    let value = row.value.map(decode).transpose()?;
                    Ok(with_value(row.key.into_owned(), value))
                })
                .collect(),
            Headers::Object(map) => Ok(map
                .into_iter()
                .map(|(key, value)| with_value(key, value.map(Bytes::from)))
                .collect()),
        }
    }

    fn refuse(&self, reason: &dyn std::fmt::Display) -> Failure {
        // Each row is a line of its own to the JSON parser.
        let reason = reason.to_string().replace(" at line 1 column", ", column");
        Failure::new(
            format!("row {} is not a record in JSON: {reason}", self.rows),
            r#"a row looks like {"key": "a", "value": "b", "headers": {"c": "d"}}; the rows above it were sent"#,
        )
    }
}

impl Parse for JsonLines {
    fn next(&mut self, input: &mut BytesMut, at_end: bool) -> Result<Option<Record>> {
        while let Some(line) = take_line(input, at_end) {
            self.rows += 1;
            if !line.iter().all(u8::is_ascii_whitespace) {
                return self.record(&line).map(Some);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::produce::input::tests::parse_all;

    fn parse(input: &str) -> Result<Vec<Record>> {
        parse_all(&mut JsonLines::new(Arc::from("t")), input.as_bytes(), 10)
    }

    #[test]
    fn every_field_finds_its_place() {
        let line = r#"{"topic":"x","partition":3,"offset":9,"timestamp":17,"key":"k","value":"v",
            "headers":[{"key":"h","value":"1"},{"key":"h","value":null}]}"#
            .replace('\n', "");
        let expected = Record::to_topic("t")
            .partition(3)
            .timestamp_ms(17)
            .key("k")
            .value("v")
            .headers([
                Header::new("h", "1"),
                Header {
                    key: "h".into(),
                    value: None,
                },
            ]);
        assert_eq!(parse(&line).expect("valid"), [expected]);
    }

    #[test]
    fn null_missing_empty_base64_and_other_json_are_told_apart() {
        let lines = "{}\n\n{\"key\":null,\"value\":\"\"}\n{\"value\":{\"a\": [1, 2]}}\n\
             {\"value\":\"/wA=\",\"value_encoding\":\"base64\",\"timestamp\":\"2013-01-01\"}\n";
        let record = || Record::to_topic("t");
        assert_eq!(
            parse(lines).expect("valid"),
            [
                record(),
                record().value(""),
                record().value("{\"a\": [1, 2]}"),
                record()
                    .value(Bytes::from_static(&[0xff, 0x00]))
                    .timestamp_ms(1_356_998_400_000),
            ]
        );
    }

    #[test]
    fn bad_rows_are_refused_with_their_number() {
        let refusals: Vec<_> = [
            "{}\n[1]\n",
            "{\"kee\":\"a\"}",
            "{\"value\":\"%\",\"value_encoding\":\"base64\"}",
            "{\"timestamp\":\"noon\"}",
            "hello",
        ]
        .iter()
        .map(|input| parse(input).expect_err("refused").to_string())
        .collect();
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
