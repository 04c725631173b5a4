//! Appending record batches as the leader.

use std::{
    io::IoSlice,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use millstream_proto::{
    LeaderEpoch, Offset,
    record::{BatchHeader, patch},
};

use crate::{
    config::{Durability, LogConfig},
    error::{AppendError, StorageError},
    hooks,
    io::LogFile,
    producer::{ProducerCheck, ProducerError},
    reserve::is_full_error,
};

use super::{
    PartitionLog,
    decode::{Decode, Patience},
    validate::{self, Allowed, Prepared},
    writer::WriterGuard,
};

/// What an append is told beside the batch.
#[derive(Debug, Clone, Copy)]
pub struct AppendContext {
    /// The leadership under which the batch is appended, patched into it.
    pub leader_epoch: LeaderEpoch,
    /// The broker's clock, ms since 1970.
    pub now_ms: i64,
    /// Who wrote the batch.
    pub origin: Origin,
}

/// Who wrote a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client: every rule applies.
    Client,
    /// A coordinator of this broker: may write control batches, and may use the disk's reserve.
    Coordinator,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record: acknowledged once the position that the durability asks for is
    /// beyond it. True for a duplicate, too.
    pub last_offset: Offset,
    /// The broker's time in ms where the topic stores LogAppendTime.
    pub log_append_time: Option<i64>,
    /// Whether an idempotent producer had sent it before; the offsets are the original's.
    pub duplicate: bool,
    /// Whether `flush.messages` wants the flush before the acknowledgement even in a replicated topic.
    pub flush_before_ack: bool,
    /// First readable offset, for the answer.
    pub log_start: Offset,
}

impl PartitionLog {
    /// Validates one record batch, gives it its offsets, writes it and publishes it; asks for a flush
    /// where the topic wants one. Does not wait for that flush, but for the write.
    ///
    /// The batch's buffer is patched in place when it is the only handle on it, else copied.
    ///
    /// # Errors
    /// The first rule that the batch breaks, or what the disk says.
    pub fn append(&self, batch: Bytes, context: &AppendContext) -> Result<Appended, AppendError> {
        self.append_with(batch, context, Patience::Any)
    }

    /// [`PartitionLog::append`] for a thread that others wait for.
    ///
    /// # Errors
    /// [`AppendError::Lengthy`] gives back a batch that takes long to decode.
    pub fn append_quickly(
        &self,
        batch: Bytes,
        context: &AppendContext,
    ) -> Result<Appended, AppendError> {
        self.append_with(batch, context, Patience::Quick)
    }

    /// Memory that an append of a client's batch takes at most to decode it, beside the batch; `None`
    /// where its records are left alone.
    #[must_use]
    pub fn decoding_bytes_max(&self, batch: &[u8]) -> Option<usize> {
        let header = BatchHeader::decode(batch).ok()?;
        let config = self.config();
        let any_time = 0;
        let allowed = Allowed::of(&header, &config.timestamps, any_time);
        let decode = Decode::of(&header, &config, Origin::Client, allowed)?;
        Some(decode.memory_bytes_max(batch.len()))
    }

    fn append_with(
        &self,
        batch: Bytes,
        context: &AppendContext,
        patience: Patience,
    ) -> Result<Appended, AppendError> {
        let started = Instant::now();
        let config = self.config();
        self.admit(context.origin)?;
        let prepared = validate::prepare(batch, &config, context, patience)?;
        let size_bytes = prepared.bytes.len();
        let appended = self.append_prepared(&config, prepared, context)?;
        if !appended.duplicate {
            let counters = &self.directory.counters;
            counters.appended(size_bytes, started.elapsed());
            self.notify();
        }
        if config.durability == Durability::Fsync || appended.flush_before_ack {
            self.request_flush();
        }
        Ok(appended)
    }

    /// Looks at the bounds of the directory before anything is done.
    fn admit(&self, origin: Origin) -> Result<(), AppendError> {
        self.check_serving()?;
        if origin == Origin::Client && self.directory.is_full() {
            return Err(self.directory.full_error().into());
        }
        let max = self.directory.limits().unflushed_bytes_max;
        let unflushed = || self.directory.unflushed_bytes.load(Ordering::Relaxed);
        if unflushed() >= max {
            // The disk is slower than the producers: this one waits for it.
            self.flush()?;
            if unflushed() >= max {
                self.directory.flush_dirty();
            }
            if unflushed() >= max {
                return Err(AppendError::UnflushedBytes { max });
            }
        }
        Ok(())
    }

