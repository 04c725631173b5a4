//! Figures of the daemon as a whole, for `/metrics`.

mod groups;

use std::{sync::Arc, time::Duration};

use millstream_log::metrics::LogFigures;

use crate::{
    clock::Clock,
    config::Config,
    health::{Health, Phase},
    listener::{ConnectionCounts, kafka::KafkaTraffic},
    maintenance::CompactionStatus,
    metrics::{
        self, Figures, Metrics,
        catalog::{self, Metric},
        process,
    },
    panics,
    partition::{Partitions, TrafficCounts},
    quorum::{MetadataImage, MetadataQuorum},
    service::Services,
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
    pub(super) kafka: Arc<KafkaTraffic>,
    pub(super) services: Arc<Services>,
}

/// Registers them.
pub(super) fn register(metrics: &Metrics, sources: Sources) {
    metrics.register(move |figures| {
        let image = sources.quorum.image();
        daemon(figures, &sources);
        process::figures(figures);
        connections(figures, &sources.connections);
        kafka(figures, &sources.kafka);
        figures.set(catalog::TOPICS, image.topic_count());
        figures.set(catalog::METADATA_INDEX, image.index());
        partitions(figures, &sources.partitions);
        traffic(figures, sources.services.traffic().counts());
        topic_traffic(figures, &image, &sources.partitions);
        groups::figures(figures, &sources.services);
        let log_figures = sources.partitions.directory().figures();
        log(figures, &log_figures);
        compaction(figures, &log_figures, &sources.compaction);
        metrics::limits(figures, &sources.config);
    });
}

fn daemon(figures: &mut Figures, sources: &Sources) {
    figures.set_labelled(catalog::BUILD_INFO, &[version::LONG], true);
    figures.set(catalog::READY, sources.health.phase() == Phase::Ready);
    figures.set(catalog::UPTIME, sources.clock.elapsed().as_secs_f64());
    figures.set(catalog::PANICS, panics::count());
}

fn connections(figures: &mut Figures, counts: &ConnectionCounts) {
    figures.set(catalog::CONNECTIONS, counts.open());
    figures.set(catalog::CONNECTIONS_ACCEPTED, counts.accepted());
    figures.set(catalog::CONNECTIONS_REFUSED, counts.refused());
}

fn kafka(figures: &mut Figures, traffic: &KafkaTraffic) {
    figures.set(catalog::KAFKA_REFUSED, traffic.refused());
    figures.set(catalog::KAFKA_IDLE, traffic.idle());
    let apis: Vec<_> = traffic.figures().collect();
    for api in &apis {
        figures.set_labelled(catalog::KAFKA_REQUESTS, &[api.name], api.requests);
    }
    for api in &apis {
        figures.set_labelled(catalog::KAFKA_REQUEST_BYTES, &[api.name], api.request_bytes);
    }
    for api in &apis {
        figures.set_labelled(
            catalog::KAFKA_RESPONSE_BYTES,
            &[api.name],
            api.response_bytes,
        );
    }
    for api in &apis {
        figures.set_labelled(catalog::KAFKA_SECONDS, &[api.name], api.times.clone());
    }
    for api in &apis {
        for (error, count) in &api.errors {
            let labels = [api.name, error.name()];
            figures.set_labelled(catalog::KAFKA_ERRORS, &labels, *count);
        }
    }
}

fn partitions(figures: &mut Figures, partitions: &Partitions) {
    let replicas = partitions.all();
    let offline = replicas.iter().filter(|r| r.offline_reason().is_some());
    let parked: usize = replicas.iter().map(|r| r.parked_reads()).sum();
    figures.set(catalog::PARTITIONS, replicas.len());
    figures.set(catalog::PARTITIONS_OFFLINE, offline.count());
    figures.set(catalog::FETCHES_PARKED, parked);
    let directory = partitions.directory();
    figures.set(catalog::DISK_FULL, directory.is_full());
    if let Ok(space) = directory.io().space(directory.path()) {
        figures.set(catalog::DISK, space.total);
        figures.set(catalog::DISK_AVAILABLE, space.available);
    }
}

