//! [`CleanShutdown`]: the marker that lets a start open nothing.
//!
//! Written last, once every partition in it was flushed and closed; removed, durably, before the
//! first partition is opened for writing again. A partition that is not in it is recovered.
//!
//! ```text
//! payload: | broker epoch i64 | count u32 | entries |
//! entry:   | log start i64 | log end i64 | leader epoch i32, -1 none | name length u16 | directory name |
//! ```

use std::{collections::BTreeMap, io, path::Path};

use bytes::{Buf, BufMut};
use millstream_proto::Offset;

use crate::{
    frame::{self, FrameKind, LoadError},
    io::LogIo,
    layout::CLEAN_SHUTDOWN,
};

/// The frame of the marker.
pub const KIND: FrameKind = FrameKind {
    id: 5,
    version: 1,
    name: "clean-shutdown marker",
};

/// A partition as it was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanPartition {
    /// First readable offset.
    pub log_start: Offset,
    /// Offset that the next record gets.
    pub log_end: Offset,
    /// Newest leader epoch in the log, -1 when there is none.
    pub leader_epoch: i32,
}

/// What a clean shutdown leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanShutdown {
    /// The broker's epoch until that shutdown.
    pub broker_epoch: i64,
    /// Every partition that was closed without an error, by name of its directory.
    pub partitions: BTreeMap<String, CleanPartition>,
}

impl CleanShutdown {
    fn payload(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.put_i64(self.broker_epoch);
        bytes.put_u32(u32::try_from(self.partitions.len()).map_err(io::Error::other)?);
        for (name, partition) in &self.partitions {
            bytes.put_i64(partition.log_start.get());
            bytes.put_i64(partition.log_end.get());
            bytes.put_i32(partition.leader_epoch);
            bytes.put_u16(u16::try_from(name.len()).map_err(io::Error::other)?);
            bytes.put_slice(name.as_bytes());
        }
        Ok(bytes)
    }

    fn from_payload(mut payload: &[u8]) -> Option<Self> {
        let mut marker = Self {
            broker_epoch: payload.try_get_i64().ok()?,
            partitions: BTreeMap::new(),
        };
        for _ in 0..payload.try_get_u32().ok()? {
            let partition = CleanPartition {
                log_start: Offset::new(payload.try_get_i64().ok()?)?,
                log_end: Offset::new(payload.try_get_i64().ok()?)?,
                leader_epoch: payload.try_get_i32().ok()?,
            };
            let length = usize::from(payload.try_get_u16().ok()?);
            let name = std::str::from_utf8(payload.split_off(..length)?).ok()?;
            marker.partitions.insert(name.to_owned(), partition);
        }
        (!payload.has_remaining()).then_some(marker)
    }

    /// Reads the marker of a data directory; `None` when the last stop was not clean.
    ///
    /// # Errors
    /// A corrupt file (the stop then counts as not clean), whatever the system says.
    pub fn load(io: &dyn LogIo, data_dir: &Path) -> Result<Option<Self>, LoadError> {
        let path = data_dir.join(CLEAN_SHUTDOWN);
        let Some(frame) = KIND.load(io, &path)? else {
            return Ok(None);
        };
        Self::from_payload(&frame.payload)
            .map(Some)
            .ok_or_else(|| LoadError::Corrupt {
                path,
                source: KIND.payload_error("an entry is cut off or not text"),
            })
    }

    /// Writes the marker durably.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn store(&self, io: &dyn LogIo, data_dir: &Path) -> io::Result<()> {
        KIND.store(io, &data_dir.join(CLEAN_SHUTDOWN), &self.payload()?)
    }

    /// Removes the marker durably; no error when there is none.
    ///
    /// # Errors
    /// Whatever the system says; then no partition may be opened for writing.
    pub fn remove(io: &dyn LogIo, data_dir: &Path) -> io::Result<()> {
        frame::remove_file(io, &data_dir.join(CLEAN_SHUTDOWN))
    }
}
