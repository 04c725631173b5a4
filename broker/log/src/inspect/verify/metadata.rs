//! [`check`]: what the broker keeps beside the partitions: its identity, the metadata log and its witness.
//!
//! The log's files are read as a start reads them, frame by frame in order of index, but for what records
//! expect of each other. What comes of it are the partitions that it names.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use millstream_proto::{
    TopicId, TopicName,
    metadata_record::{
        Entry, FileKind, FileStart, MetadataRecord, entry,
        file::HEADER_BYTES,
        frame::{self, Frame},
    },
};

use super::super::{InspectError, Report, dump::read};
use crate::{
    frame::{FrameKind, LoadError},
    io::LogIo,
    layout::{IDENTITY, METADATA, METADATA_WITNESS},
    metadata_witness::MetadataWitness,
};

/// The frame of the directory's identity, in any version.
const IDENTITY_KIND: FrameKind = FrameKind {
    id: 100,
    version: u16::MAX,
    name: "directory identity",
};

/// The partitions that the metadata names: name of the directory, topic id.
pub(super) type Named = BTreeMap<String, TopicId>;

/// Checks identity, metadata log and witness of a data directory of ours. `None` where the metadata cannot
/// be read to its end, which is in the report.
pub(super) fn check(
    io: &dyn LogIo,
    dir: &Path,
    report: &mut Report,
) -> Result<Option<Named>, InspectError> {
    check_identity(io, &dir.join(IDENTITY), report)?;
    let metadata = dir.join(METADATA);
    if io.metadata(&metadata).is_err() {
        report.add_missing(&metadata);
        return Ok(None);
    }
    let Some(replay) = Replay::run(io, &metadata, report)? else {
        return Ok(None);
    };
    check_witness(io, dir, &replay, report)?;
    Ok(Some(replay.named()))
}

fn check_identity(io: &dyn LogIo, path: &Path, report: &mut Report) -> Result<(), InspectError> {
    if io.metadata(path).is_err() {
        report.add_missing(path);
        return Ok(());
    }
    report.other_files += 1;
    if let Err(error) = IDENTITY_KIND.decode(&read(io, path)?) {
        report.add_file(path, error);
    }
    Ok(())
}

/// What somebody was told of must be there.
fn check_witness(
    io: &dyn LogIo,
    dir: &Path,
    replay: &Replay,
    report: &mut Report,
) -> Result<(), InspectError> {
    let path = dir.join(METADATA_WITNESS);
    report.other_files += 1;
    match MetadataWitness::load(io, dir) {
        Ok(None) => report.add_missing(&path),
        Ok(Some(testimony)) => {
            if let Some(damage) = testimony.damage {
                report.add_file(&path, damage);
            }
            if replay.index < testimony.index {
                let reason = format!(
                    "it ends at index {}, it was committed up to {}",
                    replay.index, testimony.index
                );
                report.add_file(&dir.join(METADATA), reason);
            }
        }
        Err(LoadError::Corrupt { source, .. }) => report.add_file(&path, source),
        Err(LoadError::Io { source, .. }) => return Err(InspectError::at(&path)(source)),
    }
    Ok(())
}

/// The metadata log while its files are read.
#[derive(Default)]
struct Replay {
    /// Index of the last entry.
    index: u64,
    /// Index of the last entry in the last log, which ends no earlier than a snapshot.
    log_end: u64,
    topics: HashMap<TopicId, (TopicName, usize)>,
}

/// Where reading a file stopped, and why.
struct Stop {
    position: usize,
    reason: String,
}

impl Stop {
    fn at(position: usize, reason: impl ToString) -> Self {
        let reason = reason.to_string();
        Self { position, reason }
    }
}

impl Replay {
    /// Reads the newest snapshot and all logs; `None` where one cannot be read to its end.
    fn run(io: &dyn LogIo, dir: &Path, report: &mut Report) -> Result<Option<Self>, InspectError> {
        let mut replay = Self::default();
        let files = files(io, dir)?;
        if files.is_empty() {
            report.add_file(dir, "it holds no metadata log");
            return Ok(None);
        }
        for (kind, index, path) in files {
            report.other_files += 1;
            let bytes = read(io, &path)?;
            let outcome = match kind {
                FileKind::Snapshot => replay.snapshot(index, &bytes),
                FileKind::Log => replay.log(index, &bytes),
            };
            if let Err(Stop { position, reason }) = outcome {
                report.add_at(&path, position as u64, reason);
                return Ok(None);
            }
        }
        if replay.log_end < replay.index {
            let (log, snapshot) = (replay.log_end, replay.index);
            let reason = format!("its last log ends at index {log}, a snapshot holds {snapshot}");
            report.add_file(dir, reason);
            return Ok(None);
        }
        Ok(Some(replay))
    }

