//! [`Answer`]: an encoded answer, and [`Outgoing`]: the answers that a connection has yet to write.

#[cfg(test)]
pub(super) mod oracle;

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::{
    messages::{ApiKey, ResponseHeader},
    protocol::{Encodable, HeaderVersion},
};
use millstream_proto::ErrorCode;
use tokio::io::AsyncWrite as _;

use super::{codec, dispatch::Closing, error_codes::ErrorCodes};
use crate::{
    listener::watched::Watched,
    service::fetch::{CheckedSlice, FileRange},
};

/// Bytes of the length before a message.
pub(super) const LENGTH_BYTES: usize = 4;
/// Chunks that are written by one call.
const SLICES_MAX: usize = 64;

/// One encoded answer, its length in front.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) chunks: Vec<Chunk>,
    /// The error codes in it, each as often as it is there; to be counted.
    pub(super) errors: Vec<ErrorCode>,
}

/// Some bytes of an answer, and where they are.
#[derive(Debug)]
pub(super) enum Chunk {
    Memory(Bytes),
    /// The socket takes them from there.
    File(FileRange),
}

impl Chunk {
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(range) => range.len(),
        }
    }
}

impl From<CheckedSlice> for Chunk {
    fn from(slice: CheckedSlice) -> Self {
        match slice {
            CheckedSlice::Memory(bytes) => Self::Memory(bytes),
            CheckedSlice::File(range) => Self::File(range),
        }
    }
}

impl Answer {
    /// Encodes an answer.
    ///
    /// # Errors
    /// A value that the version has no field for, which is a mistake of the adapter.
    pub(super) fn encode<R: Encodable + HeaderVersion + ErrorCodes>(
        correlation_id: i32,
        version: i16,
        response: &R,
    ) -> Result<Self, Closing> {
        let mut message = BytesMut::new();
        message.put_i32(0);
        let header = ResponseHeader::default().with_correlation_id(correlation_id);
        header
            .encode(&mut message, R::header_version(version))
            .and_then(|()| response.encode(&mut message, version))
            .map_err(|error| Closing::Encoding(format!("{error:#}")))?;
        Ok(Self::framed(message, response.error_codes()))
    }

    /// Its bytes.
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(Chunk::len).sum()
    }

    /// A message that begins with room for its length.
    pub(super) fn framed(mut message: BytesMut, errors: Vec<ErrorCode>) -> Self {
        let length = message.len().saturating_sub(LENGTH_BYTES);
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        if let Some(room) = message.get_mut(..LENGTH_BYTES) {
            room.copy_from_slice(&length.to_be_bytes());
        }
        Self {
            chunks: vec![Chunk::Memory(message.freeze())],
            errors,
        }
    }

    /// Begins the message of a hand-written answer: its length and header.
    pub(super) fn begin(correlation_id: i32, is_flexible: bool) -> BytesMut {
        let mut message = BytesMut::with_capacity(128);
        message.put_i32(0);
        message.put_i32(correlation_id);
        if is_flexible {
            message.put_u8(0);
        }
        message
    }
}

/// Whether an answer has tagged fields and compact lengths.
pub(super) fn is_flexible(api: ApiKey, version: i16) -> bool {
    codec::response_header_version(api as i16, version) >= 1
}

/// Answers that wait to be written, as one run of bytes.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    chunks: VecDeque<Chunk>,
}

impl Outgoing {
    pub(super) fn push(&mut self, answer: Answer) {
        let chunks = answer.chunks.into_iter();
        self.chunks.extend(chunks.filter(|chunk| chunk.len() > 0));
    }

    /// Writes all of them.
    ///
    /// # Errors
    /// What the connection says; a file that ends before what is to be sent of it, as when somebody cut it.
    pub(super) async fn write_to<P: Unpin>(&mut self, stream: &mut Watched<P>) -> io::Result<()> {
        while !self.chunks.is_empty() {
            let written = poll_fn(|context| self.poll_write(stream, context)).await?;
            if written == 0 {
                return Err(self.nothing_written());
            }
            self.advance(written);
        }
        Ok(())
    }

    /// Writes some of what is next.
    fn poll_write<P: Unpin>(
        &self,
        stream: &mut Watched<P>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Some(Chunk::File(range)) = self.chunks.front() {
            return stream.poll_send_file(context, range, range.position(), range.len());
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let in_memory = self.chunks.iter().map_while(|chunk| match chunk {
            Chunk::Memory(bytes) => Some(bytes),
            Chunk::File(_) => None,
        });
        let filled = slices.iter_mut().zip(in_memory);
        let count = filled
            .map(|(slice, bytes)| *slice = IoSlice::new(bytes))
            .count();
        let slices = slices.get(..count).unwrap_or_default();
        match self.chunks.get(count) {
            Some(_) => stream.poll_write_before_more(context, slices),
            None => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn nothing_written(&self) -> io::Error {
        match self.chunks.front() {
            Some(Chunk::File(_)) => {
                let reason = "a segment's file ends before what is to be sent of it";
                io::Error::new(io::ErrorKind::UnexpectedEof, reason)
            }
            _ => io::ErrorKind::WriteZero.into(),
        }
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.chunks.front_mut() {
            let step = first.len().min(count);
            match first {
                Chunk::Memory(bytes) => bytes.advance(step),
                Chunk::File(range) => range.advance(step),
            }
            count -= step;
            if first.len() > 0 {
                return;
            }
            self.chunks.pop_front();
        }
    }
}
