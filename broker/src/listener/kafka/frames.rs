//! [`Frames`]: the messages of a connection, each behind its length.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::answer::LENGTH_BYTES;

/// Bytes read at once while messages are small: what an idle connection holds.
const READ_BYTES_MIN: usize = 4 << 10;
/// Bytes read at once at most, beyond those of a message that has begun.
const READ_BYTES_MAX: usize = 64 << 10;
/// Room made for a message on the word of its length: that of a usual batch. More comes as bytes come.
const BELIEVED_BYTES_MAX: usize = 1 << 20;

/// Reads one message after the other.
#[derive(Debug)]
pub(super) struct Frames<R> {
    reader: R,
    buffer: BytesMut,
    frame_bytes_max: usize,
    /// Follows the size of the latest message.
    read_bytes: usize,
}

/// Why there is no further message.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("message of {found} bytes, expected 0 to {max} (limits.request_bytes_max)")]
    Length { found: i32, max: usize },
    #[error("connection ends within a message")]
    Torn,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(reader: R, frame_bytes_max: usize) -> Self {
        Self {
            reader,
            buffer: BytesMut::new(),
            frame_bytes_max,
            read_bytes: READ_BYTES_MIN,
        }
    }

    /// The next message without its length; `None` at the end of the connection.
    ///
    /// # Errors
    /// [`FrameError`].
    ///
    /// # Cancel safety
    /// Safe: what was read stays.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let missing = match self.length()? {
                Some(length) if self.buffer.len() >= LENGTH_BYTES + length => {
                    self.read_bytes = length.clamp(READ_BYTES_MIN, READ_BYTES_MAX);
                    self.buffer.advance(LENGTH_BYTES);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
                Some(length) => LENGTH_BYTES + length - self.buffer.len(),
                None => 0,
            };
            let believed = missing.min(self.buffer.len().max(BELIEVED_BYTES_MAX));
            self.buffer.reserve(believed.max(self.read_bytes));
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(FrameError::Torn),
                };
            }
        }
    }

    fn length(&self) -> Result<Option<usize>, FrameError> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let found = i32::from_be_bytes(*length);
        match usize::try_from(found) {
            Ok(length) if length <= self.frame_bytes_max => Ok(Some(length)),
            _ => Err(FrameError::Length {
                found,
                max: self.frame_bytes_max,
            }),
        }
    }
}
