//! [`Shelf`]: a file of batches that sockets take from there.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    net::TcpStream,
    ops::Range,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use bytes::BytesMut;
use millstream_proto::{
    Offset,
    record::{BatchHeader, patch},
};

/// One batch again and again. A part for each partition, all of the same size, in each of which offsets go on
/// from 0.
#[derive(Debug)]
pub struct Shelf {
    file: File,
    batch_bytes: u64,
    batch_records: u64,
    part_bytes: u64,
    parts: u64,
}

impl Shelf {
    /// Writes it, with so many bytes of whole batches at most.
    ///
    /// # Errors
    /// What the disk says; a batch that is none.
    pub fn write(path: &Path, batch: &[u8], parts: u64, bytes_max: u64) -> Result<Self> {
        let records = BatchHeader::decode(batch)?.last_offset_delta() + 1;
        let batch_bytes = batch.len() as u64;
        let part_batches = bytes_max / parts / batch_bytes;
        let mut batch = BytesMut::from(batch);
        let mut file = BufWriter::new(File::create(path)?);
        for _ in 0..parts {
            let mut base_offset = Offset::ZERO;
            for _ in 0..part_batches {
                patch::base_offset(&mut batch, base_offset)?;
                file.write_all(&batch)?;
                let next = base_offset.checked_add(records);
                base_offset = next.context("more records than there are offsets")?;
            }
        }
        file.flush()?;
        Ok(Self {
            file: File::open(path)?,
            batch_bytes,
            batch_records: records.into(),
            part_bytes: part_batches * batch_bytes,
            parts,
        })
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.part_bytes * self.parts
    }

    /// How much of so many bytes is whole batches.
    pub fn whole_batches(&self, bytes: u64) -> u64 {
        bytes / self.batch_bytes * self.batch_bytes
    }

    /// The offset behind the last record of each part.
    pub fn end_offset(&self) -> u64 {
        self.part_bytes / self.batch_bytes * self.batch_records
    }

    /// Where a part has its whole batches from the one with an offset on, up to so many bytes.
    pub fn batches(&self, part: u64, offset: u64, bytes_max: u64) -> Range<u64> {
        let start = (offset / self.batch_records * self.batch_bytes).min(self.part_bytes);
        let end = (start + self.whole_batches(bytes_max)).min(self.part_bytes);
        let part_start = part * self.part_bytes;
        part_start + start..part_start + end
    }

    /// Has a socket take bytes from the file (`sendfile`).
    ///
    /// # Errors
    /// The connection breaks.
    pub fn send(&self, range: Range<u64>, socket: &TcpStream) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let length = usize::try_from(range.end - at)?;
            let sent = rustix::fs::sendfile(socket, &self.file, Some(&mut at), length)?;
            ensure!(sent > 0, "the file became shorter");
        }
        Ok(())
    }
}
