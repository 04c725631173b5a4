//! [`Csv`]: each row is a value, byte for byte as it stands; a column may be the key, another the time.
//!
//! csv-core finds where rows and cells end, quoted line ends included; the bytes of the value are cut
//! out of the input and never rewritten. LF ends a row; a CR before it belongs to the line end.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use millstream::Record;

use super::input::Parse;
use crate::{
    failure::{Failure, Result},
    quantity::counted,
    session::nearest,
    time,
};

/// Parses a CSV file with a header.
pub(crate) struct Csv {
    topic: Arc<str>,
    key_column: Option<String>,
    timestamp_column: Option<String>,
    columns: Option<Columns>,
    cells: Cells,
    reader: Reader,
    /// Bytes at the front of the input that the reader has seen.
    scanned: usize,
    /// Rows found, the header among them.
    rows: u64,
}

/// What the header says.
struct Columns {
    count: usize,
    key: Option<usize>,
    timestamp: Option<usize>,
}

/// The cells of one row, without their quotes.
struct Cells {
    text: Vec<u8>,
    text_len: usize,
    ends: Vec<usize>,
    count: usize,
}

impl Cells {
    fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(..self.count)?.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..end)
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count).filter_map(|index| self.get(index))
    }

    const fn clear(&mut self) {
        self.text_len = 0;
        self.count = 0;
    }
}

impl Csv {
    pub(crate) fn new(
        topic: Arc<str>,
        key_column: Option<String>,
        timestamp_column: Option<String>,
    ) -> Self {
        Self {
            topic,
            key_column,
            timestamp_column,
            columns: None,
            cells: Cells {
                text: vec![0; 4096],
                text_len: 0,
                ends: vec![0; 64],
                count: 0,
            },
            reader: ReaderBuilder::new()
                .terminator(Terminator::Any(b'\n'))
                .build(),
            scanned: 0,
            rows: 0,
        }
    }

    /// Length of the row at the front of `input`, its cells in `self.cells`; `None` where it is not
    /// whole yet, or nothing is left.
    fn scan(&mut self, input: &[u8], at_end: bool) -> Option<usize> {
        loop {
            let unseen = input.get(self.scanned..).unwrap_or_default();
            if unseen.is_empty() && !at_end {
                return None;
            }
            let text = self.cells.text.get_mut(self.cells.text_len..)?;
            let ends = self.cells.ends.get_mut(self.cells.count..)?;
            let (result, read, written, ended) = self.reader.read_record(unseen, text, ends);
            self.scanned += read;
            self.cells.text_len += written;
            self.cells.count += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => {
                    let length = self.cells.text.len();
                    self.cells.text.resize(length * 2, 0);
                }
                ReadRecordResult::OutputEndsFull => {
                    let length = self.cells.ends.len();
                    self.cells.ends.resize(length * 2, 0);
                }
                ReadRecordResult::Record => return Some(self.scanned),
                ReadRecordResult::End => return None,
            }
        }
    }

    fn read_header(&self) -> Result<Columns> {
        let names: Vec<_> = self
            .cells
            .iter()
            .map(|cell| {
                String::from_utf8_lossy(cell)
                    .trim_start_matches('\u{feff}')
                    .to_owned()
            })
            .map(|name| name.trim_end_matches('\r').to_owned())
            .collect();
        Ok(Columns {
            count: names.len(),
            key: find_column(&names, "--key", self.key_column.as_deref())?,
            timestamp: find_column(&names, "--timestamp", self.timestamp_column.as_deref())?,
        })
    }

    fn record(&self, columns: &Columns, value: Bytes, ends_in_cr: bool) -> Result<Record> {
        if self.cells.count != columns.count {
            return Err(Failure::new(
                format!(
                    "row {} of the CSV has {}, its header has {}",
                    self.rows,
                    counted(self.cells.count as u64, "cell"),
                    columns.count
                ),
                "check the quotes in and above that row; the rows above it were sent",
            ));
        }
        let mut record = Record::to_topic(Arc::clone(&self.topic)).value(value);
        if let Some(key) = columns.key.and_then(|index| self.cell(index, ends_in_cr))
            && !key.is_empty()
        {
            record = record.key(Bytes::copy_from_slice(key));
        }
        if let Some(cell) = columns
            .timestamp
            .and_then(|index| self.cell(index, ends_in_cr))
            && !cell.is_empty()
        {
            record = record.timestamp_ms(self.timestamp(cell)?);
        }
        Ok(record)
    }

    /// A cell; the last one of a row that ends in CRLF without the CR.
    fn cell(&self, index: usize, ends_in_cr: bool) -> Option<&[u8]> {
        let cell = self.cells.get(index)?;
        if ends_in_cr && index + 1 == self.cells.count {
            return Some(cell.strip_suffix(b"\r").unwrap_or(cell));
        }
        Some(cell)
    }

    fn timestamp(&self, cell: &[u8]) -> Result<i64> {
        let text = String::from_utf8_lossy(cell);
        time::parse_or_millis(&text).ok_or_else(|| {
            Failure::new(
                format!("row {} of the CSV has the time {text:?}", self.rows),
                format!("expected {}, or milliseconds since the epoch", time::FORMS),
            )
        })
    }

    /// A row that was cut off the input: the header, a record, or nothing where it is blank.
    fn take_row(&mut self, mut row: BytesMut) -> Result<Option<Record>> {
        // csv-core skips blank lines before a row, and they come with it.
        while row.first() == Some(&b'\n') {
            let _ = row.split_to(1);
        }
        if row.last() == Some(&b'\n') {
            row.truncate(row.len() - 1);
        }
        let ends_in_cr = row.last() == Some(&b'\r');
        if ends_in_cr {
            row.truncate(row.len() - 1);
        }
        if row.is_empty() {
            return Ok(None);
        }
        self.rows += 1;
        let Some(columns) = self.columns.take() else {
            self.columns = Some(self.read_header()?);
            return Ok(None);
        };
        let record = self.record(&columns, row.freeze(), ends_in_cr);
        self.columns = Some(columns);
        record.map(Some)
    }
}