    fn append_prepared(
        &self,
        config: &LogConfig,
        prepared: Prepared,
        context: &AppendContext,
    ) -> Result<Appended, AppendError> {
        let mut writer = self.writer()?;
        if let Some(duplicate) = self.check_producer(&writer, &prepared, context.origin)? {
            return Ok(duplicate);
        }
        self.enter_epoch(context.leader_epoch)?;
        let base_offset = self.positions().log_end;
        let last_offset = base_offset
            .checked_add(prepared.header.last_offset_delta())
            .filter(|last| *last < Offset::MAX)
            .ok_or(AppendError::OffsetsExhausted {
                log_end: base_offset,
            })?;
        let file = self.make_room(&mut writer, config, &prepared, last_offset, context)?;
        let placed = Placed {
            base_offset,
            last_offset,
        };
        self.write(&mut writer, &*file, prepared, &placed, context)
    }

    fn check_producer(
        &self,
        writer: &WriterGuard<'_>,
        prepared: &Prepared,
        origin: Origin,
    ) -> Result<Option<Appended>, AppendError> {
        let header = &prepared.header;
        if let Some(marker) = &prepared.marker {
            writer.producers.check_marker(header, marker)?;
        }
        if !header.has_producer_id() || header.is_control() || origin == Origin::Coordinator {
            return Ok(None);
        }
        Ok(match writer.producers.check(header)? {
            ProducerCheck::Accept => None,
            ProducerCheck::Duplicate(original) => Some(Appended {
                base_offset: original.base_offset(),
                last_offset: original.last_offset,
                log_append_time: prepared.log_append_time.map(|_| original.timestamp_ms),
                duplicate: true,
                flush_before_ack: false,
                log_start: self.positions().log_start,
            }),
        })
    }

    /// Notes the first append of a leadership in the epoch history, durably, before the append.
    fn enter_epoch(&self, epoch: LeaderEpoch) -> Result<(), AppendError> {
        let (mut epochs, log_end) = {
            let view = self.view();
            match view.epochs.latest() {
                Some(latest) if latest.leader_epoch == epoch => return Ok(()),
                Some(latest) if latest.leader_epoch > epoch => {
                    return Err(AppendError::FencedLeaderEpoch {
                        current: latest.leader_epoch,
                        found: epoch,
                    });
                }
                _ => (view.epochs.as_ref().clone(), view.positions.log_end),
            }
        };
        if epochs.assign(epoch, log_end) {
            let io = &**self.directory.io();
            self.directory
                .with_reserve(|| epochs.store(io, &self.path))
                .map_err(|error| {
                    self.write_failed("write the epoch history in", &self.path, error)
                })?;
            self.publish(|view| view.epochs = Arc::new(epochs));
        }
        Ok(())
    }

    /// Rolls where the batch does not fit, opens the active file, and reserves blocks for the batch.
    fn make_room(
        &self,
        writer: &mut WriterGuard<'_>,
        config: &LogConfig,
        prepared: &Prepared,
        last_offset: Offset,
        context: &AppendContext,
    ) -> Result<Arc<dyn LogFile>, StorageError> {
        let size_bytes = u64::try_from(prepared.bytes.len()).unwrap_or(u64::MAX);
        if writer.must_roll(config, size_bytes, last_offset, context.now_ms) {
            self.roll(writer)?;
        }
        writer.active_since_ms.get_or_insert(context.now_ms);
        let file = writer
            .active
            .file_for_append()
            .map_err(|error| self.write_failed("open", &writer.active.log_path(), error))?;
        let end = writer.active.size_bytes() + size_bytes;
        if end > writer.allocated_bytes {
            self.allocate(writer, &*file, config, end, context.origin)?;
        }
        Ok(file)
    }

