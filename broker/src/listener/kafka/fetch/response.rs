//! Writes the answer to a fetch request: batches are slices of memory or files, copied nowhere.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use millstream_proto::{ErrorCode, LeaderEpoch, Offset};

use super::{
    super::{
        answer::{Answer, Chunk, LENGTH_BYTES, is_flexible},
        wire::Put as _,
    },
    Slot, Topic,
};
use crate::service::fetch::Offsets;

/// The first versions with a field.
const LOG_START_OFFSET: i16 = 5;
const SESSION: i16 = 7;
const PREFERRED_REPLICA: i16 = 11;

/// Writes an answer.
pub(super) fn write(
    correlation_id: i32,
    version: i16,
    error: ErrorCode,
    session_id: i32,
    slots: Vec<Slot>,
) -> Answer {
    let mut response = Response {
        version,
        is_flexible: is_flexible(ApiKey::Fetch, version),
        text: BytesMut::with_capacity(256),
        chunks: vec![Chunk::Memory(Bytes::new())],
        bytes: 0,
        errors: Vec::new(),
    };
    response.begin(error, session_id);
    response.topics(slots);
    response.finish(correlation_id)
}

/// An answer while it is written.
struct Response {
    version: i16,
    is_flexible: bool,
    /// What was written since the last chunk.
    text: BytesMut,
    /// The first is left for the header.
    chunks: Vec<Chunk>,
    /// Bytes of the chunks.
    bytes: usize,
    errors: Vec<ErrorCode>,
}

impl Response {
    fn begin(&mut self, error: ErrorCode, session_id: i32) {
        if error != ErrorCode::None {
            self.errors.push(error);
        }
        let throttle_time_ms = 0;
        self.text.put_i32(throttle_time_ms);
        if self.version >= SESSION {
            self.text.put_i16(error.number());
            self.text.put_i32(session_id);
        }
    }

    /// Partitions of one topic in a row stand under it.
    fn topics(&mut self, slots: Vec<Slot>) {
        let runs: Vec<usize> = slots
            .chunk_by(|one, next| one.topic == next.topic)
            .map(<[Slot]>::len)
            .collect();
        self.text.put_count(runs.len(), self.is_flexible);
        let mut slots = slots.into_iter().peekable();
        for run in runs {
            if let Some(first) = slots.peek() {
                match &first.topic {
                    Topic::Id(id) => self.text.put_slice(id.as_bytes()),
                    Topic::Name(name) => self.text.put_text(name.as_bytes(), self.is_flexible),
                }
            }
            self.text.put_count(run, self.is_flexible);
            for slot in slots.by_ref().take(run) {
                self.partition(slot);
            }
            self.text.put_no_tags(self.is_flexible);
        }
        self.text.put_no_tags(self.is_flexible);
    }

    fn partition(&mut self, slot: Slot) {
        self.text.put_i32(slot.asked.partition);
        let (code, offsets) = match &slot.read {
            Ok(read) => (0, Some(read.offsets)),
            Err(refusal) => {
                self.errors.push(refusal.error.code);
                (refusal.error.code.number(), refusal.offsets)
            }
        };
        self.text.put_i16(code);
        let offset = |read: fn(&Offsets) -> Offset| offsets.as_ref().map_or(-1, |o| read(o).get());
        self.text.put_i64(offset(|offsets| offsets.high_watermark));
        self.text.put_i64(offset(|offsets| offsets.last_stable));
        if self.version >= LOG_START_OFFSET {
            self.text.put_i64(offset(|offsets| offsets.log_start));
        }
        let aborted = slot.read.as_ref().map(|read| &*read.aborted);
        let aborted = aborted.unwrap_or_default();
        self.text.put_count(aborted.len(), self.is_flexible);
        for transaction in aborted {
            self.text.put_i64(transaction.producer_id);
            self.text.put_i64(transaction.first_offset.get());
            self.text.put_no_tags(self.is_flexible);
        }
        if self.version >= PREFERRED_REPLICA {
            let none = -1;
            self.text.put_i32(none);
        }
        let (batches, size_bytes) = slot
            .read
            .map_or_else(|_| (Vec::new(), 0), |read| (read.batches, read.size_bytes));
        self.text.put_count(size_bytes, self.is_flexible);
        for slice in batches {
            self.end_text();
            self.push(slice.into());
        }
        match slot.diverging {
            Some((epoch, end)) if self.is_flexible => self.diverging(epoch, end),
            _ => self.text.put_no_tags(self.is_flexible),
        }
    }

    /// The one tagged field that a partition may have: a leader epoch and an offset, without fields of its own.
    fn diverging(&mut self, epoch: LeaderEpoch, end: Offset) {
        let (fields, tag, size_bytes) = (1, 0, 4 + 8 + 1);
        self.text.put_slice(&[fields, tag, size_bytes]);
        self.text.put_i32(epoch.0);
        self.text.put_i64(end.get());
        self.text.put_no_tags(true);
    }

    /// Makes a chunk of what was written since the last one.
    fn end_text(&mut self) {
        let text = self.text.split().freeze();
        self.push(Chunk::Memory(text));
    }

    fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.len();
        self.chunks.push(chunk);
    }

    fn finish(mut self, correlation_id: i32) -> Answer {
        self.end_text();
        let mut header = Answer::begin(correlation_id, self.is_flexible);
        let length = header.len() - LENGTH_BYTES + self.bytes;
        let length = i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes();
        if let Some(room) = header.get_mut(..LENGTH_BYTES) {
            room.copy_from_slice(&length);
        }
        if let Some(first) = self.chunks.first_mut() {
            *first = Chunk::Memory(header.freeze());
        }
        Answer {
            chunks: self.chunks,
            errors: self.errors,
        }
    }
}

#[cfg(test)]
mod tests;
