//! [`Claims`]: what stands beside the partitions says of them, and what must be there for it.

use std::{collections::BTreeMap, path::Path};

use millstream_proto::{Offset, TopicId};

use super::{
    super::{
        Dump, InspectError, Report, Writer, compaction,
        dump::{check_decodes, read},
    },
    metadata::Named,
    partition::LogEnd,
};
use crate::{
    clean_shutdown::{CleanPartition, CleanShutdown},
    identity,
    io::LogIo,
    layout::{CLEAN_SHUTDOWN, PARTITION_METADATA, RECOVERY_POINTS},
    recovery_point::RecoveryPoints,
};

/// Kafka's recovery points, in the form of its other checkpoints.
pub(super) const KAFKA_RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";

/// What a data directory says of its partitions.
#[derive(Default)]
pub(super) struct Claims {
    /// Directory name to the offset that the log must reach, with the file that says so.
    at_least: BTreeMap<String, Vec<(&'static str, Offset)>>,
    clean: CleanShutdown,
    /// What the metadata names, where it can be read.
    named: Option<Named>,
}

impl Claims {
    /// Reads what is there, and reports what should be. `named` are the partitions of the metadata.
    pub(super) fn load(
        io: &dyn LogIo,
        dir: &Path,
        writer: Writer,
        named: Option<Named>,
        report: &mut Report,
    ) -> Result<Self, InspectError> {
        let mut claims = Self {
            named,
            ..Self::default()
        };
        match writer {
            Writer::Millstream => claims.load_ours(io, dir, report)?,
            Writer::Kafka => claims.load_kafkas(io, dir, report)?,
        }
        Ok(claims)
    }

    fn load_ours(
        &mut self,
        io: &dyn LogIo,
        dir: &Path,
        report: &mut Report,
    ) -> Result<(), InspectError> {
        let path = dir.join(CLEAN_SHUTDOWN);
        if io.metadata(&path).is_ok()
            && let Some(Dump::CleanShutdown(marker)) = check_decodes(io, &path, report)?
        {
            self.clean = marker;
        }
        let path = dir.join(RECOVERY_POINTS);
        if io.metadata(&path).is_ok() {
            if let Some(Dump::RecoveryPoints(points)) = check_decodes(io, &path, report)? {
                self.add_points(&points);
            }
        } else if !self.clean.partitions.is_empty() || self.are_partitions_named() {
            report.add_missing(&path);
        }
        Ok(())
    }

    /// The first start writes recovery points before there is any partition.
    fn are_partitions_named(&self) -> bool {
        self.named.as_ref().is_some_and(|named| !named.is_empty())
    }

    fn load_kafkas(
        &mut self,
        io: &dyn LogIo,
        dir: &Path,
        report: &mut Report,
    ) -> Result<(), InspectError> {
        let path = dir.join(KAFKA_RECOVERY_POINTS);
        if io.metadata(&path).is_err() {
            return Ok(());
        }
        report.other_files += 1;
        let text = String::from_utf8(read(io, &path)?).unwrap_or_default();
        match compaction::parse(&text) {
            Some(entries) => {
                for (name, offset) in entries {
                    self.add(name, KAFKA_RECOVERY_POINTS, offset);
                }
            }
            None => report.add_file(&path, "it is no checkpoint of Kafka's"),
        }
        Ok(())
    }

    fn add_points(&mut self, points: &RecoveryPoints) {
        for (name, point) in points.iter() {
            self.add(name.to_owned(), RECOVERY_POINTS, point.offset);
        }
    }

    fn add(&mut self, name: String, file: &'static str, offset: Offset) {
        self.at_least.entry(name).or_default().push((file, offset));
    }

    /// How a partition was closed; `None` where the last stop did not close it.
    pub(super) fn closed(&self, name: &str) -> Option<CleanPartition> {
        self.clean.partitions.get(name).copied()
    }

    /// Compares with the end of a partition's log.
    pub(super) fn check_end(
        &mut self,
        dir: &Path,
        name: &str,
        log_end: LogEnd,
        report: &mut Report,
    ) {
        let at_least = self.at_least.remove(name).unwrap_or_default();
        let closed = self.clean.partitions.remove(name);
        let log_end = match log_end {
            LogEnd::At(offset) => offset,
            LogEnd::NoSegment => Offset::ZERO,
            LogEnd::Unknown => return,
        };
        for (file, offset) in at_least {
            if log_end < offset {
                let reason = format!("{name} ends at offset {log_end}, expected at least {offset}");
                report.add_file(&dir.join(file), reason);
            }
        }
        if let Some(closed) = closed.filter(|closed| closed.log_end != log_end) {
            let reason = format!(
                "{name} ends at offset {log_end}, it was closed at {}",
                closed.log_end
            );
            report.add_file(&dir.join(CLEAN_SHUTDOWN), reason);
        }
    }

    /// Compares a partition's topic id with the one that the metadata has for its name.
    pub(super) fn check_topic_id(
        &self,
        io: &dyn LogIo,
        partition: &Path,
        name: &str,
        report: &mut Report,
    ) {
        let Some(named) = &self.named else { return };
        let path = partition.join(PARTITION_METADATA);
        // What does not decode was reported with the partition.
        let found = identity::load(io, partition).ok().flatten();
        match (named.get(name), found) {
            (None, _) => report.add_file(
                partition,
                "the metadata names no such partition: the next start moves it to quarantine",
            ),
            (Some(expected), Some(found)) if found != *expected => {
                report.add_file(&path, other_id(found, *expected));
            }
            (Some(_), _) => {}
        }
    }

    /// Reports partitions of which something is known, and that are not there any more.
    pub(super) fn report_missing(&self, dir: &Path, report: &mut Report) {
        for name in self.clean.partitions.keys() {
            report.add_file(
                &dir.join(CLEAN_SHUTDOWN),
                format!("{name} was closed and its directory is missing"),
            );
        }
        let unclosed = self
            .at_least
            .iter()
            .filter(|(name, _)| !self.clean.partitions.contains_key(*name) && self.is_named(name));
        for (name, claims) in unclosed {
            for (file, offset) in claims.iter().filter(|(_, offset)| *offset > Offset::ZERO) {
                report.add_file(
                    &dir.join(file),
                    format!("{name} is durable up to offset {offset} and its directory is missing"),
                );
            }
        }
    }

    /// Whether the partition still exists, as far as is known: a deleted one may have left its name.
    fn is_named(&self, name: &str) -> bool {
        self.named
            .as_ref()
            .is_none_or(|named| named.contains_key(name))
    }
}

fn other_id(found: TopicId, expected: TopicId) -> String {
    format!("it has topic id {found}, the metadata has {expected}")
}
