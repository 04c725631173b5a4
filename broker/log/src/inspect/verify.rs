//! [`verify`]: what is on disk, checked against itself.
//!
//! ```text
//!   data directory   identity, metadata log, its witness: checksums; recovery points, clean marker: log ends
//!     partition      framed files; producer state replayed: against snapshots and sidecars
//!       segment      continuity, epochs, CRC, counts, records; manifest: against whole files
//!         indexes    every entry against the batch it points to
//! ```
//! Files that must be there are missed, too: which those are, a clean stop says, and the manifest. Kafka's
//! directories have neither; what is missing there Kafka makes anew.

mod claims;
mod indexes;
mod manifest;
mod metadata;
mod partition;
mod producers;
mod segment;
mod transactions;

use std::path::{Path, PathBuf};

use self::{
    claims::Claims,
    partition::{LogEnd, PartitionCheck},
};
use super::{InspectError, Report, Target, Writer, dump::check_decodes};
use crate::{
    clean_shutdown::{CleanPartition, CleanShutdown},
    io::LogIo,
    layout::FileKind,
};

/// What [`verify`] takes for granted, and how deep it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Whether logs count as compacted where nothing on disk says.
    pub assume_compacted: bool,
    /// Whether records are decompressed and decoded, beside the checks of whole batches.
    pub decode_records: bool,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            assume_compacted: false,
            decode_records: true,
        }
    }
}

/// Checks a data directory, a partition's directory, or the segment that a file belongs to.
///
/// # Errors
/// A file that cannot be read, a directory that holds no log. What is read and wrong is in the report.
pub fn verify(io: &dyn LogIo, path: &Path, options: VerifyOptions) -> Result<Report, InspectError> {
    let mut report = Report::default();
    match Target::at(io, path)? {
        Target::DataDirectory(writer, partitions) => {
            verify_data_directory(io, path, writer, &partitions, options, &mut report)?;
        }
        Target::Partition => {
            let closed = closed(io, path);
            let log_end = PartitionCheck::new(io, path, options, closed, &mut report)?.run()?;
            if log_end == LogEnd::NoSegment {
                report.add_file(path, "it holds no segment");
            }
        }
        Target::SegmentFile(FileKind::Snapshot | FileKind::Producers, _) | Target::File => {
            check_decodes(io, path, &mut report)?;
        }
        Target::SegmentFile(_, base_offset) => {
            let dir = path.parent().unwrap_or(Path::new(""));
            let closed = closed(io, dir);
            PartitionCheck::new(io, dir, options, closed, &mut report)?.run_segment(base_offset)?;
        }
    }
    Ok(report)
}

/// How a partition was closed, by the marker beside its directory.
fn closed(io: &dyn LogIo, dir: &Path) -> Option<CleanPartition> {
    // One that cannot be read is reported where the data directory is checked.
    let marker = CleanShutdown::load(io, dir.parent()?).ok()??;
    let name = dir.file_name()?.to_str()?;
    marker.partitions.get(name).copied()
}

fn verify_data_directory(
    io: &dyn LogIo,
    dir: &Path,
    writer: Writer,
    partitions: &[PathBuf],
    options: VerifyOptions,
    report: &mut Report,
) -> Result<(), InspectError> {
    let named = match writer {
        Writer::Millstream => metadata::check(io, dir, report)?,
        Writer::Kafka => None,
    };
    let mut claims = Claims::load(io, dir, writer, named, report)?;
    for partition in partitions {
        let name = partition.file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default();
        let closed = claims.closed(name);
        let log_end = PartitionCheck::new(io, partition, options, closed, report)?.run()?;
        claims.check_end(dir, name, log_end, report);
        claims.check_topic_id(io, partition, name, report);
    }
    claims.report_missing(dir, report);
    Ok(())
}

#[cfg(test)]
mod own_files;
#[cfg(test)]
mod tests;
