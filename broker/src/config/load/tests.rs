//! Precedence, and every refusal of a configuration as the operator sees it.

use std::{io::IoSlice, time::Duration};

use millstream_log::io::MemoryIo;

use super::*;
use crate::config::value::ByteSize;

fn load_with(
    file: Option<&str>,
    environment: &[(&str, &str)],
    set: &[&str],
) -> Result<Loaded, Vec<Refusal>> {
    let io = MemoryIo::new();
    let path = Path::new("/m.toml");
    if let Some(text) = file {
        let file = io.open(path, OpenMode::Create).expect("memory");
        file.write_all_at(&[IoSlice::new(text.as_bytes())], 0)
            .expect("memory");
    }
    let args = Args {
        config: file.map(|_| path.to_path_buf()),
        set: set.iter().map(ToString::to_string).collect(),
        ..Args::default()
    };
    let environment = environment
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()));
    load(&args, environment, &io)
}

fn refusal(file: Option<&str>, environment: &[(&str, &str)], set: &[&str]) -> String {
    let problems = load_with(file, environment, set).expect_err("refused");
    problems
        .iter()
        .map(|problem| problem.two_lines().to_string())
        .collect()
}

#[test]
fn later_sources_win_and_are_named() {
    let file = "[limits]\ntopics_max = 1\npartitions_max = 1\nopen_segments_max = 1\n";
    let environment = [
        ("MILLSTREAM__LIMITS__PARTITIONS_MAX", "2"),
        ("MILLSTREAM__LIMITS__OPEN_SEGMENTS_MAX", "2"),
        ("PATH", "/bin"),
    ];
    let loaded =
        load_with(Some(file), &environment, &["limits.open_segments_max=3"]).expect("valid");
    let limits = &loaded.config.limits;
    assert_eq!(
        (
            limits.topics_max,
            limits.partitions_max,
            limits.open_segments_max
        ),
        (1, 2, 3)
    );
    let source = |key: &str| loaded.source(key).to_string();
    assert_eq!(source("limits.topics_max"), "file /m.toml");
    assert_eq!(
        source("limits.partitions_max"),
        "environment MILLSTREAM__LIMITS__PARTITIONS_MAX"
    );
    assert_eq!(
        source("limits.open_segments_max"),
        "flag --set limits.open_segments_max=3"
    );
    assert_eq!(source("limits.connections_max"), "default");
}

#[test]
fn topic_defaults_are_set_by_every_source() {
    let file = "[topics.config]\n\"retention.ms\" = -1\nsegment.bytes = 2097152\n\"cleanup.policy\" = \"compact,delete\"\n";
    let environment = [("MILLSTREAM__TOPICS__CONFIG__MAX_MESSAGE_BYTES", "5000")];
    let set = ["topics.config.millstream.durability=replicated"];
    let loaded = load_with(Some(file), &environment, &set).expect("valid");
    let topic = &loaded.config.topic_config;
    assert_eq!(topic.retention_ms, None);
    assert_eq!(topic.segment_bytes, 2 << 20);
    assert!(topic.cleanup_policy.compact && topic.cleanup_policy.delete);
    assert_eq!(topic.max_message_bytes, 5000);
    assert_eq!(topic.durability, topic::Durability::Replicated);
    assert_eq!(topic.value("retention.ms"), Some("-1"));
}

#[test]
fn typed_units_are_read() {
    let file = "shutdown_timeout = \"1m\"\n[log]\ndisk_reserve = \"0B\"\n";
    let config = load_with(Some(file), &[], &[]).expect("valid").config;
    assert_eq!(config.daemon.shutdown_timeout, Duration::from_mins(1));
    assert_eq!(config.log.disk_reserve, ByteSize(0));
}

#[test]
fn all_problems_are_reported_at_once() {
    let file = "data_dirr = \"x\"\n[limits]\ntopics_max = \"many\"\nrequest_bytes_max = 64\n[lgo]\nflush_interval = \"1s\"\n[topics.config]\n\"retention.mss\" = 1\n\"segment.jitter.ms\" = 5\n";
    let environment = [("MILLSTREAM__LOG__FLUSH_INTERVAL", "1")];
    insta::assert_snapshot!(refusal(
        Some(file),
        &environment,
        &["node.id", "logs.level=loud"]
    ));
}

