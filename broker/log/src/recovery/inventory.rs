//! [`Inventory`]: what is in a partition's directory, before any of it is believed.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use millstream_proto::{Offset, TopicId};

use super::{RecoveryError, RecoveryInput, RecoveryReport, recovered::io_error};
use crate::{
    compaction::swap,
    epoch::{EpochHistory, EpochLoadError},
    flush_failure::FlushFailure,
    frame::{BESIDE_SUFFIX, LoadError},
    identity::{self, IdentityError},
    io::LogIo,
    layout::{CLEANED_SUFFIX, DELETED_SUFFIX, FileKind},
    log_start,
    manifest::Manifest,
};

/// What is in a partition's directory.
#[derive(Debug)]
pub(super) struct Inventory {
    pub(super) topic_id: Option<TopicId>,
    /// Base offsets of the `.log` files.
    pub(super) logs: BTreeSet<Offset>,
    /// Those among them that lie inside what a sealed segment covers: truncation takes a segment
    /// out of the manifest before it makes another one there, so these came from elsewhere.
    pub(super) foreign: BTreeSet<Offset>,
    /// Offsets of `.producers` and `.snapshot` files.
    pub(super) producer_files: BTreeSet<(Offset, FileKind)>,
    /// Index files.
    pub(super) index_files: BTreeSet<(Offset, FileKind)>,
    /// What a crash left half done.
    pub(super) leftovers: Vec<PathBuf>,
    pub(super) manifest: Manifest,
    pub(super) epochs: EpochHistory,
    /// Whether the history comes from the framed file: then batches must agree with it.
    pub(super) epochs_trusted: bool,
    pub(super) log_start: Option<Offset>,
    pub(super) flush_failure: Option<FlushFailure>,
}

impl Inventory {
    pub(super) fn take(
        io: &dyn LogIo,
        dir: &Path,
        input: &RecoveryInput,
        report: &mut RecoveryReport,
    ) -> Result<Self, RecoveryError> {
        let topic_id = check_topic_id(io, dir, input)?;
        let manifest = load_manifest(io, dir, input, report)?;
        let (epochs, epochs_trusted) = load_epochs(io, dir, report)?;
        let mut inventory = Self {
            topic_id,
            logs: BTreeSet::new(),
            foreign: BTreeSet::new(),
            producer_files: BTreeSet::new(),
            index_files: BTreeSet::new(),
            leftovers: Vec::new(),
            manifest,
            epochs,
            epochs_trusted,
            log_start: believe(log_start::load(io, dir), report)?.flatten(),
            flush_failure: believe(FlushFailure::load(io, dir), report)?.flatten(),
        };
        inventory.list(io, dir)?;
        inventory.set_foreign_aside(report);
        Ok(inventory)
    }

    fn set_foreign_aside(&mut self, report: &mut RecoveryReport) {
        let sealed = self.manifest.entries().iter().filter(|entry| entry.sealed);
        let covered: Vec<_> = sealed
            .map(|entry| (entry.meta.base_offset, entry.meta.end_offset()))
            .collect();
        let is_inside = |base: &Offset| {
            covered
                .iter()
                .any(|(start, end)| start < base && base < end)
        };
        self.foreign = self
            .logs
            .iter()
            .filter(|base| is_inside(base))
            .copied()
            .collect();
        for base in &self.foreign {
            report.damaged_files.push(format!(
                "segment {base} lies inside a sealed one and is not used"
            ));
        }
    }

    fn list(&mut self, io: &dyn LogIo, dir: &Path) -> Result<(), RecoveryError> {
        let entries = io.list_dir(dir).map_err(io_error("list", dir))?;
        for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
            match FileKind::parse(&entry.name) {
                Some((FileKind::Log, offset)) => {
                    self.logs.insert(offset);
                }
                Some((kind @ (FileKind::Snapshot | FileKind::Producers), offset)) => {
                    self.producer_files.insert((offset, kind));
                }
                Some((kind, offset)) => {
                    self.index_files.insert((offset, kind));
                }
                None => {
                    let name = entry.name.to_string_lossy();
                    if [BESIDE_SUFFIX, DELETED_SUFFIX, CLEANED_SUFFIX]
                        .iter()
                        .any(|suffix| name.ends_with(suffix))
                    {
                        self.leftovers.push(dir.join(&entry.name));
                    }
                }
            }
        }
        Ok(())
    }
}

fn check_topic_id(
    io: &dyn LogIo,
    dir: &Path,
    input: &RecoveryInput,
) -> Result<Option<TopicId>, RecoveryError> {
    let found = match identity::load(io, dir) {
        Ok(found) => found,
        Err(IdentityError::Io(source)) => return Err(io_error("read", dir)(source)),
        Err(error @ IdentityError::Text { .. }) => {
            return match input.topic_id {
                None => Ok(None),
                Some(expected) => Err(RecoveryError::TopicId {
                    path: dir.to_path_buf(),
                    expected,
                    found: format!("that cannot be read ({error})"),
                }),
            };
        }
    };
    match (input.topic_id, found) {
        (Some(expected), Some(found)) if expected != found => Err(RecoveryError::TopicId {
            path: dir.to_path_buf(),
            expected,
            found: found.to_string(),
        }),
        (expected, found) => Ok(found.or(expected)),
    }
}

/// A damaged framed file is reported and not believed (`None`); a failing disk is an error.
fn believe<T>(
    loaded: Result<T, LoadError>,
    report: &mut RecoveryReport,
) -> Result<Option<T>, RecoveryError> {
    match loaded {
        Ok(content) => Ok(Some(content)),
        Err(error @ LoadError::Corrupt { .. }) => {
            report.damaged_files.push(error.to_string());
            Ok(None)
        }
        Err(LoadError::Io { path, source }) => Err(io_error("read", &path)(source)),
    }
}

/// The manifest, after what a compaction left half done in it is completed.
fn load_manifest(
    io: &dyn LogIo,
    dir: &Path,
    input: &RecoveryInput,
    report: &mut RecoveryReport,
) -> Result<Manifest, RecoveryError> {
    let loaded = believe(Manifest::load(io, dir), report)?.flatten();
    let Some(mut manifest) = loaded else {
        let mut manifest = Manifest::new();
        if input.compacted {
            manifest.assume_compacted_below(Offset::MAX);
        }
        return Ok(manifest);
    };
    let refused = swap::complete_interrupted(io, dir, &mut manifest)
        .map_err(io_error("complete a compaction in", dir))?;
    report.damaged_files.extend(refused);
    Ok(manifest)
}

fn load_epochs(
    io: &dyn LogIo,
    dir: &Path,
    report: &mut RecoveryReport,
) -> Result<(EpochHistory, bool), RecoveryError> {
    match EpochHistory::load(io, dir) {
        Ok(loaded) => {
            if let Some(damage) = loaded.damage {
                report.damaged_files.push(damage.to_string());
            }
            Ok((loaded.history, loaded.is_framed))
        }
        Err(error @ EpochLoadError::Text(_)) => {
            report.damaged_files.push(error.to_string());
            Ok((EpochHistory::new(), false))
        }
        Err(EpochLoadError::Io(source)) => Err(io_error("read epochs in", dir)(source)),
    }
}
