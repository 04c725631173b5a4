//! [`Line`]: one event with its fields as text, ready to be written.

use std::fmt::{self, Write as _};

use tracing::{
    Event, Level,
    field::{Field, Visit},
};
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

use super::FIELD_CHARS_MAX;
use crate::config::value::LogFormat;

/// A log line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    time: String,
    level: Level,
    target: &'static str,
    line: u32,
    message: String,
    fields: Vec<(&'static str, FieldValue)>,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum FieldValue {
    /// Tamed text.
    Text(String),
    /// A number or boolean as JSON writes it.
    Bare(String),
}

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut line = Self {
            time: String::new(),
            level: *metadata.level(),
            target: metadata.target(),
            line: metadata.line().unwrap_or(0),
            message: String::new(),
            fields: Vec::new(),
        };
        line.stamp();
        event.record(&mut line);
        line
    }

    /// Gives it the present time.
    pub(super) fn stamp(&mut self) {
        self.time.clear();
        // Fails only where the clock cannot be read; the line is worth more than its time.
        let _ = SystemTime.format_time(&mut Writer::new(&mut self.time));
    }

    /// Adds a number.
    pub(super) fn count(&mut self, name: &'static str, value: u64) {
        self.fields
            .push((name, FieldValue::Bare(value.to_string())));
    }

    fn bare(&mut self, field: &Field, value: impl ToString) {
        let value = FieldValue::Bare(value.to_string());
        self.fields.push((field.name(), value));
    }

    /// The place in the code that it comes from.
    pub(super) fn place(&self) -> (&'static str, u32) {
        (self.target, self.line)
    }

    /// What makes two lines the same: everything but the time.
    pub(super) fn content(&self) -> (&str, &[(&'static str, FieldValue)]) {
        (&self.message, &self.fields)
    }

    /// The line with its end.
    pub(super) fn render(&self, format: LogFormat) -> String {
        let mut out = match format {
            LogFormat::Text => self.text(),
            LogFormat::Json => self.json(),
        };
        out.push('\n');
        out
    }

    fn text(&self) -> String {
        let (time, level, target) = (&self.time, self.level, self.target);
        let mut out = format!("{time} {level:>5} {target}: {}", self.message);
        for (name, value) in &self.fields {
            let (FieldValue::Text(value) | FieldValue::Bare(value)) = value;
            let plain = !value.is_empty() && !value.contains([' ', '"', '=']);
            // Writing to a string cannot fail.
            let _ = if plain {
                write!(out, " {name}={value}")
            } else {
                write!(out, " {name}=\"{}\"", value.replace('"', "\\\""))
            };
        }
        out
    }

    fn json(&self) -> String {
        let mut object = serde_json::Map::new();
        let mut put = |name: &str, value: serde_json::Value| {
            object.insert(name.to_owned(), value);
        };
        put("time", self.time.as_str().into());
        put("level", self.level.as_str().into());
        put("target", self.target.into());
        put("message", self.message.as_str().into());
        for (name, value) in &self.fields {
            match value {
                FieldValue::Text(value) => put(name, value.as_str().into()),
                // Infinities and the like have no form of their own in JSON.
                FieldValue::Bare(value) => {
                    put(
                        name,
                        value.parse().unwrap_or_else(|_| value.as_str().into()),
                    );
                }
            }
        }
        serde_json::Value::from(object).to_string()
    }

    fn put(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = tamed(value);
        } else {
            let value = FieldValue::Text(tamed(value));
            self.fields.push((field.name(), value));
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.bare(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.bare(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, &value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

/// Escapes control characters and cuts what is too long.
fn tamed(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(FIELD_CHARS_MAX));
    for (count, character) in text.chars().enumerate() {
        if count == FIELD_CHARS_MAX {
            out.push_str("...");
            break;
        }
        if character.is_control()
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}
