//! Figures of the daemon as a whole, for `/metrics`.

use std::sync::Arc;

use millstream_log::metrics::LogFigures;

use crate::{
    clock::Clock,
    config::Config,
    health::{Health, Phase},
    listener::grpc::ConnectionCounts,
    maintenance::CompactionStatus,
    metrics::{self, Figures, Metrics, process},
    panics,
    partition::Partitions,
    quorum::MetadataQuorum,
    version,
};

/// What the figures are read from.
pub(super) struct Sources {
    pub(super) config: Arc<Config>,
    pub(super) clock: Clock,
    pub(super) health: Health,
    pub(super) quorum: Arc<dyn MetadataQuorum>,
    pub(super) partitions: Arc<Partitions>,
    pub(super) compaction: Arc<CompactionStatus>,
    pub(super) connections: Arc<ConnectionCounts>,
}

/// Registers them.
pub(super) fn register(metrics: &Metrics, sources: Sources) {
    metrics.register_figures(move |figures| {
        daemon(figures, &sources);
        process::figures(figures);
        connections(figures, &sources.connections);
        metadata(figures, &*sources.quorum);
        partitions(figures, &sources.partitions);
        let log_figures = sources.partitions.directory().figures();
        log(figures, &log_figures);
        compaction(figures, &log_figures, &sources.compaction);
        metrics::limits(figures, &sources.config);
    });
}

fn daemon(figures: &mut Figures, sources: &Sources) {
    figures.labelled_gauge(
        "build_info",
        "1, labelled with the version and commit of the daemon",
        &[("version", version::LONG)],
        1,
    );
    figures.gauge(
        "ready",
        "1 while the daemon is ready, as /ready says",
        u64::from(sources.health.phase() == Phase::Ready),
    );
    figures.seconds(
        "uptime_seconds",
        "Time since the daemon started",
        sources.clock.elapsed().as_secs_f64(),
    );
    figures.counter("panics", "Panics; each is a defect", panics::count());
}

fn connections(figures: &mut Figures, counts: &ConnectionCounts) {
    let open = u64::try_from(counts.open()).unwrap_or(u64::MAX);
    figures.gauge("connections", "Connections to the native API", open);
    figures.counter(
        "connections_accepted",
        "Connections to the native API that were let in",
        counts.accepted(),
    );
    figures.counter(
        "connections_refused",
        "Connections that were refused because of a limit",
        counts.refused(),
    );
}

fn metadata(figures: &mut Figures, quorum: &dyn MetadataQuorum) {
    let image = quorum.image();
    figures.gauge(
        "topics",
        "Topics of the cluster",
        image.topic_count() as u64,
    );
    figures.gauge(
        "metadata_index",
        "Index of the last committed metadata change",
        image.index(),
    );
}

fn partitions(figures: &mut Figures, partitions: &Partitions) {
    let replicas = partitions.all();
    let offline = replicas.iter().filter(|r| r.offline_reason().is_some());
    let parked: usize = replicas.iter().map(|r| r.parked_reads()).sum();
    figures.gauge(
        "partitions",
        "Partitions of this broker",
        replicas.len() as u64,
    );
    figures.gauge(
        "partitions_offline",
        "Partitions of this broker that serve nothing; the log says why",
        offline.count() as u64,
    );
    figures.gauge(
        "fetches_parked",
        "Reads that wait for new records",
        parked as u64,
    );
    let directory = partitions.directory();
    figures.gauge(
        "disk_full",
        "1 while produce is refused because the disk is full",
        u64::from(directory.is_full()),
    );
    if let Ok(space) = directory.io().space(directory.path()) {
        figures.gauge(
            "disk_bytes",
            "Size of the data directory's file system",
            space.total,
        );
        figures.gauge(
            "disk_available_bytes",
            "Bytes that may still be written there",
            space.available,
        );
    }
}

fn log(figures: &mut Figures, log: &LogFigures) {
    let seconds = |us: u64| std::time::Duration::from_micros(us).as_secs_f64();
    figures.counter("log_appends", "Record batches appended", log.appends);
    figures.counter("log_append_bytes", "Bytes of these", log.append_bytes);
    figures.counter_seconds(
        "log_append_seconds",
        "Time spent in appends",
        seconds(log.append_us),
    );
    figures.seconds(
        "log_append_max_seconds",
        "Slowest append since this page was last read",
        seconds(log.append_us_max),
    );
    figures.counter("log_flushes", "Flushes of a partition", log.flushes);
    figures.counter_seconds(
        "log_flush_seconds",
        "Time spent in flushes",
        seconds(log.flush_us),
    );
    figures.counter(
        "log_flush_failures",
        "Flushes that failed; each took its partition offline",
        log.flush_failures,
    );
    figures.counter(
        "log_disk_full",
        "Times that the disk became full",
        log.disk_full_count,
    );
    figures.counter(
        "log_segments_removed",
        "Segments removed by retention, truncation or delete_records",
        log.segments_removed,
    );
    figures.counter(
        "log_corrupt_reads",
        "Batches that a read found corrupt",
        log.corrupt_reads,
    );
    figures.counter(
        "tail_cache_hits",
        "Reads answered from the tail cache",
        log.tail_cache_hits,
    );
    figures.counter(
        "tail_cache_misses",
        "Reads that went to files",
        log.tail_cache_misses,
    );
    figures.gauge(
        "tail_cache_bytes",
        "Memory of the tail cache",
        log.tail_cache_bytes,
    );
    figures.gauge(
        "unflushed_bytes",
        "Bytes appended and not yet flushed",
        log.unflushed_bytes,
    );
    figures.gauge(
        "open_segments",
        "Segments with an open file",
        log.open_segments,
    );
    figures.gauge("mapped_bytes", "Bytes of mapped segments", log.mapped_bytes);
}

fn compaction(figures: &mut Figures, log: &LogFigures, status: &CompactionStatus) {
    let seconds = std::time::Duration::from_micros(log.compaction_us).as_secs_f64();
    figures.counter(
        "compactions",
        "Compaction passes that came to their end",
        log.compactions,
    );
    figures.counter(
        "compaction_failures",
        "Compaction passes that failed; compaction_failing says where and why",
        log.compaction_failures,
    );
    figures.counter_seconds(
        "compaction_seconds",
        "Time spent in compaction passes",
        seconds,
    );
    figures.counter(
        "compaction_read_bytes",
        "Bytes that compaction read",
        log.compaction_read_bytes,
    );
    figures.counter(
        "compaction_written_bytes",
        "Bytes that compaction wrote",
        log.compaction_written_bytes,
    );
    figures.counter(
        "compaction_removed_records",
        "Records that compaction removed",
        log.compaction_removed_records,
    );
    let found = status.latest();
    figures.seconds(
        "compaction_dirty_ratio_max",
        "Largest share of a compacted partition that is not compacted yet, 0 to 1",
        f64::from(found.dirty_ratio_max.millionths()) / 1_000_000.0,
    );
    figures.gauge(
        "compaction_map_bytes",
        "Memory of the keys in the last compaction pass",
        found.map_bytes,
    );
    for failing in &found.failing {
        figures.labelled_gauge(
            "compaction_failing",
            "1 for each partition whose last compaction pass failed, with the reason",
            &[
                ("partition", &failing.partition),
                ("reason", &failing.reason),
            ],
            1,
        );
    }
}
