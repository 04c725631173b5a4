//! Opens the data directory: lock, identity, metadata log. Refuses what it does not understand.

use std::{path::Path, sync::Arc};

use millstream_log::{frame::LoadError, io::LogIo};
use millstream_proto::BrokerId;

use crate::{
    clock,
    config::Config,
    directory::{Directory, Identity},
    error::Refusal,
    quorum::{MetadataImage, MetadataLog, MetadataLogOptions, OpenError},
    uuid, version,
};

/// An open data directory.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) directory: Directory,
    pub(super) identity: Identity,
    pub(super) log: MetadataLog,
    pub(super) image: MetadataImage,
}

impl Storage {
    /// Opens the configured data directory, or makes an empty one ours. `prepare` comes before anything
    /// is created or changed, and behind the lock of a directory that was used before, so that a second
    /// daemon on it hears of the first.
    ///
    /// # Errors
    /// What `prepare` refuses; everything that makes the directory unusable, in two lines.
    pub(super) fn open<T>(
        io: &Arc<dyn LogIo>,
        config: &Config,
        prepare: impl FnOnce() -> Result<T, Refusal>,
    ) -> Result<(Self, T), Refusal> {
        let path = &config.daemon.data_dir;
        let used = Directory::lock_used(io, path, &holder())?;
        let prepared = prepare()?;
        let directory = match used {
            Some(directory) => directory,
            None => Directory::lock(Arc::clone(io), path, &holder())?,
        };
        let node_id = BrokerId(config.node.id);
        let known = directory.identity(node_id)?;
        if known.is_none() {
            check_no_metadata(&**io, &directory)?;
            MetadataLog::create(&**io, &directory.metadata()).map_err(|e| refusal(&e))?;
        }
        let (log, image) = open_metadata(io, &directory, config)?;
        let identity = match known {
            Some(identity) => identity,
            None => claim(&directory, node_id)?,
        };
        let storage = Self {
            directory,
            identity,
            log,
            image,
        };
        Ok((storage, prepared))
    }
}

/// Names this process to whoever finds the lock taken.
fn holder() -> String {
    format!(
        "millstreamd {} (pid {}, since {})",
        version::SHORT,
        std::process::id(),
        clock::wall_text()
    )
}

/// A first start that was cut off leaves a metadata log without records, which may be made anew; one
/// with records belongs to a directory whose identity was lost.
fn check_no_metadata(io: &dyn LogIo, directory: &Directory) -> Result<(), Refusal> {
    if !MetadataLog::holds_records(io, &directory.metadata()).map_err(|e| refusal(&e))? {
        return Ok(());
    }
    Err(Refusal::new(
        format!(
            "{} holds metadata but no identity file",
            directory.path().display()
        ),
        "restore its identity file, or pass an empty directory with --data-dir",
    ))
}

fn open_metadata(
    io: &Arc<dyn LogIo>,
    directory: &Directory,
    config: &Config,
) -> Result<(MetadataLog, MetadataImage), Refusal> {
    let options = MetadataLogOptions {
        preallocate_bytes: config.metadata.preallocate_bytes.0,
        snapshot_bytes: config.metadata.snapshot_bytes.0,
    };
    let (log, opened) = MetadataLog::open(Arc::clone(io), &directory.metadata(), options)
        .map_err(|error| refusal(&error))?;
    if opened.torn_bytes > 0 {
        tracing::warn!(
            path = %log.path().display(),
            bytes = opened.torn_bytes,
            "cut off a torn last write of the metadata log, which nobody was told had succeeded"
        );
    }
    Ok((log, opened.image))
}

fn claim(directory: &Directory, node_id: BrokerId) -> Result<Identity, Refusal> {
    let identity = Identity {
        node_id,
        cluster_id: uuid::random(),
        directory_id: uuid::random(),
    };
    directory.claim(&identity)?;
    tracing::info!(
        path = %absolute(directory.path()).display(),
        cluster_id = identity.cluster_id_text(),
        "created the data directory"
    );
    Ok(identity)
}

fn refusal(error: &OpenError) -> Refusal {
    let hint = match error {
        OpenError::Newer { .. } | OpenError::NewerFile { .. } => {
            "start the newer millstreamd that wrote it"
        }
        OpenError::Lost { .. } => {
            "restore the metadata directory from a backup, nothing was changed; to go on with an older one, \
             remove metadata-witness beside it: partitions that it does not name go to quarantine"
        }
        OpenError::Witness(LoadError::Corrupt { .. }) => {
            "restore the file from a backup, or remove it if the metadata directory lacks nothing"
        }
        OpenError::Corrupt { .. } | OpenError::Missing { .. } => {
            "restore the metadata directory from a backup; no partition's data was touched"
        }
        _ => "check the directory's owner, permissions and free space",
    };
    Refusal::new(error.to_string(), hint)
}

/// The data directory as an absolute path, for messages that outlive the working directory.
pub(super) fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
