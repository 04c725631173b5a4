//! The command line against a real daemon: every refusal word for word, and what each verb does.

use anyhow::{Context as _, Result, ensure};
use millstream_tests::{Cli, Daemon};
use serde_json::Value;

/// Runs a command that must succeed; its standard output.
fn run(daemon: &Daemon, line: &str) -> Result<String> {
    let output = Cli::new(daemon, line.split(' '))?.stdout()?;
    Ok(String::from_utf8(output)?)
}

fn json(daemon: &Daemon, line: &str) -> Result<Value> {
    let text = run(daemon, &format!("{line} --output json"))?;
    serde_json::from_str(&text).with_context(|| text)
}

fn produce(daemon: &Daemon, line: &str, input: &str) -> Result<()> {
    Cli::new(daemon, line.split(' '))?.input(input).stdout()?;
    Ok(())
}

/// Runs a command that must end with 2; what it said.
fn refusal(daemon: &Daemon, line: &str, input: &str) -> Result<String> {
    let output = Cli::new(daemon, line.split(' '))?.input(input).run()?;
    ensure!(output.status.code() == Some(2), "{line}: {output:?}");
    ensure!(output.stdout.is_empty(), "{line}: {output:?}");
    let said = String::from_utf8(output.stderr)?;
    Ok(format!("$ millstream {line}\n{said}"))
}

#[test]
fn every_refusal_says_what_is_wrong_and_what_to_do() -> Result<()> {
    let daemon = Daemon::start()?;
    run(&daemon, "topics create flights --partitions 8")?;
    run(&daemon, "topics create under_score")?;
    let refusals: Vec<_> = [
        "topics describe flihgts",
        "topics describe weather",
        "topics create flights",
        "topics create a/b",
        "topics create ..",
        "topics create under.score",
        "topics create a --partitions 1000000",
        "topics create a --config retention.mss=3",
        "topics create a --config retention.ms=soon",
        "topics create a --config millstream.durability=sometimes",
        "topics alter flights",
        "topics alter flights --partitions 4",
        "topics alter flights --config cleanup.policy=shred",
        "topics alter weather --partitions 4",
        "topics delete flights",
        "topics delete flights weather --yes",
        "produce weather",
        "consume weather",
        "consume flights --partition 8",
        "consume flights --partition 0 --from 1",
        "configs describe --topic weather",
        "configs describe --topic flights retention.mss",
        "configs alter --topic flights --set retention.mss=3",
        "configs alter --topic flights",
        "configs alter --broker --set logs.format=json",
        "bench consume --topic weather",
    ]
    .iter()
    .map(|line| refusal(&daemon, line, ""))
    .collect::<Result<_>>()?;
    insta::assert_snapshot!(refusals.join("\n"));
    ensure!(
        run(&daemon, "topics list")?.contains("flights"),
        "nothing was deleted"
    );
    Ok(())
}

#[test]
fn a_record_for_a_partition_that_is_not_there_is_refused() -> Result<()> {
    let daemon = Daemon::start()?;
    run(&daemon, "topics create rows")?;
    let json = "{\"value\":\"x\",\"partition\":7}\n";
    let said = refusal(&daemon, "produce rows --format json", json)?;
    ensure!(
        said.contains("has no partition 7, expected 0 to 0"),
        "{said}"
    );
    Ok(())
}

