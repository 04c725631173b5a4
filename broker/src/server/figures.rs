//! Figures of the daemon as a whole, for `/metrics`.

use std::sync::Arc;

use crate::{
    clock::Clock,
    config::Config,
    health::{Health, Phase},
    metrics::{self, Figures, Metrics, process},
    panics,
    quorum::MetadataQuorum,
    version,
};

/// What the figures are read from.
pub(super) struct Sources {
    pub(super) config: Arc<Config>,
    pub(super) clock: Clock,
    pub(super) health: Health,
    pub(super) quorum: Arc<dyn MetadataQuorum>,
}

/// Registers them.
pub(super) fn register(metrics: &Metrics, sources: Sources) {
    metrics.register_figures(move |figures| read(figures, &sources));
}

fn read(figures: &mut Figures, sources: &Sources) {
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
    process::figures(figures);
    metadata(figures, &*sources.quorum);
    metrics::limits(figures, &sources.config);
}

fn metadata(figures: &mut Figures, quorum: &dyn MetadataQuorum) {
    let image = quorum.image();
    figures.gauge("topics", "Topics of the cluster", image.topic_count() as u64);
    figures.gauge(
        "partitions",
        "Partitions of all topics",
        image.partition_count() as u64,
    );
    figures.gauge(
        "metadata_index",
        "Index of the last committed metadata change",
        image.index(),
    );
}
