//! [`verify`]: what is on disk, checked against itself.
//!
//! ```text
//!   data directory   identity, metadata log: checksums; recovery points, clean marker: log ends
//!     partition      framed files; producer state replayed: against snapshots and sidecars
//!       segment      continuity, epochs, CRC, counts, records; manifest: against whole files
//!         indexes    every entry against the batch it points to
//! ```

mod indexes;
mod metadata;
mod partition;
mod producers;
mod segment;
mod transactions;

use std::{collections::BTreeMap, path::Path};

use millstream_proto::Offset;

use self::partition::PartitionCheck;
use super::{
    Dump, InspectError, Report, Target, compaction,
    dump::{check_decodes, read},
};
use crate::{
    clean_shutdown::CleanShutdown,
    io::LogIo,
    layout::{CLEAN_SHUTDOWN, FileKind, RECOVERY_POINTS},
    recovery_point::RecoveryPoints,
};

/// Kafka's recovery points, in the form of its other checkpoints.
const KAFKA_RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";

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
/// A file that cannot be read. What is read and wrong is in the report.
pub fn verify(io: &dyn LogIo, path: &Path, options: VerifyOptions) -> Result<Report, InspectError> {
    let mut report = Report::default();
    match Target::at(io, path)? {
        Target::DataDirectory(partitions) => {
            verify_data_directory(io, path, &partitions, options, &mut report)?;
        }
        Target::Partition => {
            PartitionCheck::new(io, path, options, &mut report)?.run()?;
        }
        Target::SegmentFile(FileKind::Snapshot | FileKind::Producers, _) | Target::File => {
            check_decodes(io, path, &mut report)?;
        }
        Target::SegmentFile(_, base_offset) => {
            let dir = path.parent().unwrap_or(Path::new(""));
            PartitionCheck::new(io, dir, options, &mut report)?.run_segment(base_offset)?;
        }
    }
    Ok(report)
}

fn verify_data_directory(
    io: &dyn LogIo,
    dir: &Path,
    partitions: &[std::path::PathBuf],
    options: VerifyOptions,
    report: &mut Report,
) -> Result<(), InspectError> {
    metadata::check(io, dir, report)?;
    let mut claims = Claims::load(io, dir, report)?;
    for partition in partitions {
        let log_end = PartitionCheck::new(io, partition, options, report)?.run()?;
        let name = partition.file_name().and_then(|name| name.to_str());
        claims.check(dir, name.unwrap_or_default(), log_end, report);
    }
    claims.report_missing(dir, report);
    Ok(())
}

/// What files beside the partitions say of their logs' ends.
#[derive(Default)]
struct Claims {
    /// Directory name to the offset that the log must reach, with the file that says so.
    at_least: BTreeMap<String, Vec<(&'static str, Offset)>>,
    clean: CleanShutdown,
}

impl Claims {
    fn load(io: &dyn LogIo, dir: &Path, report: &mut Report) -> Result<Self, InspectError> {
        let mut claims = Self::default();
        let is_there = |name: &str| io.metadata(&dir.join(name)).is_ok();
        if is_there(RECOVERY_POINTS)
            && let Some(Dump::RecoveryPoints(points)) =
                check_decodes(io, &dir.join(RECOVERY_POINTS), report)?
        {
            claims.add_points(&points);
        }
        if is_there(CLEAN_SHUTDOWN)
            && let Some(Dump::CleanShutdown(marker)) =
                check_decodes(io, &dir.join(CLEAN_SHUTDOWN), report)?
        {
            claims.clean = marker;
        }
        if is_there(KAFKA_RECOVERY_POINTS) {
            let path = dir.join(KAFKA_RECOVERY_POINTS);
            report.other_files += 1;
            let text = String::from_utf8(read(io, &path)?).unwrap_or_default();
            match compaction::parse(&text) {
                Some(entries) => {
                    for (name, offset) in entries {
                        claims.add(name, KAFKA_RECOVERY_POINTS, offset);
                    }
                }
                None => report.add_file(&path, "it is no checkpoint of Kafka's"),
            }
        }
        Ok(claims)
    }

    fn add_points(&mut self, points: &RecoveryPoints) {
        for (name, point) in points.iter() {
            self.add(name.to_owned(), RECOVERY_POINTS, point.offset);
        }
    }

    fn add(&mut self, name: String, file: &'static str, offset: Offset) {
        self.at_least.entry(name).or_default().push((file, offset));
    }

    fn check(&mut self, dir: &Path, name: &str, log_end: Option<Offset>, report: &mut Report) {
        let Some(log_end) = log_end else { return };
        for (file, offset) in self.at_least.remove(name).unwrap_or_default() {
            if log_end < offset {
                let reason = format!("{name} ends at offset {log_end}, expected at least {offset}");
                report.add_file(&dir.join(file), reason);
            }
        }
        if let Some(closed) = self.clean.partitions.remove(name)
            && closed.log_end != log_end
        {
            let reason = format!(
                "{name} ends at offset {log_end}, it was closed at {}",
                closed.log_end
            );
            report.add_file(&dir.join(CLEAN_SHUTDOWN), reason);
        }
    }

    /// Partitions that were closed and are not there any more.
    fn report_missing(&self, dir: &Path, report: &mut Report) {
        for name in self.clean.partitions.keys() {
            report.add_file(
                &dir.join(CLEAN_SHUTDOWN),
                format!("{name} was closed and its directory is missing"),
            );
        }
    }
}

#[cfg(test)]
mod own_files;
#[cfg(test)]
mod tests;
