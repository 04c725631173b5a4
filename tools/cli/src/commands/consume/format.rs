//! [`Format`]: how a record is written, without the line end after it.
//!
//! Value, JSON or a template. [`parse`] reads the option, [`Format::write`] appends a record; the JSON
//! form is what `millstream produce --format json` reads, byte for byte the same record.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use millstream::{ConsumedRecord, Header};
use serde::Serialize;

use crate::time;

/// Names that a template may hold, for messages.
const FIELDS: &str = "topic, partition, offset, timestamp, time, key, value, headers";

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// The value's own bytes.
    Value,
    /// One JSON object.
    Json,
    /// Text with fields in it.
    Template(Vec<Part>),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Field(Field),
}

/// What a template can show of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Time,
    Key,
    Value,
    Headers,
}

/// Reads `value`, `json`, or a template, which has at least one field.
///
/// # Errors
/// Says what the text is not.
pub(crate) fn parse(text: &str) -> Result<Format, String> {
    match text {
        "value" => return Ok(Format::Value),
        "json" => return Ok(Format::Json),
        _ => {}
    }
    let parts = parse_template(text)?;
    if parts.iter().any(|part| matches!(part, Part::Field(_))) {
        Ok(Format::Template(parts))
    } else {
        Err(format!(
            "expected value, json, or a template with a field, of {FIELDS}, in braces"
        ))
    }
}

fn parse_template(template: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = template.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => text.push(parse_escape(rest.next())?),
            '{' | '}' if rest.as_str().starts_with(letter) => {
                rest.next();
                text.push(letter);
            }
            '{' => {
                let (name, after) = rest
                    .as_str()
                    .split_once('}')
                    .ok_or("a field's brace is not closed; write {{ for a brace")?;
                rest = after.chars();
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Field(parse_field(name)?));
            }
            '}' => return Err("a brace is closed that was not opened; write }} for one".to_owned()),
            other => text.push(other),
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

fn parse_escape(letter: Option<char>) -> Result<char, String> {
    match letter {
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some('0') => Ok('\0'),
        Some('\\') => Ok('\\'),
        _ => Err(r"a backslash stands before n, t, 0 or \".to_owned()),
    }
}

fn parse_field(name: &str) -> Result<Field, String> {
    Ok(match name {
        "topic" => Field::Topic,
        "partition" => Field::Partition,
        "offset" => Field::Offset,
        "timestamp" => Field::Timestamp,
        "time" => Field::Time,
        "key" => Field::Key,
        "value" => Field::Value,
        "headers" => Field::Headers,
        _ => return Err(format!("no field {name}, expected {FIELDS}")),
    })
}

impl Format {
    /// Appends the record to `line`.
    pub(crate) fn write(&self, record: &ConsumedRecord, line: &mut Vec<u8>) {
        match self {
            Self::Value => line.extend_from_slice(record.value.as_deref().unwrap_or_default()),
            Self::Json => write_json(record, line),
            Self::Template(parts) => {
                for part in parts {
                    match part {
                        Part::Text(text) => line.extend_from_slice(text.as_bytes()),
                        Part::Field(field) => write_field(*field, record, line),
                    }
                }
            }
        }
    }
}

fn write_field(field: Field, record: &ConsumedRecord, line: &mut Vec<u8>) {
    let bytes = |bytes: &Option<Bytes>| bytes.clone().unwrap_or(Bytes::from_static(b"null"));
    match field {
        Field::Topic => line.extend_from_slice(record.topic.as_str().as_bytes()),
        Field::Partition => line.extend_from_slice(record.partition.to_string().as_bytes()),
        Field::Offset => line.extend_from_slice(record.offset.to_string().as_bytes()),
        Field::Timestamp => line.extend_from_slice(record.timestamp_ms.to_string().as_bytes()),
        Field::Time => line.extend_from_slice(time::format(record.timestamp_ms).as_bytes()),
        Field::Key => line.extend_from_slice(&bytes(&record.key)),
        Field::Value => line.extend_from_slice(&bytes(&record.value)),
        Field::Headers => {
            for (index, header) in record.headers.iter().enumerate() {
                if index > 0 {
                    line.push(b',');
                }
                line.extend_from_slice(&header.key);
                line.push(b'=');
                line.extend_from_slice(&bytes(&header.value));
            }
        }
    }
}

#[derive(Serialize)]
struct JsonRecord<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_encoding: Option<&'static str>,
    value: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_encoding: Option<&'static str>,
    headers: Vec<JsonHeader<'a>>,
}

#[derive(Serialize)]
struct JsonHeader<'a> {
    key: Cow<'a, str>,
    value: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_encoding: Option<&'static str>,
}

fn write_json(record: &ConsumedRecord, line: &mut Vec<u8>) {
    let (key, key_encoding) = text(record.key.as_ref());
    let (value, value_encoding) = text(record.value.as_ref());
    let json = JsonRecord {
        topic: record.topic.as_str(),
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp_ms,
        key,
        key_encoding,
        value,
        value_encoding,
        headers: record.headers.iter().map(json_header).collect(),
    };
    serde_json::to_writer(line, &json).expect("strings and numbers have a JSON form");
}

fn json_header(header: &Header) -> JsonHeader<'_> {
    let (value, value_encoding) = text(header.value.as_ref());
    JsonHeader {
        key: String::from_utf8_lossy(&header.key),
        value,
        value_encoding,
    }
}

/// UTF-8 as it is, other bytes in base64 with the name of that encoding.
fn text(bytes: Option<&Bytes>) -> (Option<Cow<'_, str>>, Option<&'static str>) {
    let Some(bytes) = bytes else {
        return (None, None);
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(Cow::Borrowed(text)), None),
        Err(_) => (Some(Cow::Owned(STANDARD.encode(bytes))), Some("base64")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_hold_text_fields_escapes_and_braces() {
        let expected = vec![
            Part::Text("a\t{".to_owned()),
            Part::Field(Field::Offset),
            Part::Text("}".to_owned()),
            Part::Field(Field::Key),
        ];
        assert_eq!(
            parse(r"a\t{{{offset}}}{key}"),
            Ok(Format::Template(expected))
        );
    }

    #[test]
    fn what_is_no_format_is_refused_with_what_would_be() {
        let refusals: Vec<_> = ["valeu", "{ofset}", "{offset", "offset}", r"\q{key}"]
            .iter()
            .map(|text| format!("{text}: {}", parse(text).expect_err("refused")))
            .collect();
        insta::assert_snapshot!(refusals.join("\n"));
    }

    #[test]
    fn bytes_that_are_no_text_are_base64_and_say_so() {
        let utf8 = Bytes::from_static("ä".as_bytes());
        assert_eq!(text(Some(&utf8)), (Some(Cow::Borrowed("ä")), None));
        let other = Bytes::from_static(&[0xff, 0]);
        assert_eq!(
            text(Some(&other)),
            (Some(Cow::Borrowed("/wA=")), Some("base64"))
        );
        assert_eq!(text(None), (None, None));
    }
}
