//! `millstream log dump PATH`.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use millstream_log::{
    inspect::{Dump, LogScan, ScannedBatch, Target, dump_file, partition_files},
    io::DiskIo,
    layout,
};
use millstream_proto::record::{
    Record, TimestampType,
    control::{ControlRecord, TransactionResult},
};
use serde_json::{Value, json};

use super::{contents, row::Row, unreadable};
use crate::{
    failure::{Outcome, Result},
    output::OutputFormat,
};

/// Bytes that one batch may decompress to.
const DECOMPRESSED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Files of a partition that are not named by an offset.
const PARTITION_FILES: &[&str] = &[
    layout::PARTITION_METADATA,
    layout::LEADER_EPOCHS,
    layout::LEADER_EPOCH_CHECKPOINT,
    layout::MANIFEST,
    layout::LOG_START,
    layout::FLUSH_FAILURE,
];
/// Files of a data directory beside the partitions.
const DIRECTORY_FILES: &[&str] = &[
    layout::RECOVERY_POINTS,
    layout::CLEAN_SHUTDOWN,
    layout::METADATA_WITNESS,
];

/// Options of `log dump`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
PATH is a data directory, a partition's directory, or a file of one; Kafka's files are read too. Each \
line is a batch, a record or an entry; --output json prints one object a line. The exit code is 1 when \
something did not decode or a checksum was wrong. Nothing is written.

Examples:
  millstream log dump millstream-data/flights-0
  millstream log dump --records millstream-data/flights-0/00000000000000000000.log
  millstream log dump millstream-data/flights-0/00000000000000000000.timeindex --output json")]
pub(crate) struct Options {
    /// What to dump
    path: PathBuf,
    /// Also print every record of every batch
    #[arg(long)]
    records: bool,
}

/// Dumps the path.
pub(crate) fn run(options: &Options, format: OutputFormat) -> Result<Outcome> {
    let mut dumper = Dumper {
        records: options.records,
        format,
        output: BufWriter::new(io::stdout()),
        outcome: Outcome::Positive,
    };
    let target = Target::at(&DiskIo, &options.path).map_err(|error| unreadable(&error))?;
    match target {
        Target::DataDirectory(_, partitions) => {
            dumper.named_files(&options.path, DIRECTORY_FILES)?;
            for partition in partitions {
                dumper.partition(&partition)?;
            }
        }
        Target::Partition => dumper.partition(&options.path)?,
        Target::SegmentFile(..) | Target::File => dumper.file(&options.path)?,
    }
    dumper.output.flush()?;
    Ok(dumper.outcome)
}

struct Dumper<W: Write> {
    records: bool,
    format: OutputFormat,
    output: W,
    outcome: Outcome,
}

impl<W: Write> Dumper<W> {
    fn partition(&mut self, directory: &Path) -> Result<()> {
        self.named_files(directory, PARTITION_FILES)?;
        let files = partition_files(&DiskIo, directory).map_err(|error| unreadable(&error))?;
        for (kind, offset) in files {
            self.file(&kind.path(directory, offset))?;
        }
        Ok(())
    }

    fn named_files(&mut self, directory: &Path, names: &[&str]) -> Result<()> {
        for name in names {
            let path = directory.join(name);
            if path.exists() {
                self.file(&path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        let name = path.display().to_string();
        if self.format == OutputFormat::Table {
            writeln!(self.output, "{name}")?;
        }
        match dump_file(&DiskIo, path).map_err(|error| unreadable(&error))? {
            Dump::Log => self.log(path, &name),
            other => match contents::rows(other) {
                Ok(rows) => rows.into_iter().try_for_each(|row| self.row(row, &name)),
                Err(reason) => self.damage(Row::new("unreadable", reason), &name),
            },
        }
    }

    fn log(&mut self, path: &Path, name: &str) -> Result<()> {
        let mut scan = LogScan::open(&DiskIo, path).map_err(|error| unreadable(&error))?;
        while let Some(scanned) = scan.next() {
            match scanned {
                Ok(batch) => self.batch(&batch, name)?,
                Err(error) => {
                    let row = Row::new("position", scan.position())
                        .with("bytes_left", scan.end() - scan.position())
                        .with("unreadable", error.to_string());
                    self.damage(row, name)?;
                }
            }
        }
        Ok(())
    }

    fn batch(&mut self, batch: &ScannedBatch, name: &str) -> Result<()> {
        if batch.crc.is_err() {
            self.outcome = Outcome::Negative;
        }
        self.row(batch_row(batch), name)?;
        if !self.records {
            return Ok(());
        }
        let records = match batch.records(DECOMPRESSED_BYTES_MAX) {
            Ok(records) => records,
            Err(error) => return self.damage(Row::new("unreadable", error.to_string()), name),
        };
        for record in records {
            match record {
                Ok(record) => self.row(record_row(&record, batch.is_control()), name)?,
                Err(error) => self.damage(Row::new("unreadable", error.to_string()), name)?,
            }
        }
        Ok(())
    }

    fn row(&mut self, row: Row, name: &str) -> Result<()> {
        if self.format == OutputFormat::Table {
            write!(self.output, "  ")?;
        }
        row.write(name, self.format, &mut self.output)
    }

    fn damage(&mut self, row: Row, name: &str) -> Result<()> {
        self.outcome = Outcome::Negative;
        self.row(row, name)
    }
}

fn batch_row(batch: &ScannedBatch) -> Row {
    let timestamp_type = match batch.timestamp_type() {
        TimestampType::CreateTime => "create",
        TimestampType::LogAppendTime => "append",
    };
    Row::new("base_offset", batch.base_offset().get())
        .with("last_offset", batch.last_offset().get())
        .with("records", batch.record_count())
        .with("position", batch.position)
        .with("size_bytes", batch.size_bytes())
        .with("leader_epoch", batch.leader_epoch().0)
        .with("producer_id", batch.producer_id().0)
        .with("producer_epoch", batch.producer_epoch().0)
        .with("base_sequence", batch.base_sequence())
        .with("timestamp_type", timestamp_type)
        .with("max_timestamp_ms", batch.max_timestamp())
        .with("compression", batch.compression().name())
        .with("transactional", batch.is_transactional())
        .with("control", batch.is_control())
        .with("delete_horizon_ms", batch.delete_horizon_ms())
        .with("crc", batch.crc())
        .with("crc_ok", batch.crc.is_ok())
}

fn record_row(record: &Record, is_control: bool) -> Row {
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|header| json!([header.key_text(), text(header.value.as_deref())]))
        .collect();
    let row = Row::new("offset", record.offset.get()).with("timestamp_ms", record.timestamp);
    if is_control {
        let control = match ControlRecord::decode(record) {
            Ok(ControlRecord::EndTransaction(marker)) => match marker.result {
                TransactionResult::Commit => "commit".to_owned(),
                TransactionResult::Abort => "abort".to_owned(),
            },
            Ok(ControlRecord::Other { type_number }) => format!("type {type_number}"),
            Ok(_) => "unknown".to_owned(),
            Err(error) => error.to_string(),
        };
        return row.with("control", control);
    }
    row.with("key", text(record.key.as_deref()))
        .with("value", text(record.value.as_deref()))
        .with("headers", headers)
}

/// Text as it is, other bytes as `base64:`.
fn text(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else {
        return Value::Null;
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => Value::from(format!("base64:{}", STANDARD.encode(bytes))),
    }
}
