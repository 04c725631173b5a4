//! [`Writer`]: what only the one who appends, truncates or rolls may touch.

use std::sync::{Arc, LockResult, MutexGuard, TryLockError};

use millstream_proto::Offset;

use super::{PartitionLog, Positions};
use crate::{
    epoch::EpochHistory,
    error::StorageError,
    manifest::Manifest,
    producer::ProducerState,
    recovery::{Boot, Recovered, RecoveryError, RecoveryInput, RecoveryReport},
    reserve::is_full_error,
    segment::Segment,
    segment_meta::SegmentMeta,
};

/// How often a thread looks whether a held writer is free before it gives its processor away.
const SPINS_MAX: u32 = 4;

/// Pauses of the processor between two of those looks.
const PAUSES_PER_SPIN: u32 = 32;

/// How often it gives its processor away before it sleeps.
const YIELDS_MAX: u32 = 96;

/// State under the partition's mutex.
#[derive(Debug)]
pub(super) enum Writer {
    /// Just created and not used yet: one empty segment at offset 0.
    Created,
    /// Not used since the start; opened by what recovery is told.
    Unopened(Box<RecoveryInput>),
    /// In use.
    Open(Box<OpenWriter>),
    /// Closed or deleted.
    Closed,
}

/// State of a partition in use.
#[derive(Debug)]
pub(super) struct OpenWriter {
    pub(super) active: Arc<Segment>,
    /// Bytes of the active file for which blocks are reserved.
    pub(super) allocated_bytes: u64,
    /// Size of the next reservation.
    pub(super) allocation_step: u64,
    /// CRC-32 of the active file so far; `None` when it was not written from its start or since a
    /// clean close.
    pub(super) checksum: Option<crc32fast::Hasher>,
    /// Broker's clock at the first append to the active segment, or when it was opened.
    pub(super) active_since_ms: Option<i64>,
    pub(super) producers: ProducerState,
    pub(super) unflushed_records: u64,
}

impl OpenWriter {
    fn new(active: Arc<Segment>, producers: ProducerState, manifest: &Manifest) -> Self {
        let size_bytes = active.size_bytes();
        let in_manifest = manifest.get(active.base_offset());
        let checksum = if size_bytes == 0 {
            Some(crc32fast::Hasher::new())
        } else {
            in_manifest
                .filter(|entry| entry.meta.size_bytes == size_bytes)
                .map(|entry| {
                    crc32fast::Hasher::new_with_initial_len(entry.checksums.log, size_bytes)
                })
        };
        Self {
            active,
            allocated_bytes: size_bytes,
            allocation_step: 0,
            checksum,
            active_since_ms: None,
            producers,
            unflushed_records: 0,
        }
    }

    /// Goes on with another active segment.
    pub(super) fn switch_to(&mut self, active: Arc<Segment>) {
        self.allocated_bytes = active.size_bytes();
        self.allocation_step = 0;
        self.checksum = (active.size_bytes() == 0).then(crc32fast::Hasher::new);
        self.active_since_ms = None;
        self.active = active;
    }
}

/// The writer's lock on an opened partition.
pub(super) struct WriterGuard<'a>(MutexGuard<'a, Writer>);

impl std::ops::Deref for WriterGuard<'_> {
    type Target = OpenWriter;

    fn deref(&self) -> &OpenWriter {
        match &*self.0 {
            Writer::Open(writer) => writer,
            _ => unreachable!("the guard is made of an opened writer only"),
        }
    }
}

impl std::ops::DerefMut for WriterGuard<'_> {
    fn deref_mut(&mut self) -> &mut OpenWriter {
        match &mut *self.0 {
            Writer::Open(writer) => writer,
            _ => unreachable!("the guard is made of an opened writer only"),
        }
    }
}

impl WriterGuard<'_> {
    /// Accepts nothing from now on.
    pub(super) fn close(&mut self) {
        *self.0 = Writer::Closed;
    }
}

