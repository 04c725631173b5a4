//! `log-start`: the first readable offset of a partition, where it is above the first segment's.
//!
//! Written before an offset is answered to delete_records, and before retention removes a file.
//!
//! ```text
//! payload: | log start offset i64 |
//! ```

use std::{io, path::Path};

use bytes::Buf;
use millstream_proto::Offset;

use crate::{
    frame::{FrameKind, LoadError},
    io::LogIo,
    layout::LOG_START,
};

/// The frame of the file.
pub const KIND: FrameKind = FrameKind {
    id: 7,
    version: 1,
    name: "log start offset",
};

/// Reads the log start offset of a partition; `None` when it was never raised.
///
/// # Errors
/// A corrupt file, whatever the system says.
pub fn load(io: &dyn LogIo, dir: &Path) -> Result<Option<Offset>, LoadError> {
    let path = dir.join(LOG_START);
    let Some(frame) = KIND.load(io, &path)? else {
        return Ok(None);
    };
    let mut payload = frame.payload.as_slice();
    payload
        .try_get_i64()
        .ok()
        .and_then(Offset::new)
        .filter(|_| !payload.has_remaining())
        .map(Some)
        .ok_or_else(|| LoadError::Corrupt {
            path,
            source: KIND.payload_error("it is no offset"),
        })
}

/// Replaces the log start offset of a partition durably.
///
/// # Errors
/// Whatever the system says.
pub fn store(io: &dyn LogIo, dir: &Path, log_start: Offset) -> io::Result<()> {
    KIND.store(io, &dir.join(LOG_START), &log_start.get().to_be_bytes())
}
