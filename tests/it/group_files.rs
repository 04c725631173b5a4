//! Apache Kafka's DumpLogSegments `--offsets-decoder` reads the offsets topic of a daemon of ours.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use millstream::{Client, CommitOffset, OffsetReset, Subscription};
use millstream_log::{inspect::LogScan, io::DiskIo};
use millstream_proto::group_record::{Decoded, GroupRecord};
use millstream_tests::{Daemon, ownership};
use serde_json::{Value, json};

use crate::kafka_tools::dump_log_segments;

const TOPIC: &str = "t";
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// Says of a record with a key type of ours.
const SKIPPED: &str = "Unknown record type 16384 at offset ";

/// Members that join, commit and leave, and offsets that nobody's members commit.
async fn work(daemon: &Daemon) -> Result<()> {
    let client = Client::connect(&daemon.native().to_string()).await?;
    let admin = client.admin();
    admin
        .create_topic(millstream::NewTopic::new(TOPIC).partitions(2))
        .await?;
    let producer = client.producer().build()?;
    for partition in 0..2 {
        let record = millstream::Record::to(TOPIC)
            .partition(partition)
            .value("v");
        producer.send(record).await?.await?;
    }
    let mut members = Vec::new();
    for subscription in [Subscription::topics([TOPIC]), Subscription::regex("t|u")] {
        let consumer = client.consumer().group("members");
        let consumer = consumer
            .offset_reset(OffsetReset::Earliest)
            .auto_commit(None);
        let mut consumer = consumer.build()?;
        consumer.subscribe(subscription).await?;
        members.push(consumer);
    }
    for member in &mut members {
        let record = member.recv().await?.context("each member gets a record")?;
        let next = CommitOffset::new(TOPIC, record.partition, record.offset + 1);
        member.commit_offsets([next.metadata("é")]).await?;
    }
    for member in members {
        member.close(CLOSE_WITHIN).await?;
    }
    let offsets = [CommitOffset::new(TOPIC, 1, 1)];
    for result in admin.commit_group_offsets("offsets only", &offsets).await? {
        result?;
    }
    for result in admin
        .delete_group_offsets("offsets only", &[(TOPIC, 1)])
        .await?
    {
        result?;
    }
    producer.close(CLOSE_WITHIN).await?;
    Ok(())
}

/// The number of Kafka's key type, as the tool shows it; `None` for a record of ours.
fn key_type(record: &GroupRecord) -> Option<&'static str> {
    Some(match record {
        GroupRecord::OffsetCommit(..) => "1",
        GroupRecord::ClassicGroup(..) => "2",
        GroupRecord::ConsumerGroup(..) => "3",
        GroupRecord::PartitionMetadata(..) => "4",
        GroupRecord::Member(..) => "5",
        GroupRecord::TargetAssignment(..) => "6",
        GroupRecord::TargetMember(..) => "7",
        GroupRecord::CurrentMember(..) => "8",
        GroupRecord::RegularExpression(..) => "16",
        GroupRecord::Rebalance(..) => return None,
    })
}

/// A record as the tool shows it, as far as is compared: key type, and an offset where it commits one.
type Shown = (Option<String>, Option<Value>);

fn ours(path: &Path) -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    for batch in LogScan::open(&DiskIo, path)? {
        for record in batch?.records(1 << 20)? {
            let record = record?;
            let decoded = GroupRecord::decode(record.key.as_deref(), record.value.as_deref())?;
            let Decoded::Known(known) = decoded else {
                anyhow::bail!("we skip what we wrote: {decoded:?}");
            };
            let committed = match &known {
                GroupRecord::OffsetCommit(_, Some(value)) => Some(json!({
                    "offset": value.offset, "leaderEpoch": value.leader_epoch,
                    "metadata": value.metadata, "commitTimestamp": value.commit_timestamp_ms,
                    "topicId": value.topic_id.context("the topic's id")?.to_string(),
                })),
                _ => None,
            };
            shown.push((key_type(&known).map(str::to_owned), committed));
        }
    }
    Ok(shown)
}

fn kafkas(path: &Path) -> Result<Vec<Shown>> {
    let directory = path.parent().context("a log file is in a directory")?;
    let name = path.file_name().context("a log file has a name")?;
    let (text, complaints) = dump_log_segments(directory, &[name.into()], &["--offsets-decoder"])?;
    assert_eq!(complaints, "", "{}", path.display());
    let lines = text
        .lines()
        .filter_map(|line| line.split_once(" headerKeys: [] "));
    lines.map(|(_, line)| shown_by_kafka(line)).collect()
}

fn shown_by_kafka(line: &str) -> Result<Shown> {
    if line.contains(SKIPPED) {
        return Ok((None, None));
    }
    let (key, payload) = line
        .strip_prefix("key: ")
        .and_then(|rest| rest.split_once(" payload: "))
        .with_context(|| line.to_owned())?;
    let key: Value = serde_json::from_str(key)?;
    let key_type = key["type"].as_str().context("a type")?.to_owned();
    let committed = match payload {
        "<DELETE>" => None,
        _ if key_type != "1" => None,
        payload => Some(serde_json::from_str::<Value>(payload)?["data"].clone()),
    };
    Ok((Some(key_type), committed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dump_log_segments_reads_the_offsets_topic_of_a_daemon() -> Result<()> {
    let mut daemon = Daemon::start()?;
    work(&daemon).await?;
    daemon.terminate()?;
    let mut kinds: BTreeMap<Option<String>, usize> = BTreeMap::new();
    let mut commits = 0;
    for path in ownership::log_files(daemon.data_dir())? {
        let ours = ours(&path)?;
        if ours.is_empty() {
            continue;
        }
        assert_eq!(kafkas(&path)?, ours, "{}", path.display());
        for (kind, committed) in ours {
            *kinds.entry(kind).or_default() += 1;
            commits += usize::from(committed.is_some());
        }
    }
    println!("records by key type: {kinds:?}");
    assert!(commits >= 3, "{kinds:?}");
    for kind in ["1", "3", "5", "6", "7", "8", "16"] {
        assert!(
            kinds.contains_key(&Some(kind.to_owned())),
            "{kind}: {kinds:?}"
        );
    }
    Ok(())
}
