//! Effects of the keys of a topic that have nothing to do with compaction.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use millstream_proto::record::{Batch, BatchBuilder, BatchOptions, Compression, TimestampType};
use millstream_tests::{
    Daemon, Kafka, KafkaDump, http,
    kafka::{ConfigOperation, PRODUCE_VERSION, produce_request},
    retry,
};

use super::{OF_TOPIC, TOPIC, batch, now_ms, produce, produce_bytes, start};

const WITHIN: Duration = Duration::from_secs(20);
const HOUR_MS: i64 = 3_600_000;
/// The smallest segments that a topic can have, and records of which two do not fit one.
const SMALL_SEGMENTS: (&str, &str) = ("segment.bytes", "1048576");
const LARGE: usize = 600_000;
/// Without these nothing is flushed by time.
const NO_FLUSHES: &[(&str, &str)] = &[
    ("log.flush_interval", "1h"),
    ("log.recovery_point_interval", "1h"),
];
const IN_MEMORY: (&str, &str) = ("millstream.durability", "replicated");
const ACKS_LEADER: i16 = 1;
const OUTPUT_BYTES_MAX: usize = 1 << 20;

fn logs(daemon: &Daemon) -> Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for file in std::fs::read_dir(daemon.partition_dir(TOPIC, 0))? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            logs.push(path);
        }
    }
    Ok(logs)
}

fn flushes(daemon: &Daemon) -> Option<f64> {
    http::metric(&daemon.metrics().ok()?, "millstream_log_flushes_total")
}

/// Waits until the log starts later.
async fn wait_for_start(kafka: &mut Kafka, expected: i64) -> Result<()> {
    let mut found = kafka.log_start(TOPIC).await?;
    let start = std::time::Instant::now();
    while found != expected && start.elapsed() < WITHIN {
        found = kafka.log_start(TOPIC).await?;
    }
    assert_eq!(found, expected);
    Ok(())
}

pub(super) async fn batches_are_stored_with_the_codec_of_their_topic() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    let of_codec = |compression| -> Result<Bytes> {
        let options = BatchOptions {
            compression,
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options);
        for value in ["one", "two"] {
            builder.append(now_ms()?, Some(b"key"), Some(value.as_bytes()), &[])?;
        }
        Ok(builder.finish()?)
    };
    for (name, wanted, sent) in [
        ("uncompressed", Compression::None, Compression::Zstd),
        ("gzip", Compression::Gzip, Compression::None),
        ("snappy", Compression::Snappy, Compression::Gzip),
        ("lz4", Compression::Lz4, Compression::None),
        ("zstd", Compression::Zstd, Compression::Lz4),
        ("producer", Compression::Snappy, Compression::Snappy),
    ] {
        kafka
            .create_topic(name, 1, &[("compression.type", name)])
            .await?;
        let produced = kafka.produce(name, 0, of_codec(sent)?).await?;
        assert_eq!(produced.error_code, 0, "{name}: {produced:?}");
        let batches = kafka.batches(name).await?;
        let found: Vec<_> = batches.iter().map(|b| b.header().compression()).collect();
        assert_eq!(found, [wanted], "{name}");
        assert_eq!(kafka.pairs(name).await?, ["key=one", "key=two"], "{name}");
    }
    Ok(())
}

pub(super) async fn a_log_is_flushed_after_so_many_records() -> Result<()> {
    let (daemon, mut kafka) = start(NO_FLUSHES).await?;
    let three = ("flush.messages", "3");
    kafka.create_topic(TOPIC, 1, &[IN_MEMORY, three]).await?;
    for _ in 0..2 {
        produce_bytes(&mut kafka, now_ms()?, 1).await?;
    }
    assert_eq!(flushes(&daemon), Some(0.0));
    produce_bytes(&mut kafka, now_ms()?, 1).await?;
    retry::until("the third record is flushed", WITHIN, || {
        (flushes(&daemon) == Some(1.0)).then_some(())
    })
}

pub(super) async fn a_log_is_flushed_after_so_long() -> Result<()> {
    let (daemon, mut kafka) = start(NO_FLUSHES).await?;
    kafka.create_topic(TOPIC, 1, &[IN_MEMORY]).await?;
    produce_bytes(&mut kafka, now_ms()?, 1).await?;
    assert_eq!(flushes(&daemon), Some(0.0));
    let soon = [IN_MEMORY, ("flush.ms", "20")];
    kafka.create_topic("soon", 1, &soon).await?;
    for _ in 0..3 {
        let before = flushes(&daemon);
        let one = batch(&[(now_ms()?, None, Some(b"."))])?;
        assert_eq!(kafka.produce("soon", 0, one).await?.error_code, 0);
        retry::until("the record is flushed", WITHIN, || {
            (flushes(&daemon) > before).then_some(())
        })?;
    }
    Ok(())
}