    fn snapshot(&mut self, index: u64, bytes: &[u8]) -> Result<(), Stop> {
        match FileKind::Snapshot.check_header(bytes) {
            Ok(FileStart::Whole) => {}
            Ok(FileStart::Unwritten) => return Err(Stop::at(0, "header is missing")),
            Err(error) => return Err(Stop::at(0, error)),
        }
        let mut count = 0;
        let end = walk(bytes, |position, frame| {
            if frame.index != index {
                let reason = format!("frame has index {}, expected {index}", frame.index);
                return Err(Stop::at(position, reason));
            }
            match decode(position, frame)? {
                Entry::Records(records) => {
                    count += records.len() as u64;
                    records.iter().for_each(|record| self.apply(record));
                    Ok(false)
                }
                Entry::SnapshotEnd { records } if records == count => Ok(true),
                Entry::SnapshotEnd { records } => {
                    let reason = format!("snapshot ends after {count} records, expected {records}");
                    Err(Stop::at(position, reason))
                }
            }
        })?;
        self.index = index;
        match end {
            Some(end) if end == bytes.len() => Ok(()),
            Some(end) => Err(Stop::at(end, "bytes follow the snapshot's end")),
            None => Err(Stop::at(bytes.len(), "snapshot has no end")),
        }
    }

    fn log(&mut self, first_index: u64, bytes: &[u8]) -> Result<(), Stop> {
        if first_index > self.index + 1 {
            let reason = format!("records from index {} on are missing", self.index + 1);
            return Err(Stop::at(0, reason));
        }
        self.log_end = first_index.saturating_sub(1);
        match FileKind::Log.check_header(bytes) {
            Ok(FileStart::Whole) => {}
            // What a crash leaves of a file that was just begun.
            Ok(FileStart::Unwritten) => return Ok(()),
            Err(error) => return Err(Stop::at(0, error)),
        }
        walk(bytes, |position, frame| {
            let expected = self.log_end + 1;
            if frame.index != expected {
                let reason = format!("frame has index {}, expected {expected}", frame.index);
                return Err(Stop::at(position, reason));
            }
            self.log_end = expected;
            match decode(position, frame)? {
                Entry::Records(records) if frame.index > self.index => {
                    records.iter().for_each(|record| self.apply(record));
                    self.index = frame.index;
                }
                Entry::Records(_) => {}
                Entry::SnapshotEnd { .. } => {
                    return Err(Stop::at(position, "a snapshot's end stands in the log"));
                }
            }
            Ok(false)
        })?;
        Ok(())
    }

    fn apply(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::TopicCreated(topic) => {
                let known = (topic.name.clone(), topic.partitions.len());
                self.topics.insert(topic.topic_id, known);
            }
            MetadataRecord::PartitionsAdded(added) => {
                if let Some((_, partitions)) = self.topics.get_mut(&added.topic_id) {
                    *partitions += added.partitions.len();
                }
            }
            MetadataRecord::TopicDeleted(deleted) => {
                self.topics.remove(&deleted.topic_id);
            }
            MetadataRecord::TopicConfigChanged(_)
            | MetadataRecord::TopicDefaultsChanged(_)
            | MetadataRecord::ProducerIdsAllocated(_)
            | MetadataRecord::BrokerRegistered(_) => {}
        }
    }

    fn named(&self) -> Named {
        let topics = self.topics.iter();
        let of_topic = |(topic_id, (name, partitions)): (&TopicId, &(TopicName, usize))| {
            let directory = |partition| (format!("{name}-{partition}"), *topic_id);
            (0..*partitions).map(directory).collect::<Vec<_>>()
        };
        topics.flat_map(of_topic).collect()
    }
}

/// The newest snapshot, then the logs, in order of index.
fn files(io: &dyn LogIo, dir: &Path) -> Result<Vec<(FileKind, u64, PathBuf)>, InspectError> {
    let entries = io.list_dir(dir).map_err(InspectError::at(dir))?;
    let found = entries.iter().filter(|entry| !entry.is_dir);
    let found = found.filter_map(|entry| FileKind::parse(entry.name.to_str()?));
    let (mut snapshots, mut logs): (Vec<_>, Vec<_>) =
        found.partition(|(kind, _)| *kind == FileKind::Snapshot);
    let by_index = |(_, index): &(FileKind, u64)| *index;
    snapshots.sort_unstable_by_key(by_index);
    logs.sort_unstable_by_key(by_index);
    let newest = snapshots.pop();
    let in_order = newest.into_iter().chain(logs);
    Ok(in_order
        .map(|(kind, index)| (kind, index, dir.join(kind.name(index))))
        .collect())
}

/// Hands out the frames of a file with their positions, until `see` says that it has seen enough: then
/// returns where the next frame would begin.
fn walk(
    bytes: &[u8],
    mut see: impl FnMut(usize, &Frame<'_>) -> Result<bool, Stop>,
) -> Result<Option<usize>, Stop> {
    let mut position = HEADER_BYTES;
    while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
        let (frame, size) = frame::decode(rest).map_err(|error| Stop::at(position, error))?;
        let is_enough = see(position, &frame)?;
        position += size;
        if is_enough {
            return Ok(Some(position));
        }
    }
    Ok(None)
}

