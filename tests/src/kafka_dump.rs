//! [`KafkaDump`]: our reading of log files, printed as Apache Kafka's DumpLogSegments prints its own.
//!
//! So that the two can be compared as text, with Kafka's tool at hand or with what it once printed.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use millstream_log::{
    inspect::{Dump, LogScan, ProducerRow, ScannedBatch, dump_file, partition_files},
    io::DiskIo,
    layout::FileKind,
};
use millstream_proto::record::{
    Compression, Record, TimestampType,
    control::{ControlRecord, TransactionResult},
    sequence_after,
};

/// Bytes that one batch may decompress to.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// What is printed of a partition's directory.
#[derive(Debug, Clone, Copy)]
pub struct KafkaDump<'a> {
    /// The directory.
    pub dir: &'a Path,
    /// Whether keys and values are printed (`--print-data-log`).
    pub with_data: bool,
}

impl KafkaDump<'_> {
    /// Names of the directory's files that DumpLogSegments reads, `.log` files or all others, in
    /// order.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn names(&self, logs: bool) -> Result<Vec<PathBuf>> {
        let files = partition_files(&DiskIo, self.dir)?;
        let wanted = files
            .into_iter()
            .filter(|(kind, _)| *kind != FileKind::Producers && (*kind == FileKind::Log) == logs);
        let mut names: Vec<PathBuf> = wanted
            .map(|(kind, offset)| kind.path(Path::new(""), offset))
            .collect();
        names.sort();
        Ok(names)
    }

    /// The text for these files.
    ///
    /// # Errors
    /// A file that cannot be read or does not decode.
    pub fn text(&self, names: &[PathBuf]) -> Result<String> {
        let mut out = String::new();
        for name in names {
            writeln!(out, "Dumping {}", name.display())?;
            self.file(name, &mut out)
                .with_context(|| name.display().to_string())?;
        }
        Ok(out)
    }

    fn file(&self, name: &Path, out: &mut String) -> Result<()> {
        let path = self.dir.join(name);
        match dump_file(&DiskIo, &path)? {
            Dump::Log => self.log(&path, name, out)?,
            Dump::OffsetIndex(entries) if entries.is_empty() => {
                writeln!(out, "{} is empty.", name.display())?;
            }
            Dump::OffsetIndex(entries) => {
                for entry in entries {
                    writeln!(
                        out,
                        "offset: {} position: {}",
                        entry.last_offset, entry.position
                    )?;
                }
            }
            Dump::TimeIndex(entries) => {
                for entry in entries {
                    writeln!(
                        out,
                        "timestamp: {} offset: {}",
                        entry.timestamp_ms, entry.last_offset
                    )?;
                }
            }
            Dump::TransactionIndex(entries) => {
                for entry in entries {
                    writeln!(
                        out,
                        "version: 0 producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
                        entry.producer_id,
                        entry.first_offset,
                        entry.last_offset,
                        entry.last_stable_offset
                    )?;
                }
            }
            Dump::Producers(rows) => rows.iter().try_for_each(|row| producer(row, out))?,
            other => bail!("{other:?}"),
        }
        Ok(())
    }

    fn log(&self, path: &Path, name: &Path, out: &mut String) -> Result<()> {
        let start: u64 = name.with_extension("").to_string_lossy().parse()?;
        writeln!(out, "Log starting offset: {start}")?;
        for batch in LogScan::open(&DiskIo, path)? {
            let batch = batch?;
            batch_line(&batch, out)?;
            for record in batch.records(RECORD_BYTES_MAX)? {
                self.record_line(&batch, &record?, out)?;
            }
        }
        Ok(())
    }

    fn record_line(&self, batch: &ScannedBatch, record: &Record, out: &mut String) -> Result<()> {
        let length = |bytes: &Option<bytes::Bytes>| match bytes {
            Some(bytes) => bytes.len().to_string(),
            None => "-1".to_owned(),
        };
        let delta = u32::try_from(record.offset.get() - batch.base_offset().get())?;
        let sequence = match batch.base_sequence() {
            none if none < 0 => -1,
            base => sequence_after(base, delta),
        };
        let keys: Vec<_> = record
            .headers
            .iter()
            .map(|header| header.key_text())
            .collect();
        write!(
            out,
            "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
            record.offset,
            timestamp_type(batch),
            record.timestamp,
            length(&record.key),
            length(&record.value),
            keys.join(",")
        )?;
        if batch.is_control() {
            control(record, out)?;
        } else if self.with_data {
            for (what, bytes) in [("key", &record.key), ("payload", &record.value)] {
                if let Some(bytes) = bytes {
                    write!(out, " {what}: {}", String::from_utf8_lossy(bytes))?;
                }
            }
        }
        writeln!(out)?;
        Ok(())
    }
}

fn timestamp_type(batch: &ScannedBatch) -> &'static str {
    match batch.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

const fn codec(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

fn optional(value: Option<i64>) -> String {
    match value {
        Some(value) => format!("OptionalLong[{value}]"),
        None => "OptionalLong.empty".to_owned(),
    }
}

fn batch_line(batch: &ScannedBatch, out: &mut String) -> Result<()> {
    writeln!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} \
         producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} \
         deleteHorizonMs: {} position: {} {}: {} size: {} magic: {} compresscodec: {} crc: {} \
         isvalid: {}",
        batch.base_offset(),
        batch.last_offset(),
        batch.record_count(),
        batch.base_sequence(),
        batch.last_sequence(),
        batch.producer_id(),
        batch.producer_epoch(),
        batch.leader_epoch(),
        batch.is_transactional(),
        batch.is_control(),
        optional(batch.delete_horizon_ms()),
        batch.position,
        timestamp_type(batch),
        batch.max_timestamp(),
        batch.size_bytes(),
        batch.magic(),
        codec(batch.compression()),
        batch.header().crc(),
        batch.crc.is_ok()
    )?;
    Ok(())
}

fn control(record: &Record, out: &mut String) -> Result<()> {
    let ControlRecord::EndTransaction(marker) = ControlRecord::decode(record)? else {
        bail!("control record of another kind at offset {}", record.offset);
    };
    let result = match marker.result {
        TransactionResult::Abort => "ABORT",
        TransactionResult::Commit => "COMMIT",
    };
    let epoch = marker.coordinator_epoch;
    write!(out, " endTxnMarker: {result} coordinatorEpoch: {epoch}")?;
    Ok(())
}

fn producer(row: &ProducerRow, out: &mut String) -> Result<()> {
    let entry = &row.entry;
    write!(
        out,
        "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} \
         lastTimestamp: {} ",
        row.producer_id,
        entry.epoch,
        entry.coordinator_epoch,
        optional(
            entry
                .transaction_first_offset
                .map(millstream_proto::Offset::get)
        ),
        entry.last_timestamp_ms
    )?;
    if let Some(batch) = entry.last_batch() {
        write!(
            out,
            "firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
            batch.base_sequence(),
            batch.last_sequence,
            batch.last_offset,
            batch.offset_delta,
            batch.timestamp_ms
        )?;
    }
    writeln!(out)?;
    Ok(())
}
