//! `docs/metrics.md`: the catalog as Markdown, for people.

use std::fmt::Write as _;

use super::{
    PREFIX,
    catalog::{Kind, Metric, SECTIONS},
};

const HEAD: &str = "\
# Metrics

What `http://127.0.0.1:9292/metrics` shows, in Prometheus' text format (OpenMetrics 1.0). A counter starts
at 0 with the daemon, so look at its rate. So does a histogram, which is shown as `_bucket` (how many were up to
`le`), `_sum` and `_count` behind its name; `histogram_quantile` reads it. The last column says when a person has to
do something; \"never\" marks figures that explain others.

Written by `millstreamd --print-metrics`; a test compares it with the daemon.
";

/// All metrics as a Markdown document.
#[must_use]
pub fn markdown() -> String {
    let mut out = HEAD.to_owned();
    for section in SECTIONS {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "\n## {}\n\n\
             | metric | type | unit | labels | what it says | when to act |\n\
             |---|---|---|---|---|---|",
            section.title
        );
        for metric in section.metrics {
            let _ = writeln!(out, "{}", row(metric));
        }
    }
    out
}

fn row(metric: &Metric) -> String {
    let Metric {
        name,
        kind,
        unit,
        labels,
        help,
        act,
    } = metric;
    let suffix = match kind {
        Kind::Gauge | Kind::Histogram => "",
        Kind::Counter => "_total",
    };
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    format!(
        "| `{PREFIX}_{name}{suffix}` | {} | {} | {} | {help} | {act} |",
        kind.name(),
        unit.name(),
        labels.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_what_the_code_says() {
        let hint =
            "run: cargo run --package millstream-broker -- --print-metrics > docs/metrics.md";
        let document = include_str!("../../../docs/metrics.md");
        assert_eq!(document, markdown(), "{hint}");
    }
}
