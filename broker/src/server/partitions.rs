//! Starts and stops what holds this broker's partitions: data directory, replicas, their followers.

use std::{
    num::NonZero,
    path::Path,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use millstream_log::{DataDirectory, LogLimits, StorageError, io::LogIo};
use millstream_proto::BrokerId;

use crate::{
    clock::Clock,
    config::Config,
    error::Refusal,
    partition::{AppendGate, Partitions},
    quorum::MetadataImage,
};

/// Opens the data directory's log side, once its lock is held.
pub(super) fn open_directory(
    io: &Arc<dyn LogIo>,
    path: &Path,
    config: &Config,
) -> Result<Arc<DataDirectory>, Refusal> {
    let boot_id = DataDirectory::read_boot_id(&**io).map_err(|error| {
        Refusal::new(
            format!("cannot read the kernel's boot id: {error}"),
            "mount /proc",
        )
    })?;
    DataDirectory::open(Arc::clone(io), path, limits(config), boot_id).map_err(|e| refusal(&e))
}

fn limits(config: &Config) -> LogLimits {
    let (limits, log) = (&config.limits, &config.log);
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    LogLimits {
        open_segments_max: usize::try_from(limits.open_segments_max).unwrap_or(usize::MAX),
        mapped_bytes_max: limits.mapped_bytes_max.0,
        tail_cache_bytes_max: limits.tail_cache_bytes_max.as_usize(),
        unflushed_bytes_max: limits.unflushed_bytes_max.0,
        flush_threads_max: usize::from(log.flush_threads),
        flush_interval_ms: ms(log.flush_interval),
        recovery_point_interval_ms: ms(log.recovery_point_interval),
        recovery_point_bytes: log.recovery_point_bytes.0,
        disk_reserve_bytes: log.disk_reserve.0,
        producer_id_expiration_ms: ms(log.producer_id_expiration),
    }
}

/// The replicas, none of them open yet.
pub(super) fn replicas(directory: Arc<DataDirectory>, config: &Config) -> Arc<Partitions> {
    Arc::new(Partitions::new(
        directory,
        BrokerId(config.node.id),
        config.topic_config.clone(),
        AppendGate::new(config.log.append_stall),
    ))
}

/// Opens all partitions that the metadata places here. Waits for the disk.
pub(super) fn open_all(
    partitions: &Partitions,
    image: &MetadataImage,
    config: &Config,
    clock: Clock,
) -> Result<(), Refusal> {
    let threads = threads(config);
    let report = partitions
        .open_all(image, threads, clock.wall_ms())
        .map_err(|error| refusal(&error))?;
    if report.offline > 0 {
        tracing::error!(
            offline = report.offline,
            "some partitions are offline, the lines above say why"
        );
    }
    tracing::info!(
        serving = report.serving,
        offline = report.offline,
        created = report.created,
        quarantined = report.quarantined,
        scanned_bytes = report.scanned_bytes,
        truncated_bytes = report.truncated_bytes,
        "partitions are open"
    );
    Ok(())
}

/// Flushes and closes everything, counting in `done` as it gets on, and writes the clean-shutdown marker. Waits for
/// the disk.
pub(super) fn close_all(
    partitions: &Partitions,
    config: &Config,
    broker_epoch: i64,
    done: &AtomicUsize,
) -> Result<usize, StorageError> {
    let closed = partitions.close_all(threads(config), done);
    partitions.directory().shut_down(broker_epoch, &closed)?;
    Ok(closed.len())
}

fn threads(config: &Config) -> usize {
    match config.log.recovery_threads {
        // They wait for the disk more than they compute, and it takes many requests at once.
        0 => std::thread::available_parallelism()
            .map_or(1, NonZero::get)
            .max(usize::from(config.log.flush_threads)),
        threads => usize::from(threads),
    }
}

fn refusal(error: &StorageError) -> Refusal {
    Refusal::new(
        error.to_string(),
        "check the data directory's owner, permissions and free space",
    )
}