impl Parse for Csv {
    fn next(&mut self, input: &mut BytesMut, at_end: bool) -> Result<Option<Record>> {
        while let Some(length) = self.scan(input, at_end) {
            let row = input.split_to(length);
            self.scanned = 0;
            if at_end && input.is_empty() && has_open_quote(&row) {
                return Err(Failure::new(
                    format!("row {} of the CSV has an unclosed quote", self.rows + 1),
                    "close it, or pass --format lines; the rows above it were sent",
                ));
            }
            let record = self.take_row(row);
            self.cells.clear();
            if let Some(record) = record? {
                return Ok(Some(record));
            }
        }
        if at_end && self.columns.is_none() {
            return Err(Failure::new(
                "the CSV has no header",
                "its first row names the columns; pass --format lines for rows without one",
            ));
        }
        Ok(None)
    }
}

/// Whether the quotes of a row do not pair up.
fn has_open_quote(row: &[u8]) -> bool {
    !row.iter()
        .filter(|byte| **byte == b'"')
        .count()
        .is_multiple_of(2)
}

fn find_column(names: &[String], flag: &str, wanted: Option<&str>) -> Result<Option<usize>> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let mut found = (0..).zip(names).filter(|(_, name)| *name == wanted);
    match (found.next(), found.next()) {
        (Some((index, _)), None) => return Ok(Some(index)),
        (Some((first, _)), Some((second, _))) => {
            return Err(Failure::new(
                format!(
                    "columns {} and {} of the CSV are both named {wanted}, expected one for {flag}",
                    first + 1,
                    second + 1
                ),
                "give one of them another name in the header",
            ));
        }
        (None, _) => {}
    }
    let nearest = nearest(wanted, names.iter().map(String::as_str))
        .map_or_else(String::new, |name| format!("; the nearest is {name}"));
    Err(Failure::new(
        format!("{flag} is {wanted}, and the CSV has no such column{nearest}"),
        format!("its columns are {}", names.join(", ")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::produce::input::tests::parse_all;

    fn csv(key: &str, timestamp: Option<&str>) -> Csv {
        let timestamp = timestamp.map(str::to_owned);
        Csv::new(Arc::from("t"), Some(key.to_owned()), timestamp)
    }

    fn expected(rows: &[(Option<&'static str>, &'static str)]) -> Vec<Record> {
        rows.iter()
            .map(|(key, value)| {
                let record = Record::to_topic("t").value(*value);
                key.map_or(record.clone(), |key| record.key(key))
            })
            .collect()
    }

    /// Whatever the pieces that the input comes in.
    fn check(input: &str, rows: &[(Option<&'static str>, &'static str)]) {
        for step in [1, 2, 3, 7, 1000] {
            let records = parse_all(&mut csv("k", None), input.as_bytes(), step).expect("valid");
            assert_eq!(records, expected(rows), "step {step} of {input:?}");
        }
    }

    fn refusal(input: &str, mut csv: Csv) -> String {
        let records = parse_all(&mut csv, input.as_bytes(), 1000);
        records.expect_err("refused").to_string()
    }

    #[test]
    fn the_header_is_no_record_and_rows_stand_as_they_are() {
        check(
            "k,v\na,1\nb, 2 \n",
            &[(Some("a"), "a,1"), (Some("b"), "b, 2 ")],
        );
    }

    #[test]
    fn quoted_cells_keep_quotes_commas_and_line_ends_in_the_value() {
        check(
            "k,v\n\"a,b\",\"say \"\"hi\"\"\r\n\nthere\"\nc,\"\"\n",
            &[
                (Some("a,b"), "\"a,b\",\"say \"\"hi\"\"\r\n\nthere\""),
                (Some("c"), "c,\"\""),
            ],
        );
    }

    #[test]
    fn crlf_ends_a_row_and_is_no_part_of_it_nor_of_its_last_cell() {
        check(
            "v,k\r\n1,a\r\n\"2\",\"b\"\r\n",
            &[(Some("a"), "1,a"), (Some("b"), "\"2\",\"b\"")],
        );
    }

    #[test]
    fn an_empty_key_cell_is_a_null_key_and_na_is_a_key_like_any_other() {
        check(
            "k,v\n,1\nNA,2\n\"\",3\n",
            &[(None, ",1"), (Some("NA"), "NA,2"), (None, "\"\",3")],
        );
    }

    #[test]
    fn blank_lines_are_skipped_and_the_last_line_end_may_lack() {
        check(
            "\n\nk,v\n\na,1\n\r\n\nb,2",
            &[(Some("a"), "a,1"), (Some("b"), "b,2")],
        );
    }

    #[test]
    fn rows_longer_than_the_first_buffers_are_whole() {
        let long = "x".repeat(10_000);
        let input = format!("k,v\na,{long}\nb,1\n");
        let records = parse_all(&mut csv("k", None), input.as_bytes(), 999).expect("valid");
        let first = Record::to_topic("t").key("a").value(format!("a,{long}"));
        assert_eq!(records.first(), Some(&first));
        assert_eq!(records.len(), 2);
    }

    #[test]
    fn many_columns_are_found() {
        let header: Vec<_> = (0..200).map(|index| format!("c{index}")).collect();
        let row: Vec<_> = (0..200).map(|index| index.to_string()).collect();
        let input = format!("{}\n{}\n", header.join(","), row.join(","));
        let records = parse_all(&mut csv("c199", None), input.as_bytes(), 50).expect("valid");
        assert_eq!(
            records,
            [Record::to_topic("t").key("199").value(row.join(","))]
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        check("\u{feff}k,v\na,1\n", &[(Some("a"), "a,1")]);
    }

    #[test]
    fn the_timestamp_column_is_read() {
        let input = "k,at\na,2013-01-01T10:00:00Z\nb,17\nc,\n";
        let records = parse_all(&mut csv("k", Some("at")), input.as_bytes(), 1000).expect("valid");
        let base =
            |key: &'static str, value: &'static str| Record::to_topic("t").key(key).value(value);
        assert_eq!(
            records,
            [
                base("a", "a,2013-01-01T10:00:00Z").timestamp_ms(1_357_034_400_000),
                base("b", "b,17").timestamp_ms(17),
                base("c", "c,"),
            ]
        );
    }

    #[test]
    fn bad_files_are_refused_with_row_and_reason() {
        let refusals = [
            refusal("", csv("k", None)),
            refusal("key,v\n", csv("k", None)),
            refusal("k,v,k\na,1,b\n", csv("k", None)),
            refusal("kee,v\n", csv("key", None)),
            refusal("k,v\na,1\nb\n", csv("k", None)),
            refusal("k,v\na,\"1\nb,2\n", csv("k", None)),
            refusal("k,at\na,noon\n", csv("k", Some("at"))),
        ];
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