pub(super) async fn an_acknowledgement_waits_for_a_flush_or_not() -> Result<()> {
    let (daemon, mut kafka) = start(NO_FLUSHES).await?;
    kafka.create_topic(TOPIC, 1, &[IN_MEMORY]).await?;
    produce_bytes(&mut kafka, now_ms()?, 1).await?;
    assert_eq!(flushes(&daemon), Some(0.0));
    let changed = kafka
        .alter_config(OF_TOPIC, ConfigOperation::Set, IN_MEMORY.0, "fsync")
        .await?;
    assert_eq!(changed.error_code, 0, "{changed:?}");
    produce_bytes(&mut kafka, now_ms()?, 1).await?;
    assert!(flushes(&daemon) >= Some(1.0));
    Ok(())
}

pub(super) async fn an_index_has_an_entry_every_so_many_bytes() -> Result<()> {
    const BATCHES: usize = 20;
    let mut entries = Vec::new();
    for interval in ["0", "4096", "1000000"] {
        let (mut daemon, mut kafka) = start(&[]).await?;
        let interval = ("index.interval.bytes", interval);
        kafka.create_topic(TOPIC, 1, &[interval]).await?;
        for _ in 0..BATCHES {
            produce_bytes(&mut kafka, now_ms()?, 1_000).await?;
        }
        daemon.terminate()?;
        let dump = KafkaDump {
            dir: &daemon.partition_dir(TOPIC, 0),
            with_data: false,
        };
        let names = dump.names(false)?;
        let text = dump.text(&names)?;
        let of_offsets = text.lines().filter(|line| line.starts_with("offset:"));
        entries.push(of_offsets.count());
    }
    // Kafka adds one when more than the interval was appended since the last.
    assert_eq!(entries, [BATCHES - 1, 4, 0]);
    Ok(())
}

pub(super) async fn larger_batches_are_refused() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    let value = [b'.'; 100];
    let largest = batch(&[(0, None, Some(&value))])?;
    let max = largest.len().to_string();
    kafka
        .create_topic(TOPIC, 1, &[("max.message.bytes", &max)])
        .await?;
    assert_eq!(produce(&mut kafka, largest).await?, None);
    let larger = batch(&[(0, None, Some(&[b'.'; 101]))])?;
    let refused = produce(&mut kafka, larger).await?;
    assert_eq!(refused.as_deref(), Some("MessageTooLarge"));
    Ok(())
}

/// Produces records of these times, relative to now, to a topic with this key.
async fn produce_at(config: (&str, &str), offsets_ms: &[i64]) -> Result<Option<String>> {
    let (_daemon, mut kafka) = start(&[]).await?;
    kafka.create_topic(TOPIC, 1, &[config]).await?;
    let now_ms = now_ms()?;
    let records = offsets_ms
        .iter()
        .map(|offset_ms| (now_ms + offset_ms, None, None));
    produce(&mut kafka, batch(&records.collect::<Vec<_>>())?).await
}

pub(super) async fn timestamps_too_far_ahead_are_refused() -> Result<()> {
    let two_hours = ("message.timestamp.after.max.ms", "7200000");
    assert_eq!(produce_at(two_hours, &[0, HOUR_MS]).await?, None);
    let refused = produce_at(two_hours, &[0, 3 * HOUR_MS]).await?;
    assert_eq!(refused.as_deref(), Some("InvalidTimestamp"));
    Ok(())
}

pub(super) async fn timestamps_too_far_behind_are_refused() -> Result<()> {
    let two_hours = ("message.timestamp.before.max.ms", "7200000");
    assert_eq!(produce_at(two_hours, &[0, -HOUR_MS, 0]).await?, None);
    let refused = produce_at(two_hours, &[0, -3 * HOUR_MS, 0]).await?;
    assert_eq!(refused.as_deref(), Some("InvalidTimestamp"));
    Ok(())
}

pub(super) async fn records_have_the_time_of_their_append() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    let appended = ("message.timestamp.type", "LogAppendTime");
    kafka.create_topic(TOPIC, 1, &[appended]).await?;
    let before_ms = now_ms()?;
    let records = batch(&[(1, None, None), (2, None, None)])?;
    let produced = kafka.produce(TOPIC, 0, records).await?;
    let appended_ms = produced.log_append_time_ms;
    assert!(
        (before_ms..=now_ms()?).contains(&appended_ms),
        "{produced:?}"
    );
    let batches = kafka.batches(TOPIC).await?;
    let types = batches.iter().map(|batch| batch.header().timestamp_type());
    assert_eq!(types.collect::<Vec<_>>(), [TimestampType::LogAppendTime]);
    assert_eq!(times(&batches)?, [appended_ms, appended_ms]);
    Ok(())
}