fn decode(position: usize, frame: &Frame<'_>) -> Result<Entry, Stop> {
    entry::decode(frame).map_err(|error| Stop::at(position, error))
}

#[cfg(test)]
mod tests {
    use millstream_proto::{
        BrokerId, PartitionIndex,
        metadata_record::{PartitionRegistration, PartitionsAdded, TopicCreated, TopicDeleted},
    };

    use super::*;
    use crate::{
        frame::replace_file,
        io::{MemoryIo, OpenMode},
    };

    const DATA: &str = "/data";
    const SNAPSHOT: &str = "/data/metadata/00000000000000000003.snapshot";
    const LOG: &str = "/data/metadata/00000000000000000004.log";
    const LAST: u64 = 6;

    fn id(number: u8) -> TopicId {
        TopicId::from_bytes([number; 16])
    }

    fn partitions(indexes: std::ops::Range<i32>) -> Vec<PartitionRegistration> {
        let sole = |index| PartitionRegistration::sole(PartitionIndex(index), BrokerId(1));
        indexes.map(sole).collect()
    }

    fn created(name: &str, number: u8) -> MetadataRecord {
        MetadataRecord::TopicCreated(TopicCreated {
            name: TopicName::new(name).unwrap(),
            topic_id: id(number),
            partitions: partitions(0..1),
            configs: Default::default(),
        })
    }

    /// A snapshot of two topics at index 3, and three entries after it.
    fn directory() -> MemoryIo {
        let io = MemoryIo::new();
        io.create_dir_all(Path::new("/data/metadata")).unwrap();
        let mut snapshot = FileKind::Snapshot.header();
        snapshot.extend(entry::encode(3, 1, &[created("kept", 1), created("gone", 2)]).unwrap());
        snapshot.extend(entry::encode_snapshot_end(3, 1, 2));
        let mut log = FileKind::Log.header();
        let topic_id = id(1);
        let added = MetadataRecord::PartitionsAdded(PartitionsAdded {
            topic_id,
            partitions: partitions(1..3),
        });
        let deleted = MetadataRecord::TopicDeleted(TopicDeleted { topic_id: id(2) });
        for (index, record) in (4..).zip([added, deleted, created("gone", 3)]) {
            log.extend(entry::encode(index, 1, &[record]).unwrap());
        }
        replace_file(&io, Path::new(SNAPSHOT), &snapshot).unwrap();
        replace_file(&io, Path::new(LOG), &log).unwrap();
        let identity = IDENTITY_KIND.encode(b"who").unwrap();
        replace_file(&io, Path::new("/data/identity"), &identity).unwrap();
        MetadataWitness::create(&io, Path::new(DATA), LAST).unwrap();
        io
    }

    fn run(io: &MemoryIo) -> (Report, Option<Named>) {
        let mut report = Report::default();
        let named = check(io, Path::new(DATA), &mut report).unwrap();
        (report, named)
    }

    #[test]
    fn what_the_metadata_names_is_what_a_start_would_serve() {
        let (report, named) = run(&directory());
        assert!(report.is_intact(), "{report:?}");
        let expected = [("gone-0", 3), ("kept-0", 1), ("kept-1", 1), ("kept-2", 1)];
        let expected = expected.map(|(name, number)| (name.to_owned(), id(number)));
        assert_eq!(named, Some(expected.into()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_reported() {
        let good = directory();
        for path in [SNAPSHOT, LOG, "/data/identity", "/data/metadata-witness"] {
            let bytes = good.contents(Path::new(path)).unwrap();
            for bit in 0..bytes.len() * 8 {
                let io = good.fork();
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                replace_file(&io, Path::new(path), &bad).unwrap();
                assert!(!run(&io).0.is_intact(), "{path}: bit {bit}");
            }
            for length in 0..bytes.len() {
                let io = good.fork();
                let file = io.open(Path::new(path), OpenMode::Write).unwrap();
                file.set_len(length as u64).unwrap();
                assert!(!run(&io).0.is_intact(), "{path}: cut at {length}");
            }
        }
    }

    #[test]
    fn every_missing_file_is_reported() {
        for path in [
            SNAPSHOT,
            LOG,
            "/data/identity",
            "/data/metadata-witness",
            "/data/metadata",
        ] {
            let io = directory();
            io.rename(Path::new(path), Path::new("/elsewhere")).unwrap();
            assert!(!run(&io).0.is_intact(), "{path}");
        }
    }

    #[test]
    fn a_log_that_ends_below_the_witness_is_reported() {
        let io = directory();
        MetadataWitness::create(&io, Path::new(DATA), LAST + 1).unwrap();
        let (report, _) = run(&io);
        let reasons: Vec<_> = report.findings.iter().map(|it| &it.reason).collect();
        assert_eq!(reasons, ["it ends at index 6, it was committed up to 7"]);
    }
}
