//! [`FlushFailure`]: the marker that a failed flush leaves in a partition's directory.
//!
//! After a failed fdatasync the kernel may have marked the pages clean although they are not on
//! disk: a later one succeeds, and in the same boot the page cache still shows the bytes. So what
//! was above the flushed offset is not believed at the next start: dropped in an fsync topic,
//! copied to new files in a replicated one.
//!
//! ```text
//! payload: | flushed offset i64 | reason, UTF-8 |
//! ```

use std::{io, path::Path};

use bytes::{Buf, BufMut};
use millstream_proto::Offset;

use crate::{
    frame::{self, FrameKind, LoadError},
    io::LogIo,
    layout::FLUSH_FAILURE,
};

/// The frame of the marker.
pub const KIND: FrameKind = FrameKind {
    id: 6,
    version: 1,
    name: "flush-failure marker",
};

/// Bytes of a reason that are kept.
const REASON_BYTES_MAX: usize = 1024;

/// A flush that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushFailure {
    /// Exclusive end of what was flushed before it.
    pub flushed_offset: Offset,
    /// What the system said.
    pub reason: String,
}

impl FlushFailure {
    /// Reads the marker of a partition; `None` when no flush failed.
    ///
    /// # Errors
    /// A corrupt file, whatever the system says.
    pub fn load(io: &dyn LogIo, dir: &Path) -> Result<Option<Self>, LoadError> {
        let path = dir.join(FLUSH_FAILURE);
        let Some(frame) = KIND.load(io, &path)? else {
            return Ok(None);
        };
        let mut payload = frame.payload.as_slice();
        let flushed_offset = payload.try_get_i64().ok().and_then(Offset::new);
        flushed_offset
            .map(|flushed_offset| {
                Some(Self {
                    flushed_offset,
                    reason: String::from_utf8_lossy(payload).into_owned(),
                })
            })
            .ok_or_else(|| LoadError::Corrupt {
                path,
                source: KIND.payload_error("it holds no offset"),
            })
    }

    /// Writes the marker durably.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn store(&self, io: &dyn LogIo, dir: &Path) -> io::Result<()> {
        let reason = self.reason.as_bytes();
        let mut payload = Vec::new();
        payload.put_i64(self.flushed_offset.get());
        payload.put_slice(reason.get(..REASON_BYTES_MAX).unwrap_or(reason));
        KIND.store(io, &dir.join(FLUSH_FAILURE), &payload)
    }

    /// Removes the marker durably; no error when there is none.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn remove(io: &dyn LogIo, dir: &Path) -> io::Result<()> {
        frame::remove_file(io, &dir.join(FLUSH_FAILURE))
    }
}
