//! [`Frames`]: the messages of a connection, each behind its length.

use std::io;

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::Instant,
};

use super::answer::LENGTH_BYTES;

/// Bytes read at once while messages are small: what an idle connection holds.
const READ_BYTES_MIN: usize = 4 << 10;
/// A message of this many bytes is alone in its memory: nothing behind it is read with it.
const ALONE_BYTES_MIN: usize = 16 << 10;
/// Room made for a message on the word of its length: that of a usual batch. More comes as bytes come.
const BELIEVED_BYTES_MAX: usize = 1 << 20;

/// Reads one message after the other.
#[derive(Debug)]
pub struct Frames<R> {
    reader: R,
    buffer: BytesMut,
    frame_bytes_max: usize,
    /// Follows the size of the latest message.
    read_bytes: usize,
    last_read: Instant,
}

/// Why there is no further message.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A length that no message may have.
    #[error("message of {found} bytes, expected 0 to {max} (limits.request_bytes_max)")]
    Length {
        /// What it says.
        found: i32,
        /// The longest allowed.
        max: usize,
    },
    /// The connection ended before the message did.
    #[error("connection ends within a message")]
    Torn,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// The messages that come from `reader`, of up to so many bytes each.
    #[must_use]
    pub fn new(reader: R, frame_bytes_max: usize) -> Self {
        Self {
            reader,
            buffer: BytesMut::new(),
            frame_bytes_max,
            read_bytes: READ_BYTES_MIN,
            last_read: Instant::now(),
        }
    }

    /// What it reads from, to write to it.
    pub(super) const fn stream_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// When the latest bytes came; at first, when it began to read.
    pub(super) const fn last_read(&self) -> Instant {
        self.last_read
    }

    /// The next message without its length; `None` at the end of the connection. A large one is alone in
    /// its memory, so that a batch in it need not be copied to be changed and kept.
    ///
    /// # Errors
    /// [`FrameError`].
    ///
    /// # Cancel safety
    /// Safe: what was read stays.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let wanted = match self.length()? {
                Some(length) if self.buffer.len() >= LENGTH_BYTES + length => {
                    return Ok(Some(self.take(length)));
                }
                Some(length) => self.room_for(length),
                None => self.read_bytes,
            };
            self.buffer.reserve(wanted);
            let mut room = (&mut self.buffer).limit(wanted);
            let read = self.reader.read_buf(&mut room).await?;
            self.last_read = Instant::now();
            if read == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(FrameError::Torn),
                };
            }
        }
    }

    /// How much to read next of a message whose beginning is there.
    fn room_for(&self, length: usize) -> usize {
        let missing = LENGTH_BYTES + length - self.buffer.len();
        let believed = missing.min(self.buffer.len().max(BELIEVED_BYTES_MAX));
        match length < ALONE_BYTES_MIN {
            true => believed.max(self.read_bytes),
            false => believed,
        }
    }

    /// Takes a message that is there, and its memory where nothing else is in it.
    fn take(&mut self, length: usize) -> Bytes {
        self.read_bytes = match length < ALONE_BYTES_MIN {
            true => length.max(READ_BYTES_MIN),
            // The beginning of another like it.
            false => READ_BYTES_MIN,
        };
        self.buffer.advance(LENGTH_BYTES);
        match self.buffer.len() == length {
            true => std::mem::take(&mut self.buffer).freeze(),
            false => self.buffer.split_to(length).freeze(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, length) in (0..).zip(lengths) {
            bytes.extend(u32::try_from(*length).unwrap().to_be_bytes());
            bytes.resize(bytes.len() + length, number);
        }
        bytes
    }

    #[tokio::test]
    async fn messages_come_one_by_one_and_large_ones_alone_in_their_memory() {
        let lengths = [10, 0, 5_000, 70_000, 70_000, 1 << 21, 7, 20_000, 3];
        let bytes = sent(&lengths);
        let mut frames = Frames::new(&*bytes, 1 << 22);
        for (number, length) in (0_u8..).zip(lengths) {
            let message = frames.next().await.unwrap().unwrap();
            assert_eq!(message, vec![number; length]);
            // Small ones may come with their neighbours, and the beginning of a large one with them.
            if length >= 70_000 && lengths[usize::from(number) - 1] >= 70_000 {
                assert!(message.try_into_mut().is_ok(), "message {number}");
            }
        }
        assert_eq!(frames.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn messages_that_are_torn_or_too_long_are_refused() {
        let bytes = sent(&[100]);
        for end in 1..bytes.len() {
            let torn = Frames::new(&bytes[..end], 100).next().await;
            assert!(matches!(torn, Err(FrameError::Torn)), "{end}: {torn:?}");
        }
        let too_long = Frames::new(&*bytes, 99).next().await;
        assert!(
            matches!(
                too_long,
                Err(FrameError::Length {
                    found: 100,
                    max: 99
                })
            ),
            "{too_long:?}"
        );
        let negative = Frames::new(&[0xff; 4][..], 99).next().await;
        assert!(matches!(
            negative,
            Err(FrameError::Length { found: -1, .. })
        ));
    }
}
