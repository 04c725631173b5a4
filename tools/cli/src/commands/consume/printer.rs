//! [`Printer`]: the text of records on standard output, and how far each partition of the topic is
//! printed.
//!
//! Printed is what the system took: text that is only collected here is not, and where writing fails,
//! nothing since the last flush that succeeded.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
};

use millstream::ConsumedRecord;

use super::format::Format;

/// Bytes of output that are collected before they are written, where more records are at hand.
const OUTPUT_BUFFER_BYTES: usize = 256 * 1024;

/// Prints records.
#[derive(Debug)]
pub(super) struct Printer<W: Write> {
    output: BufWriter<W>,
    format: Format,
    line: Vec<u8>,
    /// Offset after the last record printed, by partition.
    printed: BTreeMap<i32, i64>,
    /// As `printed`, of what was collected since the last flush.
    collected: BTreeMap<i32, i64>,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(output: W, format: Format) -> Self {
        Self {
            output: BufWriter::with_capacity(OUTPUT_BUFFER_BYTES, output),
            format,
            line: Vec::new(),
            printed: BTreeMap::new(),
            collected: BTreeMap::new(),
        }
    }

    /// Takes a record.
    pub(super) fn print(&mut self, record: &ConsumedRecord) -> io::Result<()> {
        self.line.clear();
        self.format.write(record, &mut self.line);
        self.line.push(b'\n');
        let next = record.offset.saturating_add(1);
        self.collected.insert(record.partition, next);
        self.output.write_all(&self.line)
    }

    /// Hands everything taken to the system.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()?;
        self.printed.append(&mut self.collected);
        Ok(())
    }

    /// What may be committed of a partition that was read up to `position`: that, unless records before
    /// it are not printed.
    pub(super) fn committable(&self, partition: i32, position: i64) -> Option<i64> {
        if self.collected.contains_key(&partition) {
            self.printed.get(&partition).copied()
        } else {
            Some(position)
        }
    }
}