fn traffic(figures: &mut Figures, counts: TrafficCounts) {
    figures.set(catalog::PRODUCED_RECORDS, counts.produced_records);
    figures.set(catalog::PRODUCED_BYTES, counts.produced_bytes);
    figures.set(catalog::FETCHED_RECORDS, counts.fetched_records);
    figures.set(catalog::FETCHED_BYTES, counts.fetched_bytes);
}

/// All figures of one metric follow each other, so each metric goes through the topics once.
fn topic_traffic(figures: &mut Figures, image: &MetadataImage, partitions: &Partitions) {
    let topics = image.topics();
    let topics: Vec<_> = topics
        .map(|topic| (&topic.name, partitions.traffic_of(topic)))
        .collect();
    let mut each = |metric: Metric, value: fn(&TrafficCounts) -> u64| {
        for (name, counts) in &topics {
            figures.set_labelled(metric, &[name.as_str()], value(counts));
        }
    };
    each(catalog::TOPIC_PRODUCED_RECORDS, |c| c.produced_records);
    each(catalog::TOPIC_PRODUCED_BYTES, |c| c.produced_bytes);
    each(catalog::TOPIC_FETCHED_RECORDS, |c| c.fetched_records);
    each(catalog::TOPIC_FETCHED_BYTES, |c| c.fetched_bytes);
}

fn log(figures: &mut Figures, log: &LogFigures) {
    figures.set(catalog::LOG_APPENDS, log.appends);
    figures.set(catalog::LOG_APPEND_BYTES, log.append_bytes);
    figures.set(catalog::LOG_APPEND_SECONDS, seconds(log.append_us));
    figures.set(catalog::LOG_APPEND_MAX, seconds(log.append_us_max));
    figures.set(catalog::LOG_FLUSHES, log.flushes);
    figures.set(catalog::LOG_FLUSH_SECONDS, seconds(log.flush_us));
    figures.set(catalog::LOG_FLUSH_FAILURES, log.flush_failures);
    figures.set(catalog::LOG_DISK_FULL, log.disk_full_count);
    figures.set(catalog::LOG_SEGMENTS_REMOVED, log.segments_removed);
    figures.set(catalog::LOG_CORRUPT_READS, log.corrupt_reads);
    figures.set(catalog::TAIL_CACHE_HITS, log.tail_cache_hits);
    figures.set(catalog::TAIL_CACHE_MISSES, log.tail_cache_misses);
    figures.set(catalog::TAIL_CACHE_BYTES, log.tail_cache_bytes);
    figures.set(catalog::UNFLUSHED_BYTES, log.unflushed_bytes);
    figures.set(catalog::OPEN_SEGMENTS, log.open_segments);
    figures.set(catalog::MAPPED_BYTES, log.mapped_bytes);
}

fn compaction(figures: &mut Figures, log: &LogFigures, status: &CompactionStatus) {
    figures.set(catalog::COMPACTIONS, log.compactions);
    figures.set(catalog::COMPACTION_FAILURES, log.compaction_failures);
    figures.set(catalog::COMPACTION_SECONDS, seconds(log.compaction_us));
    figures.set(catalog::COMPACTION_READ_BYTES, log.compaction_read_bytes);
    figures.set(
        catalog::COMPACTION_WRITTEN_BYTES,
        log.compaction_written_bytes,
    );
    figures.set(
        catalog::COMPACTION_REMOVED_RECORDS,
        log.compaction_removed_records,
    );
    let found = status.latest();
    let dirty_ratio_max = f64::from(found.dirty_ratio_max.millionths()) / 1_000_000.0;
    figures.set(catalog::COMPACTION_DIRTY_RATIO_MAX, dirty_ratio_max);
    figures.set(catalog::COMPACTION_MAP_BYTES, found.map_bytes);
    for failing in &found.failing {
        let labels = [failing.partition.as_str(), failing.reason.as_str()];
        figures.set_labelled(catalog::COMPACTION_FAILING, &labels, true);
    }
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}
