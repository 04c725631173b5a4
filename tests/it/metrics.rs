//! What a daemon reports is what `docs/metrics.md` says, both ways.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};
use millstream_tests::{Cli, Daemon, binary};

/// Reported only in trouble, or not before somebody lags.
const CONDITIONAL: &[&str] = &[
    "millstream_compaction_failing",
    "millstream_group_lag_seconds",
];

/// Types by name, of the document's tables.
fn documented() -> Result<BTreeMap<String, String>> {
    let document = fs::read_to_string(binary::repository().join("docs/metrics.md"))?;
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{row}");
        assert!(cells[4].len() > 3 && cells[5].len() > 3, "{row}");
        let name = cells[0].trim_matches('`').trim_end_matches("_total");
        Ok((name.to_owned(), cells[1].to_owned()))
    })
    .collect()
}

#[test]
fn every_metric_of_a_working_daemon_is_documented_and_the_other_way_round() -> Result<()> {
    let daemon = Daemon::start()?;
    for line in [
        "topics create flights",
        "offsets commit readers --topic flights --partition 0 --offset 0",
    ] {
        Cli::new(&daemon, line.split(' '))?.stdout()?;
    }
    let metrics = daemon.metrics()?;
    let types = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let found: BTreeMap<String, String> = types
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    let mut expected = documented()?;
    for name in CONDITIONAL {
        let kind = expected.remove(*name).context("documented")?;
        assert_eq!(found.get(*name).unwrap_or(&kind), &kind);
    }
    let unconditional = found
        .into_iter()
        .filter(|(name, _)| !CONDITIONAL.contains(&&**name));
    assert_eq!(unconditional.collect::<BTreeMap<_, _>>(), expected);
    Ok(())
}
