//! [`Answer`]: an encoded answer, and [`Outgoing`]: the answers that a connection has yet to write.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{ApiKey, ResponseHeader},
    protocol::{Encodable, HeaderVersion},
};

use super::{codec, dispatch::Closing};

/// Bytes of the length before a message.
pub(super) const LENGTH_BYTES: usize = 4;

/// One encoded answer, its length in front.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) chunks: Vec<Bytes>,
}

impl Answer {
    /// Encodes an answer.
    ///
    /// # Errors
    /// A value that the version has no field for, which is a mistake of the adapter.
    pub(super) fn encode<R: Encodable + HeaderVersion>(
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
        Ok(Self::framed(message))
    }

    /// Its bytes.
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// A message that begins with room for its length.
    pub(super) fn framed(mut message: BytesMut) -> Self {
        let length = message.len().saturating_sub(LENGTH_BYTES);
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        if let Some(room) = message.get_mut(..LENGTH_BYTES) {
            room.copy_from_slice(&length.to_be_bytes());
        }
        Self {
            chunks: vec![message.freeze()],
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
    chunks: VecDeque<Bytes>,
    bytes: usize,
}

impl Outgoing {
    pub(super) fn push(&mut self, answer: Answer) {
        let chunks = answer.chunks.into_iter().filter(|chunk| !chunk.is_empty());
        for chunk in chunks {
            self.bytes += chunk.len();
            self.chunks.push_back(chunk);
        }
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| chunk)
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while count > 0
            && let Some(chunk) = self.chunks.front_mut()
        {
            let step = chunk.len().min(count);
            chunk.advance(step);
            count -= step;
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.chunks);
        filled
            .map(|(slice, chunk)| *slice = IoSlice::new(chunk))
            .count()
    }
}
