//! [`Figures`]: the value of each metric at one moment.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::{
    catalog::{Kind, Metric},
    histogram::DurationCounts,
};

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
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// Seconds, shares.
    Real(f64),
    /// How many took how long, of a histogram.
    Durations(DurationCounts),
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

impl From<DurationCounts> for Value {
    fn from(value: DurationCounts) -> Self {
        Self::Durations(value)
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
                .map(|(name, value)| (*name, on_one_line(value)))
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

/// What a client chose, as groups are named, in a line of text: control characters are escaped, and so is what
/// escapes begin with, so that no two texts become one.
fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || character == '\\' {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
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
        Kind::Histogram => MetricType::Histogram,
    };
    let mut encoder = encoder.encode_descriptor(metric.name, metric.help, None, metric_type)?;
    for figure in family {
        if figure.labels.is_empty() {
            // An empty family would show as `{}`.
            return encode_value(encoder, metric.kind, &figure.value);
        }
        let encoder = encoder.encode_family(&figure.labels)?;
        encode_value(encoder, metric.kind, &figure.value)?;
    }
    Ok(())
}

/// A value that is none of its metric's kind is an error.
fn encode_value(mut encoder: MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Gauge, Value::Whole(value)) => {
            ConstGauge::new(i64::try_from(*value).unwrap_or(i64::MAX)).encode(encoder)
        }
        (Kind::Gauge, Value::Real(value)) => ConstGauge::new(*value).encode(encoder),
        (Kind::Counter, Value::Whole(value)) => ConstCounter::new(*value).encode(encoder),
        (Kind::Counter, Value::Real(value)) => ConstCounter::new(*value).encode(encoder),
        (Kind::Histogram, Value::Durations(counts)) => {
            let (sum, count) = (counts.sum, counts.count());
            encoder.encode_histogram::<NoLabelSet>(sum, count, &counts.buckets, None)
        }
        (Kind::Gauge | Kind::Counter, Value::Durations(_))
        | (Kind::Histogram, Value::Whole(_) | Value::Real(_)) => Err(fmt::Error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{DurationHistogram, Metrics, catalog};

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
    fn a_histogram_has_cumulative_buckets_a_sum_and_a_count() {
        let histogram = DurationHistogram::default();
        for micros in [375, 500, 1_999_125] {
            histogram.observe(Duration::from_micros(micros));
        }
        let metrics = Metrics::default();
        metrics.register(move |figures| {
            figures.set_labelled(catalog::KAFKA_SECONDS, &["Fetch"], histogram.counts());
        });
        let text = metrics.text().expect("text");
        let name = "millstream_kafka_request_seconds";
        let labels = |le: &str| format!("{{le=\"{le}\",api=\"Fetch\"}}");
        for line in [
            format!("# TYPE {name} histogram"),
            format!("{name}_sum{{api=\"Fetch\"}} 2.0"),
            format!("{name}_count{{api=\"Fetch\"}} 3"),
            format!("{name}_bucket{} 0", labels("0.00025")),
            format!("{name}_bucket{} 2", labels("0.0005")),
            format!("{name}_bucket{} 2", labels("1.0")),
            format!("{name}_bucket{} 3", labels("2.5")),
            format!("{name}_bucket{} 3", labels("+Inf")),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn a_value_of_another_kind_is_an_error() {
        let metrics = Metrics::default();
        metrics.register(|figures| figures.set_labelled(catalog::KAFKA_SECONDS, &["Fetch"], 1.5));
        assert!(metrics.text().is_err());
    }

    #[test]
    fn control_characters_of_labels_are_escaped_and_no_two_labels_become_one() {
        let metrics = Metrics::default();
        metrics.register(|figures| {
            for group in ["a\nb", "a\\nb", "\u{1b}[2J\r", "\"ä\""] {
                figures.set_labelled(catalog::GROUP_LAG, &[group, "t"], 1_u64);
            }
        });
        let text = metrics.text().expect("text");
        // Each backslash is escaped once more by the format.
        for group in [r"a\\nb", r"a\\\\nb", r"\\u{1b}[2J\\r", r#"\"ä\""#] {
            let line = format!("millstream_group_lag{{group=\"{group}\",topic=\"t\"}} 1");
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    #[should_panic(expected = "labels of limit")]
    fn a_metric_with_labels_is_not_set_without_them() {
        Figures::default().set(catalog::LIMIT, 1_u64);
    }
}