impl PartitionLog {
    /// Locks the writer, opening the partition on first use.
    pub(super) fn writer(&self) -> Result<WriterGuard<'_>, StorageError> {
        self.check_serving()?;
        let Ok(mut writer) = self.lock_writer() else {
            return Err(self
                .go_offline("an earlier operation on it panicked")
                .into());
        };
        // It may have gone offline while this call waited.
        self.check_serving()?;
        let recovered = match &*writer {
            Writer::Open(_) => return Ok(WriterGuard(writer)),
            Writer::Closed => return Err(StorageError::Closed),
            Writer::Created => self.just_created(),
            Writer::Unopened(input) => self.recover(input)?,
        };
        *writer = Writer::Open(Box::new(self.start_from(recovered)));
        Ok(WriterGuard(writer))
    }

    /// Waits awake for about as long as an append takes: putting a thread to sleep and waking it costs
    /// as much as the append that it waits for, where several connections produce to one partition
    /// (`compare --workload B`: pre-encoded frames, 1 partition).
    fn lock_writer(&self) -> LockResult<MutexGuard<'_, Writer>> {
        for attempt in 0..SPINS_MAX + YIELDS_MAX {
            match self.writer.try_lock() {
                Ok(writer) => return Ok(writer),
                Err(TryLockError::Poisoned(poisoned)) => return Err(poisoned),
                Err(TryLockError::WouldBlock) if attempt < SPINS_MAX => {
                    (0..PAUSES_PER_SPIN).for_each(|_| std::hint::spin_loop());
                }
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        self.writer.lock()
    }

    fn just_created(&self) -> Recovered {
        Recovered {
            topic_id: Some(self.topic_id),
            segments: vec![SegmentMeta::empty(Offset::ZERO)],
            log_start: Offset::ZERO,
            log_end: Offset::ZERO,
            epochs: EpochHistory::new(),
            producers: ProducerState::new(),
            manifest: Manifest::new(),
            corrupt: Vec::new(),
            report: RecoveryReport::default(),
        }
    }

    fn recover(&self, input: &RecoveryInput) -> Result<Recovered, StorageError> {
        let recovered = self
            .recover_directory(input)
            .map_err(|error| self.recovery_failed(error))?;
        if let Boot::Clean(clean) = input.boot
            && recovered.log_end != clean.log_end
        {
            let reason = format!(
                "log end is {}, the clean-shutdown marker has {}",
                recovered.log_end, clean.log_end
            );
            return Err(self.go_offline(&reason).into());
        }
        Ok(recovered)
    }

    /// Recovers the partition's files; a full disk's reserve is given up for what that writes.
    pub(super) fn recover_directory(
        &self,
        input: &RecoveryInput,
    ) -> Result<Recovered, RecoveryError> {
        let io = &**self.directory.io();
        let recover = || crate::recovery::recover_partition(io, &self.path, input);
        match recover() {
            Err(RecoveryError::Io { source, .. })
                if is_full_error(&source) && self.directory.make_room() =>
            {
                recover()
            }
            recovered => recovered,
        }
    }

    pub(super) fn recovery_failed(&self, error: RecoveryError) -> StorageError {
        match error {
            RecoveryError::Io {
                operation,
                path,
                source,
            } => {
                let failed = StorageError::io(operation, &path, source);
                self.go_offline(&failed.to_string());
                failed
            }
            other => self.go_offline(&other.to_string()).into(),
        }
    }

    /// Publishes what recovery found and returns the writer's part of it.
    pub(super) fn start_from(&self, mut recovered: Recovered) -> OpenWriter {
        recovered.manifest.forget_compaction_from(recovered.log_end);
        for range in &recovered.corrupt {
            tracing::error!(
                partition = %self.name, from = %range.offsets.start, to = %range.offsets.end,
                file = %range.file.display(), reason = range.reason,
                "records cannot be read",
            );
        }
        let deps = self.segment_deps();
        let segments: Vec<_> = recovered
            .segments
            .iter()
            .map(|meta| Segment::new(&deps, *meta))
            .collect();
        let active = Arc::clone(
            segments
                .last()
                .expect("recovery leaves at least one segment"),
        );
        self.remove_renamed_files();
        self.publish(|view| {
            view.positions = Positions {
                log_start: recovered.log_start,
                local_log_start: recovered.log_start,
                log_end: recovered.log_end,
                flushed: recovered.log_end,
                recovery_point: recovered.log_end,
                first_unstable: recovered.producers.transactions().first_unstable(),
                truncations: view.positions.truncations,
            };
            view.segments = Arc::new(segments);
            view.epochs = Arc::new(recovered.epochs);
            view.compacted_below = recovered.manifest.compacted_below();
            view.corrupt = recovered.corrupt.into();
        });
        self.directory
            .set_recovery_point(&self.name, recovered.log_end);
        let writer = OpenWriter::new(active, recovered.producers, &recovered.manifest);
        *self.manifest() = recovered.manifest;
        writer
    }
}
