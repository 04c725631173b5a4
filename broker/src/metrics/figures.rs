//! [`Figures`]: the value of each metric at one moment.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::catalog::{Kind, Metric};

/// Figures of one moment.
#[derive(Debug, Default)]
pub struct Figures {
    figures: Vec<Figure>,
}

#[derive(Debug)]
struct Figure {
    metric: Metric,
    labels: Vec<(&'static str, String)>,
    value: Value,
}

/// A value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// Seconds, shares.
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl Figures {
    /// Sets a metric without labels.
    ///
    /// # Panics
    /// When the metric has labels.
    pub fn set(&mut self, metric: Metric, value: impl Into<Value>) {
        self.set_labelled(metric, &[], value);
    }

    /// Sets a metric for one value of each of its labels, in the order of the catalog. All figures of
    /// one metric must follow each other.
    ///
    /// # Panics
    /// When the metric has more or fewer labels.
    pub fn set_labelled(&mut self, metric: Metric, labels: &[&str], value: impl Into<Value>) {
        assert_eq!(
            labels.len(),
            metric.labels.len(),
            "labels of {}",
            metric.name
        );
        let labels = metric.labels.iter().zip(labels);
        self.figures.push(Figure {
            metric,
            labels: labels
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            value: value.into(),
        });
    }

    /// Values of the first label of a metric.
    #[cfg(test)]
    pub(super) fn labels_of(&self, metric: Metric) -> impl Iterator<Item = String> {
        let figures = self.figures.iter();
        figures
            .filter(move |figure| figure.metric == metric)
            .filter_map(|figure| figure.labels.first().map(|(_, value)| value.clone()))
    }
}

/// Reads figures when the metrics are written.
pub(super) struct FiguresCollector {
    read: Box<dyn Fn(&mut Figures) + Send + Sync>,
}

impl FiguresCollector {
    pub(super) fn new(read: impl Fn(&mut Figures) + Send + Sync + 'static) -> Self {
        Self {
            read: Box::new(read),
        }
    }
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
        let families = figures
            .figures
            .chunk_by(|left, right| left.metric == right.metric);
        for family in families {
            if let Some(first) = family.first() {
                encode_family(&mut encoder, first.metric, family)?;
            }
        }
        Ok(())
    }
}

fn encode_family(
    encoder: &mut DescriptorEncoder<'_>,
    metric: Metric,
    family: &[Figure],
) -> fmt::Result {
    let metric_type = match metric.kind {
        Kind::Gauge => MetricType::Gauge,
        Kind::Counter => MetricType::Counter,
    };
    let mut encoder = encoder.encode_descriptor(metric.name, metric.help, None, metric_type)?;
    for figure in family {
        if figure.labels.is_empty() {
            // An empty family would show as `{}`.
            return encode_value(encoder, metric.kind, figure.value);
        }
        let encoder = encoder.encode_family(&figure.labels)?;
        encode_value(encoder, metric.kind, figure.value)?;
    }
    Ok(())
}

fn encode_value(encoder: MetricEncoder<'_>, kind: Kind, value: Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Gauge, Value::Whole(value)) => {
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
        }
        (Kind::Gauge, Value::Real(value)) => ConstGauge::new(value).encode(encoder),
        (Kind::Counter, Value::Whole(value)) => ConstCounter::new(value).encode(encoder),
        (Kind::Counter, Value::Real(value)) => ConstCounter::new(value).encode(encoder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, catalog};

    #[test]
    fn figures_become_families_with_prefix_type_and_labels() {
        let metrics = Metrics::default();
        metrics.register(|figures| {
            figures.set(catalog::TOPICS, 3_u64);
            figures.set_labelled(catalog::LIMIT, &["a"], 1_u64);
            figures.set_labelled(catalog::LIMIT, &["b"], 2_u64);
            figures.set(catalog::PANICS, 4_u64);
            figures.set(catalog::UPTIME, 1.5);
        });
        let text = metrics.text().expect("text");
        for line in [
            "# TYPE millstream_topics gauge",
            "millstream_topics 3",
            "millstream_limit{key=\"a\"} 1",
            "millstream_limit{key=\"b\"} 2",
            "millstream_panics_total 4",
            "millstream_uptime_seconds 1.5",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert_eq!(text.matches("# TYPE millstream_limit gauge").count(), 1);
    }

    #[test]
    #[should_panic(expected = "labels of limit")]
    fn a_metric_with_labels_is_not_set_without_them() {
        Figures::default().set(catalog::LIMIT, 1_u64);
    }
}
