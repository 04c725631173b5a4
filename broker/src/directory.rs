//! The data directory: its lock, and its identity file.
//!
//! ```text
//! <data_dir>/
//!   .lock            held while a daemon runs; says which
//!   identity         format version, cluster id, node id, directory id; written last, makes it ours
//!   metadata/        the metadata log
//!   metadata-witness how far that was committed
//!   <topic>-<n>/     partitions
//! ```
//!
//! Identity payload (in a framed file): format u32, node id i32, cluster id 16 bytes, directory id
//! 16 bytes. Nothing is ever deleted because any of this is missing or unreadable.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf, BufMut};
use millstream_log::{
    frame::{BESIDE_SUFFIX, FrameError, FrameKind, LoadError},
    io::{LockGuard, LogIo, OpenMode},
    layout::{IDENTITY, METADATA, METADATA_WITNESS},
};
use millstream_proto::{BrokerId, TopicId};

use crate::error::Refusal;

/// Newest format of a data directory that this build reads, and the one it creates.
const FORMAT: u32 = 1;

const LOCK: &str = ".lock";

/// What may stand in a directory that is still to become a data directory.
const HARMLESS: &[&str] = &[LOCK, METADATA, METADATA_WITNESS, "lost+found"];

const KIND: FrameKind = FrameKind {
    id: 100,
    version: 1,
    name: "directory identity",
};

/// Longest text about a lock's holder that is shown.
const HOLDER_BYTES_MAX: usize = 200;

/// Who a data directory belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The broker.
    pub node_id: BrokerId,
    /// UUID of the cluster.
    pub cluster_id: [u8; 16],
    /// UUID of the directory.
    pub directory_id: [u8; 16],
}

impl Identity {
    /// The cluster id as it is shown: 22 characters of base64url.
    #[must_use]
    pub fn cluster_id_text(&self) -> String {
        TopicId::from_bytes(self.cluster_id).to_string()
    }

    /// The directory id as it is shown: 22 characters of base64url.
    #[must_use]
    pub fn directory_id_text(&self) -> String {
        TopicId::from_bytes(self.directory_id).to_string()
    }

    fn payload(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u32(FORMAT);
        bytes.put_i32(self.node_id.0);
        bytes.put_slice(&self.cluster_id);
        bytes.put_slice(&self.directory_id);
        bytes
    }

    /// `Err` holds the format found when it is newer, `None` when the payload does not decode.
    fn from_payload(mut payload: &[u8]) -> Result<Self, Option<u32>> {
        let format = payload.try_get_u32().map_err(|_| None)?;
        if format > FORMAT {
            return Err(Some(format));
        }
        let node_id = payload.try_get_i32().map_err(|_| None)?;
        let mut id = || -> Result<[u8; 16], Option<u32>> {
            let mut bytes = [0; 16];
            payload.try_copy_to_slice(&mut bytes).map_err(|_| None)?;
            Ok(bytes)
        };
        Ok(Self {
            node_id: BrokerId(node_id),
            cluster_id: id()?,
            directory_id: id()?,
        })
    }
}

/// A data directory that this process has the lock of.
#[derive(Debug)]
pub struct Directory {
    io: Arc<dyn LogIo>,
    path: PathBuf,
    was_created: bool,
    _lock: Box<dyn LockGuard>,
}