#[test]
fn json_that_was_consumed_can_be_produced_again() -> Result<()> {
    let daemon = Daemon::start()?;
    run(&daemon, "topics create a --partitions 2")?;
    run(&daemon, "topics create b --partitions 2")?;
    let rows = concat!(
        r#"{"key":"k","value":"v","timestamp":1357034400000,"partition":1,"#,
        r#""headers":[{"key":"h","value":"1"},{"key":"h","value":null}]}"#,
        "\n",
        r#"{"key":null,"value":null,"timestamp":5,"partition":0}"#,
        "\n",
        r#"{"key":"","value":"/wA=","value_encoding":"base64","timestamp":6,"partition":0}"#,
        "\n",
    );
    produce(&daemon, "produce a --format json", rows)?;
    let first = run(&daemon, "consume a --format json")?;
    produce(&daemon, "produce b --format json", &first)?;
    let second = run(&daemon, "consume b --format json")?;
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let expected = sorted(&first.replace(r#""topic":"a""#, r#""topic":"b""#));
    assert_eq!(sorted(&second), expected);
    let texts = sorted(&second);
    let whole = r#"{"topic":"b","partition":1,"offset":0,"timestamp":1357034400000,"key":"k","value":"v","headers":[{"key":"h","value":"1"},{"key":"h","value":null}]}"#;
    ensure!(texts.iter().any(|line| line == whole), "{texts:?}");
    Ok(())
}

#[test]
fn from_partition_limit_and_template_pick_and_shape_records() -> Result<()> {
    let daemon = Daemon::start()?;
    run(&daemon, "topics create t --config retention.ms=-1")?;
    let csv = "k,at\na,2013-01-01\nb,2013-01-02\nc,2013-01-03\n";
    produce(
        &daemon,
        "produce t --format csv --key k --timestamp at",
        csv,
    )?;
    let consumed = |options: &str| run(&daemon, &format!("consume t {options}"));
    assert_eq!(consumed("--from 1 --limit 1")?, "b,2013-01-02\n");
    assert_eq!(consumed("--from 2013-01-03")?, "c,2013-01-03\n");
    assert_eq!(
        consumed("--from 2013-01-01T12:00:00Z --limit 1")?,
        "b,2013-01-02\n"
    );
    assert_eq!(consumed("--from 2014-01-01")?, "");
    assert_eq!(consumed("--from latest")?, "");
    let template = consumed(r"--format {offset}:{key}\t{time} --limit 1")?;
    assert_eq!(template, "0:a\t2013-01-01T00:00:00Z\n");
    Ok(())
}

#[test]
fn a_topic_is_created_described_altered_and_deleted() -> Result<()> {
    let daemon = Daemon::start()?;
    let created = json(
        &daemon,
        "topics create t --partitions 2 --config retention.ms=5000",
    )?;
    assert_eq!(created["partitions"], 2);
    run(&daemon, "topics create t --partitions 2 --if-not-exists")?;
    run(
        &daemon,
        "topics alter t --partitions 3 --config segment.bytes=1048576",
    )?;
    let described = json(&daemon, "topics describe t")?;
    assert_eq!(described["topic_id"], created["topic_id"]);
    assert_eq!(described["partitions"].as_array().map(Vec::len), Some(3));
    assert_eq!(described["partitions"][0]["log"]["log_end_offset"], 0);
    let configs = json(&daemon, "configs describe --topic t --changed")?;
    let keys: Vec<_> = configs
        .as_array()
        .context("a list")?
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(keys, ["retention.ms", "segment.bytes"]);
    run(&daemon, "topics alter t --delete-config retention.ms")?;
    let configs = json(&daemon, "configs describe --topic t --changed")?;
    assert_eq!(configs.as_array().map(Vec::len), Some(1));
    ensure!(
        run(&daemon, "topics delete t --dry-run")?.contains("3 partitions, 0 records"),
        "plan"
    );
    run(&daemon, "topics delete t --yes")?;
    assert_eq!(json(&daemon, "topics list")?, Value::Array(Vec::new()));
    Ok(())
}

/// Puts `ID` for every topic id, which is random.
fn hide_ids(answer: &mut Value) {
    match answer {
        Value::Array(items) => items.iter_mut().for_each(hide_ids),
        _ => {
            if let Some(id) = answer.get_mut("topic_id").filter(|id| id.is_string()) {
                *id = "ID".into();
            }
        }
    }
}

/// Standard output as JSON, with names for what differs from run to run, and standard error.
fn answer(daemon: &Daemon, line: &str) -> Result<String> {
    let output = Cli::new(daemon, line.split(' '))?.run()?;
    ensure!(output.status.success(), "{line}: {output:?}");
    let mut answer: Value =
        serde_json::from_slice(&output.stdout).with_context(|| format!("{line}: {output:?}"))?;
    hide_ids(&mut answer);
    let said = String::from_utf8(output.stderr)?;
    Ok(format!("$ millstream {line}\n{answer:#}\n{said}"))
}

#[test]
fn what_changes_something_answers_in_json_where_that_is_asked_for() -> Result<()> {
    let daemon = Daemon::start()?;
    let answers: Vec<_> = [
        "topics create a --partitions 2 --dry-run --output json",
        "topics create a --partitions 2 --output json",
        "topics create a --partitions 2 --if-not-exists --output json",
        "topics create a --partitions 3 --if-not-exists --output json",
        "topics alter a --partitions 3 --config retention.ms=5000 --dry-run --output json",
        "topics alter a --partitions 3 --config retention.ms=5000 --output json",
        "topics alter a --delete-config retention.ms --output json",
        "configs alter --topic a --set segment.bytes=1048576 --dry-run --output json",
        "configs alter --topic a --set segment.bytes=1048576 --output json",
        "topics delete a --dry-run --output json",
        "topics delete a --yes --output json",
    ]
    .iter()
    .map(|line| answer(&daemon, line))
    .collect::<Result<_>>()?;
    insta::assert_snapshot!(answers.join("\n"));
    Ok(())
}

#[test]
fn a_topic_that_exists_with_other_partitions_is_warned_of_and_left() -> Result<()> {
    let daemon = Daemon::start()?;
    run(&daemon, "topics create a --partitions 2")?;
    let line = "topics create a --partitions 3 --if-not-exists";
    let output = Cli::new(&daemon, line.split(' '))?.run()?;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(output.stdout)?,
        "topic a exists already with 2 partitions\n"
    );
    assert_eq!(
        String::from_utf8(output.stderr)?,
        "warning: topic a has 2 partitions, not 3\n"
    );
    Ok(())
}

#[test]
fn a_refused_number_of_partitions_leaves_the_configuration_alone() -> Result<()> {
    let daemon = Daemon::start()?;
    run(&daemon, "topics create a --partitions 2")?;
    let line = "topics alter a --partitions 1 --config retention.ms=5000";
    refusal(&daemon, line, "")?;
    let changed = json(&daemon, "configs describe --topic a --changed")?;
    assert_eq!(changed, Value::Array(Vec::new()));
    Ok(())
}

#[test]
fn consume_prints_json_where_that_is_asked_for_in_either_way() -> Result<()> {
    let daemon = Daemon::start()?;
    run(&daemon, "topics create a")?;
    produce(&daemon, "produce a", "x\ny\n")?;
    let lines = run(&daemon, "consume a --output json")?;
    assert_eq!(lines, run(&daemon, "consume a --format json")?);
    assert_eq!(lines.lines().count(), 2);
    let first: Value = serde_json::from_str(lines.lines().next().context("a line")?)?;
    assert_eq!(first["value"], "x");
    let template = run(&daemon, "consume a --output json --format {value}")?;
    assert_eq!(template, "x\ny\n", "the format that is named counts");
    Ok(())
}

#[test]
fn the_cluster_shows_its_broker_and_its_directory() -> Result<()> {
    let daemon = Daemon::start()?;
    let cluster = json(&daemon, "cluster describe")?;
    let broker = &cluster["brokers"][0];
    assert_eq!(broker["port"], daemon.native().port());
    assert_eq!(broker["data_directories"][0]["full"], false);
    ensure!(
        broker["data_directories"][0]["total_bytes"].as_u64() > Some(0),
        "{broker}"
    );
    Ok(())
}

#[test]
fn benches_report_their_figures_and_leave_no_topic() -> Result<()> {
    let daemon = Daemon::start()?;
    for bench in ["produce", "consume", "e2e --rate 5000"] {
        let report = json(
            &daemon,
            &format!("bench {bench} --records 5000 --record-bytes 100"),
        )?;
        assert_eq!(report["records"], 5000, "{bench}");
        ensure!(report["mb_per_s"].as_f64() > Some(0.0), "{bench}: {report}");
        if bench != "consume" {
            let p99 = report["latency_ms"]["p99"].as_f64();
            ensure!(p99 > Some(0.0), "{bench}: {report}");
        }
    }
    assert_eq!(json(&daemon, "topics list")?, Value::Array(Vec::new()));
    Ok(())
}
