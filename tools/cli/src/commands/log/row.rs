//! [`Row`]: one line of a dump, as `name=value` for people and as JSON for programs.

use std::io::Write;

use serde_json::{Map, Value};

use crate::{failure::Result, output::OutputFormat};

/// Named values in the order in which they are shown.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Row {
    fields: Vec<(&'static str, Value)>,
}

impl Row {
    /// A row of one field.
    pub(crate) fn new(name: &'static str, value: impl Into<Value>) -> Self {
        Self::default().with(name, value)
    }

    /// The row with one more field.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Writes the row as a line. JSON rows carry the file that they come from.
    pub(crate) fn write(
        self,
        file: &str,
        format: OutputFormat,
        output: &mut impl Write,
    ) -> Result<()> {
        let line = match format {
            OutputFormat::Table => self.text(),
            OutputFormat::Json => self.json(file).to_string(),
        };
        Ok(writeln!(output, "{line}")?)
    }

    fn text(&self) -> String {
        let fields: Vec<_> = self
            .fields
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)))
            .collect();
        fields.join(" ")
    }

    fn json(self, file: &str) -> Value {
        let file = ("file".to_owned(), Value::from(file));
        let fields = self
            .fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        Value::Object(std::iter::once(file).chain(fields).collect::<Map<_, _>>())
    }
}

/// Text without spaces needs no quotes; what has some is quoted with its escapes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text)
            if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"') =>
        {
            text.clone()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_text_in_order_and_json_with_their_file() {
        let row = Row::new("offset", 7)
            .with("key", "a b")
            .with("value", Value::Null);
        assert_eq!(row.text(), r#"offset=7 key="a b" value=null"#);
        let json = r#"{"file":"x.log","key":"a b","offset":7,"value":null}"#;
        assert_eq!(row.json("x.log").to_string(), json);
    }
}
