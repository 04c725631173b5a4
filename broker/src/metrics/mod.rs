//! The daemon's metrics, in Prometheus' text format.
//!
//! Components register their families while the daemon starts and keep the handles, so that nothing
//! is looked up on the hot path; figures that others count already are read when somebody asks
//! ([`Figures`]). All names begin with `millstream_`.

pub mod process;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::config::Config;

/// What every name begins with.
const PREFIX: &str = "millstream";

/// All metrics of the daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix(PREFIX))),
        }
    }
}

impl Metrics {
    /// Registers families; for use while the daemon starts.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        register(&mut registry)
    }

    /// Registers figures that are read when somebody asks.
    pub fn register_figures(&self, read: impl Fn(&mut Figures) + Send + Sync + 'static) {
        let collector = FiguresCollector {
            read: Box::new(read),
        };
        self.register(|registry| registry.register_collector(Box::new(collector)));
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// When a metric cannot be written as text, a defect.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        encode(&mut out, &registry).map(|()| out)
    }
}

/// Figures of one moment.
#[derive(Debug, Default)]
pub struct Figures {
    figures: Vec<Figure>,
}

#[derive(Debug)]
struct Figure {
    name: &'static str,
    help: &'static str,
    labels: Vec<(&'static str, String)>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Gauge(i64),
    Seconds(f64),
    Counter(u64),
    CounterSeconds(f64),
}

impl Figures {
    /// Something that goes up and down. `name` ends with its unit.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.labelled_gauge(name, help, &[], value);
    }

    /// A gauge of one kind among several; all of one name must follow each other.
    pub fn labelled_gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: u64,
    ) {
        let value = Value::Gauge(i64::try_from(value).unwrap_or(i64::MAX));
        self.push(name, help, labels, value);
    }

    /// Seconds that go up and down.
    pub fn seconds(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.push(name, help, &[], Value::Seconds(value));
    }

    /// Something that is counted; `_total` is added to the name.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.push(name, help, &[], Value::Counter(value));
    }

    /// Seconds that are added up; `_total` is added to the name.
    pub fn counter_seconds(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.push(name, help, &[], Value::CounterSeconds(value));
    }

    fn push(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: Value,
    ) {
        let labels = labels.iter();
        self.figures.push(Figure {
            name,
            help,
            labels: labels
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            value,
        });
    }
}

struct FiguresCollector {
    read: Box<dyn Fn(&mut Figures) + Send + Sync>,
}

impl fmt::Debug for FiguresCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FiguresCollector").finish_non_exhaustive()
    }
}

impl Collector for FiguresCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut figures = Figures::default();
        (self.read)(&mut figures);
        let mut rest = figures.figures.as_slice();
        while let Some(first) = rest.first() {
            let same = rest.iter().take_while(|figure| figure.name == first.name);
            let (family, after) = rest.split_at(same.count());
            encode_family(&mut encoder, first, family)?;
            rest = after;
        }
        Ok(())
    }
}

fn encode_family(
    encoder: &mut DescriptorEncoder<'_>,
    first: &Figure,
    family: &[Figure],
) -> fmt::Result {
    let metric_type = match first.value {
        Value::Gauge(_) | Value::Seconds(_) => prometheus_client::metrics::MetricType::Gauge,
        Value::Counter(_) | Value::CounterSeconds(_) => {
            prometheus_client::metrics::MetricType::Counter
        }
    };
    let mut encoder = encoder.encode_descriptor(first.name, first.help, None, metric_type)?;
    for figure in family {
        if figure.labels.is_empty() {
            // An empty family would show as `{}`.
            return encode_value(encoder, &figure.value);
        }
        encode_value(encoder.encode_family(&figure.labels)?, &figure.value)?;
    }
    Ok(())
}

fn encode_value(encoder: MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match *value {
        Value::Gauge(value) => ConstGauge::new(value).encode(encoder),
        Value::Seconds(value) => ConstGauge::new(value).encode(encoder),
        Value::Counter(value) => ConstCounter::new(value).encode(encoder),
        Value::CounterSeconds(value) => ConstCounter::new(value).encode(encoder),
    }
}

/// The configured limits, so that a dashboard can show how near each is.
pub fn limits(figures: &mut Figures, config: &Config) {
    let limits = &config.limits;
    for (name, value) in [
        ("connections_max", u64::from(limits.connections_max)),
        (
            "connections_per_address_max",
            u64::from(limits.connections_per_address_max),
        ),
        (
            "http_connections_max",
            u64::from(limits.http_connections_max),
        ),
        (
            "streams_per_connection_max",
            u64::from(limits.streams_per_connection_max),
        ),
        ("request_bytes_max", limits.request_bytes_max.0),
        ("in_flight_bytes_max", limits.in_flight_bytes_max.0),
        (
            "produce_stream_bytes_max",
            limits.produce_stream_bytes_max.0,
        ),
        (
            "produce_stream_batches_max",
            u64::from(limits.produce_stream_batches_max),
        ),
        (
            "fetch_partition_credit_bytes_max",
            limits.fetch_partition_credit_bytes_max.0,
        ),
        (
            "fetch_stream_credit_bytes_max",
            limits.fetch_stream_credit_bytes_max.0,
        ),
        (
            "fetch_stream_partitions_max",
            u64::from(limits.fetch_stream_partitions_max),
        ),
        ("topics_max", u64::from(limits.topics_max)),
        ("partitions_max", u64::from(limits.partitions_max)),
        (
            "partitions_per_topic_max",
            u64::from(limits.partitions_per_topic_max),
        ),
        ("open_segments_max", u64::from(limits.open_segments_max)),
        ("mapped_bytes_max", limits.mapped_bytes_max.0),
        ("tail_cache_bytes_max", limits.tail_cache_bytes_max.0),
        ("unflushed_bytes_max", limits.unflushed_bytes_max.0),
    ] {
        figures.labelled_gauge(
            "limit",
            "Configured limit, by its key in section limits",
            &[("key", name)],
            value,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_families_with_prefix_type_and_labels() {
        let metrics = Metrics::default();
        metrics.register_figures(|figures| {
            figures.gauge("topics", "Topics", 3);
            figures.labelled_gauge("limit", "Limits", &[("key", "a")], 1);
            figures.labelled_gauge("limit", "Limits", &[("key", "b")], 2);
            figures.counter("panics", "Panics", 4);
        });
        let text = metrics.text().expect("text");
        for line in [
            "# TYPE millstream_topics gauge",
            "millstream_topics 3",
            "millstream_limit{key=\"a\"} 1",
            "millstream_limit{key=\"b\"} 2",
            "millstream_panics_total 4",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert_eq!(text.matches("# TYPE millstream_limit gauge").count(), 1);
    }

    #[test]
    fn every_limit_of_the_configuration_has_a_metric() {
        let mut figures = Figures::default();
        limits(&mut figures, &Config::default());
        let keys = crate::config::KEYS.iter();
        let expected: Vec<_> = keys
            .filter(|key| key.section == "limits")
            .map(|key| key.name.to_owned())
            .collect();
        let found: Vec<_> = figures
            .figures
            .iter()
            .filter_map(|figure| figure.labels.first().map(|label| label.1.clone()))
            .collect();
        assert_eq!(found, expected);
    }
}
