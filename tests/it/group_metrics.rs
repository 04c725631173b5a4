//! Metrics of groups: there while the group is, gone with it.

use anyhow::{Context as _, Result, ensure};
use millstream_tests::{Cli, Daemon, http};

fn run(daemon: &Daemon, line: &str) -> Result<()> {
    Cli::new(daemon, line.split(' '))?.stdout().map(drop)
}

#[test]
fn a_group_shows_in_the_metrics_until_it_is_deleted() -> Result<()> {
    let daemon = Daemon::start()?;
    run(&daemon, "topics create numbers --partitions 2")?;
    let rows = "number\n".repeat(100);
    let produce = Cli::new(&daemon, ["produce", "numbers"])?;
    produce.input(rows).stdout()?;
    run(&daemon, "consume numbers --group readers --limit 40")?;
    let metrics = daemon.metrics()?;
    let labels = "{group=\"readers\",topic=\"numbers\"}";
    let lag = format!("millstream_group_lag{labels}");
    for (name, expected) in [
        ("millstream_groups{type=\"consumer\",state=\"Empty\"}", 1.0),
        ("millstream_group_members", 0.0),
        (lag.as_str(), 60.0),
        ("millstream_groups_without_lag", 0.0),
        ("millstream_group_offsets_refused_total", 0.0),
        (
            "millstream_group_members_evicted_total{reason=\"gone\"}",
            0.0,
        ),
        ("millstream_group_answers_waiting", 0.0),
        ("millstream_limit{key=\"groups.members_max\"}", 1_000.0),
    ] {
        let found = http::metric(&metrics, name);
        ensure!(found == Some(expected), "{name} is {found:?} in {metrics}");
    }
    for name in [
        "millstream_group_rebalances_total",
        "millstream_group_commits_total",
        "millstream_group_offsets_committed_total",
        "millstream_group_append_records_total",
    ] {
        let found = http::metric(&metrics, name).context(name)?;
        ensure!(found >= 1.0, "{name} is {found} in {metrics}");
    }
    let seconds = http::metric(&metrics, &format!("millstream_group_lag_seconds{labels}"));
    ensure!(seconds.is_none_or(|lag| lag < 60.0), "{seconds:?}");
    run(&daemon, "groups delete readers --yes")?;
    let metrics = daemon.metrics()?;
    ensure!(!metrics.contains("group=\"readers\""), "{metrics}");
    Ok(())
}
