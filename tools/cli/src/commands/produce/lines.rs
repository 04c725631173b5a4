//! [`Lines`]: each line is a value.

use std::sync::Arc;

use bytes::BytesMut;
use millstream::Record;

use super::input::{Parse, take_line};
use crate::failure::Result;

/// Parses lines.
pub(crate) struct Lines {
    topic: Arc<str>,
}

impl Lines {
    pub(crate) const fn new(topic: Arc<str>) -> Self {
        Self { topic }
    }
}

impl Parse for Lines {
    fn next(&mut self, input: &mut BytesMut, at_end: bool) -> Result<Option<Record>> {
        let line = take_line(input, at_end);
        Ok(line.map(|line| Record::to_topic(Arc::clone(&self.topic)).value(line.freeze())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::produce::input::tests::parse_all;

    #[test]
    fn every_line_is_a_record_also_an_empty_one_and_one_without_line_end() {
        let topic: Arc<str> = Arc::from("t");
        for step in [1, 2, 100] {
            let mut lines = Lines::new(Arc::clone(&topic));
            let records = parse_all(&mut lines, b"a\n\nb c\r\nd", step).expect("lines");
            let expected: Vec<_> = ["a", "", "b c", "d"]
                .into_iter()
                .map(|value| Record::to_topic(Arc::clone(&topic)).value(value))
                .collect();
            assert_eq!(records, expected, "{step}");
        }
    }
}
