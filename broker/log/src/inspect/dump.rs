//! [`dump_file`]: the content of every file but the `.log`, decoded.

use std::path::Path;

use millstream_proto::{Offset, ProducerId, TopicId};

use super::{InspectError, Report};
use crate::{
    clean_shutdown::CleanShutdown,
    epoch::EpochHistory,
    flush_failure::FlushFailure,
    frame::{self, LoadError},
    identity,
    index::{AbortedTransaction, OffsetEntry, OffsetIndex, TimeEntry, TimeIndex, TransactionIndex},
    io::LogIo,
    layout::{self, FileKind},
    log_start,
    manifest::Manifest,
    metadata_witness::{MetadataWitness, Testimony},
    producer::{ProducerEntry, ProducerState, sidecar, snapshot},
    recovery_point::RecoveryPoints,
};

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Dump {
    /// `.log`: read it with [`LogScan`](super::LogScan).
    Log,
    /// `.index`.
    OffsetIndex(Vec<OffsetEntry>),
    /// `.timeindex`.
    TimeIndex(Vec<TimeEntry>),
    /// `.txnindex`.
    TransactionIndex(Vec<AbortedTransaction>),
    /// `.snapshot` (one batch a producer) and `.producers` (up to five).
    Producers(Vec<ProducerRow>),
    /// `leader-epochs`, `leader-epoch-checkpoint`: both are read, the framed one is believed.
    EpochHistory(EpochHistory),
    /// `manifest`.
    Manifest(Manifest),
    /// `partition.metadata`.
    TopicId(TopicId),
    /// `log-start`.
    LogStart(Offset),
    /// `flush-failure`.
    FlushFailure(FlushFailure),
    /// `recovery-points`.
    RecoveryPoints(RecoveryPoints),
    /// `clean-shutdown`.
    CleanShutdown(CleanShutdown),
    /// `metadata-witness`.
    MetadataWitness(Testimony),
    /// No file of a log, or one that does not decode, with the reason.
    Unreadable(String),
}

/// One producer of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRow {
    /// Which producer.
    pub producer_id: ProducerId,
    /// What is known of it.
    pub entry: ProducerEntry,
}

fn rows(state: &ProducerState) -> Dump {
    let row = |(producer_id, entry): (ProducerId, &ProducerEntry)| ProducerRow {
        producer_id,
        entry: entry.clone(),
    };
    Dump::Producers(state.sorted().into_iter().map(row).collect())
}

/// Decodes a file by its name.
///
/// # Errors
/// Whatever the system says. What does not decode is [`Dump::Unreadable`].
pub fn dump_file(io: &dyn LogIo, path: &Path) -> Result<Dump, InspectError> {
    let name = Path::new(path.file_name().unwrap_or_default());
    match FileKind::parse(name) {
        Some((kind, offset)) => dump_segment_file(io, path, kind, offset),
        None => dump_other(io, path, name.to_str().unwrap_or_default()),
    }
}

fn dump_segment_file(
    io: &dyn LogIo,
    path: &Path,
    kind: FileKind,
    offset: Offset,
) -> Result<Dump, InspectError> {
    if kind == FileKind::Log {
        return Ok(Dump::Log);
    }
    let bytes = read(io, path)?;
    let unreadable = |reason: String| Dump::Unreadable(reason);
    Ok(match kind {
        FileKind::Log => Dump::Log,
        FileKind::OffsetIndex => OffsetIndex::decode(offset, &bytes).map_or_else(
            |e| unreadable(e.to_string()),
            |it| Dump::OffsetIndex(it.iter().collect()),
        ),
        FileKind::TimeIndex => TimeIndex::decode(offset, &bytes).map_or_else(
            |e| unreadable(e.to_string()),
            |it| Dump::TimeIndex(it.iter().collect()),
        ),
        FileKind::TransactionIndex => TransactionIndex::decode(&bytes).map_or_else(
            |e| unreadable(e.to_string()),
            |it| Dump::TransactionIndex(it.entries().to_vec()),
        ),
        FileKind::Snapshot => {
            snapshot::decode(&bytes, 0).map_or_else(|e| unreadable(e.to_string()), |it| rows(&it))
        }
        FileKind::Producers => sidecar::KIND
            .decode(&bytes)
            .and_then(|frame| sidecar::decode(&frame.payload, offset))
            .map_or_else(|e| unreadable(e.to_string()), |it| rows(&it)),
    })
}

/// The whole of a file that is there.
pub(super) fn read(io: &dyn LogIo, path: &Path) -> Result<Vec<u8>, InspectError> {
    let bytes = frame::read_file(io, path).map_err(InspectError::at(path))?;
    bytes.ok_or_else(|| InspectError::at(path)(std::io::ErrorKind::NotFound.into()))
}

fn dump_other(io: &dyn LogIo, path: &Path, name: &str) -> Result<Dump, InspectError> {
    io.metadata(path).map_err(InspectError::at(path))?;
    let dir = path.parent().unwrap_or(Path::new(""));
    match name {
        layout::LEADER_EPOCHS | layout::LEADER_EPOCH_CHECKPOINT => Ok(epochs(io, dir)),
        layout::PARTITION_METADATA => Ok(match identity::load(io, dir) {
            Ok(Some(topic_id)) => Dump::TopicId(topic_id),
            Ok(None) => Dump::Unreadable("it is gone".to_owned()),
            Err(error) => Dump::Unreadable(error.to_string()),
        }),
        layout::MANIFEST => framed(path, Manifest::load(io, dir), Dump::Manifest),
        layout::LOG_START => framed(path, log_start::load(io, dir), Dump::LogStart),
        layout::FLUSH_FAILURE => framed(path, FlushFailure::load(io, dir), Dump::FlushFailure),
        layout::RECOVERY_POINTS => {
            framed(path, RecoveryPoints::load(io, dir), Dump::RecoveryPoints)
        }
        layout::CLEAN_SHUTDOWN => framed(path, CleanShutdown::load(io, dir), Dump::CleanShutdown),
        layout::METADATA_WITNESS => {
            framed(path, MetadataWitness::load(io, dir), Dump::MetadataWitness)
        }
        _ => Ok(Dump::Unreadable(
            "no file of a log has this name".to_owned(),
        )),
    }
}

fn epochs(io: &dyn LogIo, dir: &Path) -> Dump {
    match EpochHistory::load(io, dir) {
        Ok(loaded) => match loaded.damage {
            None => Dump::EpochHistory(loaded.history),
            Some(damage) => Dump::Unreadable(damage.to_string()),
        },
        Err(error) => Dump::Unreadable(error.to_string()),
    }
}

fn framed<T>(
    path: &Path,
    loaded: Result<Option<T>, LoadError>,
    dump: impl FnOnce(T) -> Dump,
) -> Result<Dump, InspectError> {
    match loaded {
        Ok(Some(content)) => Ok(dump(content)),
        Ok(None) => Ok(Dump::Unreadable("it is gone".to_owned())),
        Err(LoadError::Corrupt { source, .. }) => Ok(Dump::Unreadable(source.to_string())),
        Err(LoadError::Io { source, .. }) => Err(InspectError::at(path)(source)),
    }
}

/// Checks a file by decoding it, where that is all that can be done.
pub(super) fn check_decodes(
    io: &dyn LogIo,
    path: &Path,
    report: &mut Report,
) -> Result<Option<Dump>, InspectError> {
    report.other_files += 1;
    match dump_file(io, path)? {
        Dump::Unreadable(reason) => {
            report.add_file(path, reason);
            Ok(None)
        }
        dump => Ok(Some(dump)),
    }
}