    fn write(
        &self,
        writer: &mut WriterGuard<'_>,
        file: &dyn LogFile,
        prepared: Prepared,
        placed: &Placed,
        context: &AppendContext,
    ) -> Result<Appended, AppendError> {
        let Prepared {
            mut bytes, header, ..
        } = prepared;
        place(&mut bytes, placed.base_offset, context.leader_epoch)?;
        let segment = Arc::clone(&writer.active);
        let position = segment.size_bytes();
        let config = self.config();
        let path = || segment.log_path();
        if let Err(error) = file.write_all_at(&[IoSlice::new(&bytes)], position) {
            return Err(self.undo_write(file, position, &path(), error).into());
        }
        // A flush since the file was opened may have cleared the mark without covering this write.
        segment.mark_dirty();
        hooks::reached(hooks::Phase::Append);
        let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        segment
            .publish(placed.last_offset, size_bytes, header.max_timestamp())
            .map_err(|error| self.write_failed("index", &path(), error))?;
        if let Some(checksum) = &mut writer.checksum {
            checksum.update(&bytes);
        }
        writer.unflushed_records += u64::from(header.record_count());
        let flush_before_ack = config
            .flush_messages
            .is_some_and(|records| writer.unflushed_records >= records);
        if flush_before_ack {
            writer.unflushed_records = 0;
        }
        let first_unstable =
            self.apply_producer(writer, &header, prepared.marker, placed, context)?;
        self.note_unflushed(size_bytes, &config);
        self.cache(bytes, placed);
        let log_start = self.publish(|view| {
            view.positions.log_end = placed.end();
            view.positions.first_unstable = first_unstable;
            view.positions.log_start
        });
        Ok(Appended {
            base_offset: placed.base_offset,
            last_offset: placed.last_offset,
            log_append_time: prepared.log_append_time,
            duplicate: false,
            flush_before_ack,
            log_start,
        })
    }

    /// After a failed write: what it left beyond the published end must not stay, as the next batch
    /// may be shorter. If it cannot be cut off the partition is offline.
    fn undo_write(
        &self,
        file: &dyn LogFile,
        position: u64,
        path: &std::path::Path,
        error: std::io::Error,
    ) -> StorageError {
        let full = is_full_error(&error);
        let failed = self.write_failed("write", path, error);
        if full && let Err(error) = file.set_len(position) {
            return self.write_failed("cut", path, error);
        }
        failed
    }

    /// Takes the batch into the producer state; returns the first unstable offset.
    fn apply_producer(
        &self,
        writer: &mut WriterGuard<'_>,
        header: &millstream_proto::record::BatchHeader,
        marker: Option<millstream_proto::record::control::EndTransactionMarker>,
        placed: &Placed,
        context: &AppendContext,
    ) -> Result<Option<Offset>, AppendError> {
        if header.has_producer_id() {
            let now_ms = context.now_ms;
            match marker {
                None => writer.producers.apply(header, placed.base_offset, now_ms),
                Some(marker) => {
                    let aborted =
                        writer
                            .producers
                            .apply_marker(header, &marker, placed.base_offset, now_ms);
                    if let Some(aborted) = aborted {
                        self.index_aborted(&writer.active, aborted)?;
                    }
                }
            }
        }
        Ok(writer.producers.transactions().first_unstable())
    }

    fn cache(&self, bytes: BytesMut, placed: &Placed) {
        let allocation_bytes = bytes.capacity();
        // A small batch must not keep a large frame alive.
        let (bytes, allocation_bytes) = if allocation_bytes / 2 > bytes.len() {
            (Bytes::copy_from_slice(&bytes), bytes.len())
        } else {
            (bytes.freeze(), allocation_bytes)
        };
        self.directory.tail_cache.push(
            &self.tail,
            (placed.base_offset, placed.last_offset),
            bytes,
            allocation_bytes,
        );
    }
}

/// Offsets that a batch gets.
struct Placed {
    base_offset: Offset,
    last_offset: Offset,
}

impl Placed {
    fn end(&self) -> Offset {
        self.last_offset
            .checked_add(1)
            .expect("the largest offset is refused")
    }
}

impl From<ProducerError> for AppendError {
    fn from(error: ProducerError) -> Self {
        match error {
            ProducerError::OutOfOrderSequence {
                producer_id,
                producer_epoch,
                expected,
                found,
            } => Self::OutOfOrderSequence {
                producer_id,
                producer_epoch,
                expected,
                found,
            },
            ProducerError::Fenced {
                producer_id,
                current,
                found,
            } => Self::FencedProducer {
                producer_id,
                current,
                found,
            },
            other => Self::TransactionState {
                reason: other.to_string(),
            },
        }
    }
}

/// Sets the fields that only the broker knows.
fn place(bytes: &mut BytesMut, base_offset: Offset, epoch: LeaderEpoch) -> Result<(), AppendError> {
    patch::base_offset(bytes, base_offset)
        .and_then(|()| patch::leader_epoch(bytes, epoch))
        .map_err(|error| AppendError::Malformed {
            reason: error.to_string(),
        })
}