impl Directory {
    /// Takes the lock of a directory that a daemon has used before, and creates nothing: `None` where
    /// there is no lock yet. `holder` tells others who has it.
    ///
    /// # Errors
    /// Another daemon has it, or the system refuses.
    pub fn lock_used(
        io: &Arc<dyn LogIo>,
        path: &Path,
        holder: &str,
    ) -> Result<Option<Self>, Refusal> {
        match io.metadata(&path.join(LOCK)) {
            Ok(_) => Self::lock(Arc::clone(io), path, holder).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Creates the directory when it is missing, and takes its lock; `holder` tells others who has it.
    ///
    /// # Errors
    /// Another daemon has it, or the system refuses.
    pub fn lock(io: Arc<dyn LogIo>, path: &Path, holder: &str) -> Result<Self, Refusal> {
        let exists = match io.metadata(path) {
            Ok(metadata) if metadata.is_dir => true,
            Ok(_) => {
                return Err(Refusal::new(
                    format!("data directory {} is a file", path.display()),
                    "pass a directory with --data-dir",
                ));
            }
            Err(_) => false,
        };
        io.create_dir_all(path)
            .map_err(|error| cannot("create", path, &error))?;
        let file = path.join(LOCK);
        let lock = io
            .try_lock(&file)
            .map_err(|error| cannot("lock", path, &error))?;
        let Some(mut lock) = lock else {
            return Err(taken(&*io, path, &file));
        };
        lock.describe_holder(holder)
            .map_err(|error| cannot("write to", path, &error))?;
        Ok(Self {
            io,
            path: path.to_path_buf(),
            was_created: !exists,
            _lock: lock,
        })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it did not exist before.
    #[must_use]
    pub fn was_created(&self) -> bool {
        self.was_created
    }

    /// Directory of the metadata log.
    #[must_use]
    pub fn metadata(&self) -> PathBuf {
        self.path.join(METADATA)
    }

    /// Reads who the directory belongs to; `None` when it belongs to nobody yet and is empty.
    ///
    /// # Errors
    /// A newer format, another node's, a damaged file, data without an identity.
    pub fn identity(&self, node_id: BrokerId) -> Result<Option<Identity>, Refusal> {
        let path = self.path.join(IDENTITY);
        let frame = match KIND.load(&*self.io, &path) {
            Ok(Some(frame)) => frame,
            Ok(None) => return self.check_empty().map(|()| None),
            Err(error) => return Err(unreadable(&error)),
        };
        let identity = Identity::from_payload(&frame.payload).map_err(|newer| match newer {
            Some(format) => newer_format(&self.path, format),
            None => unreadable(&LoadError::Corrupt {
                path: path.clone(),
                source: KIND.payload_error("it is cut off"),
            }),
        })?;
        if identity.node_id != node_id {
            return Err(Refusal::new(
                format!(
                    "data directory {} belongs to node {}, node.id is {node_id}",
                    self.path.display(),
                    identity.node_id
                ),
                format!(
                    "set node.id to {}, or use another directory",
                    identity.node_id
                ),
            ));
        }
        Ok(Some(identity))
    }

    /// Makes the directory this node's, durably.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn claim(&self, identity: &Identity) -> Result<(), Refusal> {
        let path = self.path.join(IDENTITY);
        let parent = self
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        KIND.store(&*self.io, &path, &identity.payload())
            .and_then(|()| self.io.sync_dir(parent.unwrap_or_else(|| Path::new("."))))
            .map_err(|error| cannot("write to", &self.path, &error))
    }

    /// A directory without an identity must hold nothing that could be somebody's data.
    fn check_empty(&self) -> Result<(), Refusal> {
        let entries = self
            .io
            .list_dir(&self.path)
            .map_err(|error| cannot("list", &self.path, &error))?;
        let is_harmless = |name: &Path| {
            let name = name.to_string_lossy();
            // A power cut in the first start of all leaves what was to become a file.
            HARMLESS.contains(&&*name) || name.ends_with(BESIDE_SUFFIX)
        };
        match entries.iter().find(|entry| !is_harmless(&entry.name)) {
            None => Ok(()),
            Some(entry) => Err(Refusal::new(
                format!(
                    "{} has no identity file but holds {}",
                    self.path.display(),
                    entry.name.display()
                ),
                "restore its identity file, or pass an empty directory with --data-dir",
            )),
        }
    }
}

fn cannot(action: &str, path: &Path, error: &io::Error) -> Refusal {
    Refusal::new(
        format!("cannot {action} data directory {}: {error}", path.display()),
        "check its owner, permissions and free space, or pass another one with --data-dir",
    )
}

fn taken(io: &dyn LogIo, path: &Path, file: &Path) -> Refusal {
    let holder = read_holder(io, file).unwrap_or_default();
    let holder = if holder.is_empty() {
        "another process".to_owned()
    } else {
        holder
    };
    Refusal::new(
        format!("data directory {} is in use by {holder}", path.display()),
        "stop that daemon, or pass another directory with --data-dir",
    )
}

fn read_holder(io: &dyn LogIo, path: &Path) -> io::Result<String> {
    let file = io.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; HOLDER_BYTES_MAX];
    let found = file.read_at(&mut bytes, 0)?;
    bytes.truncate(found);
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn newer_format(path: &Path, format: u32) -> Refusal {
    Refusal::new(
        format!(
            "data directory {} has format {format}, millstreamd {} reads up to {FORMAT}",
            path.display(),
            crate::version::SHORT
        ),
        "start the newer millstreamd that wrote it",
    )
}

fn unreadable(error: &LoadError) -> Refusal {
    let hint = match error {
        LoadError::Corrupt {
            source: FrameError::Version { .. },
            ..
        } => "start the newer millstreamd that wrote it",
        LoadError::Corrupt { .. } => "restore the file from a backup; no data was touched",
        _ => "check its owner and permissions",
    };

    Refusal::new(error.to_string(), hint)
}

#[cfg(test)]
mod tests;