#[test]
fn a_file_that_is_no_toml_names_the_line() {
    insta::assert_snapshot!(refusal(Some("[limits]\ntopics_max = = 3\n"), &[], &[]));
}

#[test]
fn a_missing_file_is_refused() {
    let args = Args {
        config: Some("/none.toml".into()),
        ..Args::default()
    };
    let problems = load(&args, [], &MemoryIo::new()).expect_err("refused");
    insta::assert_snapshot!(problems[0].two_lines());
}

#[test]
fn values_that_make_no_sense_together_are_refused() {
    let set = [
        "node.id=-1",
        "shutdown_timeout=0s",
        "limits.topics_max=0",
        "limits.request_bytes_max=2GiB",
        "topics.replication_factor=3",
        "topics.partitions=20000",
        "listeners.native_address=0.0.0.0:9292",
        "listeners.http_address=0.0.0.0:9292",
        "topics.config.min.compaction.lag.ms=10",
        "topics.config.max.compaction.lag.ms=5",
    ];
    insta::assert_snapshot!(refusal(None, &[], &set));
}

#[test]
fn further_kafka_listeners_are_set_by_every_source() {
    let file = "[listeners]\nkafka_more = \"0.0.0.0:9093=broker.internal:9093\"\n";
    let environment = [("MILLSTREAM__LISTENERS__KAFKA_MORE", "a:1=b:2,c:3=d:4")];
    let set = ["listeners.kafka_more=127.0.0.1:9096=c:3"];
    let listeners = |environment: &[(&str, &str)], set: &[&str]| {
        let loaded = load_with(Some(file), environment, set).expect("valid");
        let more = loaded.config.listeners.kafka_more;
        more.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(listeners(&[], &[]), ["0.0.0.0:9093=broker.internal:9093"]);
    assert_eq!(listeners(&environment, &[]), ["a:1=b:2", "c:3=d:4"]);
    assert_eq!(listeners(&environment, &set), ["127.0.0.1:9096=c:3"]);
}

#[test]
fn further_kafka_listeners_that_clients_cannot_reach_are_refused() {
    let ports = "give them different ports, by default 9192, 9092 and 9292";
    let told = "write BIND=ADVERTISED with the name and port that clients use";
    for (more, what, hint) in [
        (
            "0.0.0.0:9093",
            "listeners.kafka_more is \"0.0.0.0:9093\", expected listeners like \
             \"0.0.0.0:9093=broker.internal:9093\" with commas between, or \"\", \
             set by flag --set listeners.kafka_more=0.0.0.0:9093",
            "the default is \"\"",
        ),
        (
            "127.0.0.1:9092=a:1",
            "listeners.kafka_address and listeners.kafka_more are both 127.0.0.1:9092",
            ports,
        ),
        (
            "0.0.0.0:9093=a:1,0.0.0.0:9093=b:2",
            "listeners.kafka_more listens on 0.0.0.0:9093 twice",
            ports,
        ),
        (
            "0.0.0.0:0=a:1",
            "listeners.kafka_more has 0.0.0.0:0=a:1, which listens on port 0",
            "write BIND=ADVERTISED with the port that the advertised address leads to",
        ),
        (
            "0.0.0.0:9093=a:0",
            "listeners.kafka_more advertises a:0, which clients cannot connect to",
            told,
        ),
        (
            "0.0.0.0:9093=0.0.0.0:9093",
            "listeners.kafka_more advertises 0.0.0.0:9093, which clients cannot connect to",
            told,
        ),
    ] {
        let set = format!("listeners.kafka_more={more}");
        let refused = refusal(None, &[], &[set.as_str()]);
        assert_eq!(refused, format!("error: {what}\nhint: {hint}\n"));
    }
}
