//! Creating and opening partitions.

use std::sync::{Arc, Mutex, OnceLock, RwLock, atomic::AtomicBool};

use millstream_proto::{Offset, TopicId, TopicPartition};

use crate::{
    config::LogConfig,
    context::DataDirectory,
    error::StorageError,
    flusher::FlushTicket,
    hooks, identity,
    layout::FileKind,
    recovery::{Boot, RecoveryError, RecoveryInput, RecoveryReport},
};

use super::{PartitionLog, Positions, flush::FlushProgress, view::View, writer::Writer};

impl PartitionLog {
    /// Creates the directory and first segment of a new partition, durable on return. What a crash
    /// left of an earlier attempt is completed. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says; `AlreadyExists` for a directory that holds records or another topic.
    pub fn create(
        directory: &Arc<DataDirectory>,
        partition: TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
    ) -> Result<Arc<Self>, StorageError> {
        let path = directory.partition_path(&partition);
        let io = &**directory.io();
        directory.begin_recovery_point(&partition.to_string())?;
        directory
            .with_reserve(|| {
                io.create_dir_all(&path)?;
                hooks::reached(hooks::Phase::TopicCreation);
                refuse_foreign(io, &path, topic_id)?;
                identity::store(io, &path, topic_id)?;
                let first = FileKind::Log.path(&path, Offset::ZERO);
                io.open(&first, crate::io::OpenMode::Create)?;
                for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
                    io.open(&kind.path(&path, Offset::ZERO), crate::io::OpenMode::Create)?;
                }
                io.sync_dir(&path)?;
                io.sync_dir(directory.path())
            })
            .map_err(|error| StorageError::io("create", &path, error))?;
        let positions = Positions::starting_at(Offset::ZERO);
        let writer = Writer::Created;
        Ok(Self::new(
            directory, partition, topic_id, config, positions, writer,
        ))
    }

    /// Opens a partition that exists. After a clean shutdown nothing is touched until its first use;
    /// otherwise it is recovered here, so call it for many partitions in parallel where blocking is
    /// allowed. A partition that cannot be recovered comes back offline with the reason.
    ///
    /// # Errors
    /// [`RecoveryError::TopicId`]: the directory belongs to another topic and was left alone.
    pub fn open(
        directory: &Arc<DataDirectory>,
        partition: TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
        now_ms: i64,
    ) -> Result<(Arc<Self>, RecoveryReport), RecoveryError> {
        let (boot, recovery_point) = directory.last_run(&partition.to_string());
        let mut positions = Positions::starting_at(recovery_point);
        if let Boot::Clean(clean) = boot {
            positions.log_start = clean.log_start;
            positions.local_log_start = clean.log_start;
        }
        let input = RecoveryInput {
            recovery_point,
            boot,
            durability: config.durability,
            index_interval_bytes: config.index_interval_bytes,
            now_ms,
            ran_in_this_boot: directory.ran_in_this_boot(),
            compacted: config.cleanup_compact,
            topic_id: Some(topic_id),
        };
        let writer = Writer::Unopened(Box::new(input.clone()));
        let log = Self::new(directory, partition, topic_id, config, positions, writer);
        if matches!(boot, Boot::Clean(_)) {
            return Ok((log, RecoveryReport::default()));
        }
        match log.recover_directory(&input) {
            Ok(recovered) => {
                let report = recovered.report.clone();
                let writer = log.start_from(recovered);
                log.replace_writer(Writer::Open(Box::new(writer)));
                Ok((log, report))
            }
            Err(error @ RecoveryError::TopicId { .. }) => Err(error),
            Err(error) => {
                log.recovery_failed(error);
                Ok((log, RecoveryReport::default()))
            }
        }
    }

    fn replace_writer(&self, new: Writer) {
        if let Ok(mut writer) = self.writer.lock() {
            *writer = new;
        }
    }

    fn new(
        directory: &Arc<DataDirectory>,
        partition: TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
        positions: Positions,
        writer: Writer,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            directory: Arc::clone(directory),
            name: Arc::from(partition.to_string()),
            path: Arc::from(directory.partition_path(&partition)),
            partition,
            topic_id,
            config: RwLock::new(config),
            observer: RwLock::new(None),
            view: RwLock::new(View::unopened(positions)),
            writer: Mutex::new(writer),
            segments_turn: Mutex::default(),
            sealing: Mutex::default(),
            manifest: Mutex::default(),
            recovery_turn: Mutex::default(),
            flush: FlushProgress::default(),
            ticket: FlushTicket::default(),
            tail: Arc::default(),
            offline: OnceLock::new(),
            closed: AtomicBool::new(false),
            used: AtomicBool::new(false),
            dirty_at_start: OnceLock::new(),
        })
    }
}

/// A directory that already holds records, or belongs to another topic, is not taken over.
fn refuse_foreign(
    io: &dyn crate::io::LogIo,
    path: &std::path::Path,
    topic_id: TopicId,
) -> std::io::Result<()> {
    let exists = |reason: &str| std::io::Error::new(std::io::ErrorKind::AlreadyExists, reason);
    match identity::load(io, path) {
        Ok(Some(found)) if found != topic_id => {
            return Err(exists(&format!(
                "it has topic id {found}, expected {topic_id}"
            )));
        }
        Ok(_) => {}
        Err(identity::IdentityError::Io(error)) => return Err(error),
        Err(error) => return Err(exists(&error.to_string())),
    }
    for entry in io.list_dir(path)? {
        if let Some((FileKind::Log, _)) = FileKind::parse(&entry.name)
            && io.metadata(&path.join(&entry.name))?.len > 0
        {
            return Err(exists("it holds records"));
        }
    }
    Ok(())
}