fn times(batches: &[Batch]) -> Result<Vec<i64>> {
    let mut times = Vec::new();
    for batch in batches {
        for record in batch.records(OUTPUT_BYTES_MAX)? {
            times.push(record?.timestamp);
        }
    }
    Ok(times)
}

pub(super) async fn acknowledgements_of_all_are_refused_with_too_few_replicas() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    kafka
        .create_topic(TOPIC, 1, &[("min.insync.replicas", "2")])
        .await?;
    let one = batch(&[(0, None, None)])?;
    let refused = produce(&mut kafka, one.clone()).await?;
    assert_eq!(refused.as_deref(), Some("NotEnoughReplicas"));
    let request = produce_request(TOPIC, 0, one).with_acks(ACKS_LEADER);
    let response = kafka.call(PRODUCE_VERSION, &request).await?;
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 0, "{partition:?}");
    Ok(())
}

pub(super) async fn a_segment_has_its_disk_space_from_the_beginning() -> Result<()> {
    /// What `st_blocks` counts in.
    const BLOCK_BYTES: u64 = 512;
    let (daemon, mut kafka) = start(&[]).await?;
    let mut reserved = Vec::new();
    for preallocate in ["false", "true"] {
        let configs = [("preallocate", preallocate), ("segment.bytes", "4194304")];
        kafka.create_topic(preallocate, 1, &configs).await?;
        let one = batch(&[(0, None, None)])?;
        assert_eq!(kafka.produce(preallocate, 0, one).await?.error_code, 0);
        let name = format!("{:020}.log", 0);
        let log = daemon.partition_dir(preallocate, 0).join(name);
        reserved.push(std::fs::metadata(log)?.blocks() * BLOCK_BYTES);
    }
    assert!(
        reserved[0] < 4 << 20 && reserved[1] >= 4 << 20,
        "{reserved:?}"
    );
    Ok(())
}

pub(super) async fn old_segments_go_when_there_are_too_many_bytes() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    let bytes = ("retention.bytes", "1500000");
    kafka
        .create_topic(TOPIC, 1, &[SMALL_SEGMENTS, bytes])
        .await?;
    for _ in 0..5 {
        produce_bytes(&mut kafka, now_ms()?, LARGE).await?;
    }
    // With one segment less there were too few bytes.
    wait_for_start(&mut kafka, 2).await
}

pub(super) async fn segments_go_when_they_are_too_old() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    let day = ("retention.ms", "86400000");
    kafka.create_topic(TOPIC, 1, &[SMALL_SEGMENTS, day]).await?;
    let two_days_ago_ms = now_ms()? - 48 * HOUR_MS;
    produce_bytes(&mut kafka, two_days_ago_ms, LARGE).await?;
    produce_bytes(&mut kafka, now_ms()?, LARGE).await?;
    wait_for_start(&mut kafka, 1).await
}

pub(super) async fn a_segment_is_no_larger() -> Result<()> {
    let (daemon, mut kafka) = start(&[]).await?;
    kafka.create_topic(TOPIC, 1, &[SMALL_SEGMENTS]).await?;
    for _ in 0..3 {
        produce_bytes(&mut kafka, now_ms()?, LARGE).await?;
    }
    let logs = logs(&daemon)?;
    let lengths = logs.iter().map(|log| Ok(std::fs::metadata(log)?.len()));
    let lengths = lengths.collect::<Result<Vec<_>>>()?;
    assert!(
        lengths.len() == 3 && lengths.iter().all(|length| *length <= 1 << 20),
        "{lengths:?}"
    );
    Ok(())
}

pub(super) async fn a_segment_is_closed_when_it_is_too_old() -> Result<()> {
    let (daemon, mut kafka) = start(&[]).await?;
    kafka
        .create_topic(TOPIC, 1, &[("segment.ms", "50")])
        .await?;
    produce_bytes(&mut kafka, now_ms()?, 1).await?;
    retry::until("the segment is closed", WITHIN, || {
        (logs(&daemon).ok()?.len() == 2).then_some(())
    })
    .context("segment.ms")?;
    produce_bytes(&mut kafka, now_ms()?, 1).await?;
    assert_eq!(kafka.batches(TOPIC).await?.len(), 2);
    Ok(())
}
