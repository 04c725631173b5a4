//! What a daemon reports is what `docs/metrics.md` says, both ways; and what Kafka clients are refused is counted.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use kafka_protocol::{
    messages::{
        GroupId, HeartbeatRequest, ProduceRequest,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::StrBytes,
};
use millstream_tests::{Cli, Daemon, Kafka, binary, http, kafka::topic_name, native, retry};

/// Reported only in trouble, or not before somebody lags.
const CONDITIONAL: &[&str] = &[
    "millstream_compaction_failing",
    "millstream_group_lag_seconds",
    "millstream_kafka_errors",
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

/// Produces a record to each of these partitions, of which only the first may be there.
fn produce_to(partitions: &[i32], acks: i16) -> ProduceRequest {
    let partitions = partitions.iter().map(|index| {
        PartitionProduceData::default()
            .with_index(*index)
            .with_records(Some(batch()))
    });
    let topic = TopicProduceData::default()
        .with_name(topic_name("flights"))
        .with_partition_data(partitions.collect());
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

fn batch() -> Bytes {
    native::batch(Default::default(), 1, ["LAX"])
}

/// The version of a request that is the same in all that are served.
const PRODUCE_VERSION: i16 = 9;
const HEARTBEAT_VERSION: i16 = 4;
const ACKS_ALL: i16 = -1;
const ACKS_NONE: i16 = 0;

#[tokio::test]
async fn errors_that_kafka_clients_are_answered_are_counted_by_api_and_code() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut kafka = Kafka::connect(daemon.kafka()).await?;
    for _ in 0..3 {
        kafka.create_topic("flights", 1, &[]).await?;
    }
    let request = produce_to(&[0, 7, 8], ACKS_ALL);
    kafka.call(PRODUCE_VERSION, &request).await?;
    kafka.fetch("flights", 0, 99, 1 << 20).await?;
    kafka.fetch("flights", 0, 0, 1 << 20).await?;
    let nobody = GroupId(StrBytes::from_static_str("nobody"));
    let heartbeat = HeartbeatRequest::default().with_group_id(nobody);
    kafka.call(HEARTBEAT_VERSION, &heartbeat).await?;
    // It is told by the end of its connection only.
    let request = produce_to(&[0, 9], ACKS_NONE);
    kafka.send(PRODUCE_VERSION, &request).await?;

    let expected = [
        ("CreateTopics", "TOPIC_ALREADY_EXISTS", 2),
        ("Fetch", "OFFSET_OUT_OF_RANGE", 1),
        ("Heartbeat", "UNKNOWN_MEMBER_ID", 1),
        ("Produce", "UNKNOWN_TOPIC_OR_PARTITION", 3),
    ];
    let mut expected = expected.map(|(api, error, count)| {
        format!("millstream_kafka_errors_total{{api=\"{api}\",error=\"{error}\"}} {count}")
    });
    expected.sort_unstable();
    let found = || {
        let page = daemon.metrics().ok()?;
        let lines = page
            .lines()
            .filter(|line| line.starts_with("millstream_kafka_errors_total{"));
        let mut lines: Vec<String> = lines.map(ToOwned::to_owned).collect();
        lines.sort_unstable();
        (lines == expected).then_some(page)
    };
    let page = retry::until("errors are counted", Duration::from_secs(5), found)?;
    assert_eq!(
        http::metric(&page, "millstream_kafka_connections_closed_total"),
        Some(1.0)
    );
    Ok(())
}
