//! Effects of the keys of a topic that say when and how it is compacted.

use std::time::Duration;

use anyhow::Result;
use millstream_tests::{
    Kafka,
    kafka::{ConfigOperation, error_name},
};
use tokio::time::timeout;

use super::{OF_TOPIC, TOPIC, batch, produce, start};

const COMPACT: (&str, &str) = ("cleanup.policy", "compact");
/// Each record is in a segment of its own, so that all but the last can be compacted, once their lag allows.
const CLOSED_AT_ONCE: (&str, &str) = ("segment.ms", "1");
const WHATEVER_IS_NEW: (&str, &str) = ("min.cleanable.dirty.ratio", "0");
/// No log is as new as that once some of it was compacted.
const ONLY_ALL_NEW: (&str, &str) = ("min.cleanable.dirty.ratio", "1");

async fn set(kafka: &mut Kafka, key: &str, value: &str) -> Result<()> {
    let operation = ConfigOperation::Set;
    let changed = kafka.alter_config(OF_TOPIC, operation, key, value).await?;
    assert_eq!(changed.error_code, 0, "{changed:?}");
    Ok(())
}

pub(super) async fn a_topic_that_is_compacted_refuses_records_without_a_key() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    kafka.create_topic(TOPIC, 1, &[]).await?;
    let (policy, compact) = COMPACT;
    let without_key = batch(&[(0, None, Some(b"v"))])?;
    assert_eq!(produce(&mut kafka, without_key.clone()).await?, None);
    for (operation, item, policy_then, refused_then) in [
        (ConfigOperation::Append, compact, "delete,compact", true),
        (ConfigOperation::Append, compact, "delete,compact", true),
        (ConfigOperation::Subtract, "delete", "compact", true),
        (ConfigOperation::Subtract, "delete", "compact", true),
        (ConfigOperation::Delete, "", "delete", false),
    ] {
        let changed = kafka
            .alter_config(OF_TOPIC, operation, policy, item)
            .await?;
        assert_eq!(changed.error_code, 0, "{changed:?}");
        assert_eq!(kafka.config(OF_TOPIC, policy).await?, policy_then);
        let refused = produce(&mut kafka, without_key.clone()).await?;
        let expected = refused_then.then_some("InvalidRecord");
        assert_eq!(refused.as_deref(), expected, "{policy_then}");
    }
    Ok(())
}

/// KIP-467: its neighbours are not to blame.
#[tokio::test]
async fn the_record_without_a_key_is_named() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    kafka.create_topic(TOPIC, 1, &[COMPACT]).await?;
    let (key, value): (_, Option<&[u8]>) = (Some("k"), Some(b"v"));
    let batch = batch(&[(0, key, value), (0, key, None), (0, None, value)])?;
    let answer = kafka.produce(TOPIC, 0, batch).await?;
    assert_eq!(error_name(answer.error_code), "InvalidRecord");
    let named: Vec<_> = answer
        .record_errors
        .iter()
        .map(|it| it.batch_index)
        .collect();
    assert_eq!(named, [2]);
    let reason = &answer.record_errors[0].batch_index_error_message;
    assert!(
        reason
            .as_deref()
            .is_some_and(|it| it.contains("has no key")),
        "{reason:?}"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_no_list_does_not_grow_and_a_list_keeps_an_item() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    kafka.create_topic(TOPIC, 1, &[]).await?;
    for (operation, key, value) in [
        (ConfigOperation::Append, "retention.ms", "1"),
        (ConfigOperation::Subtract, "compression.type", "gzip"),
        (ConfigOperation::Append, COMPACT.0, "shrink"),
        (ConfigOperation::Subtract, COMPACT.0, "delete"),
    ] {
        let before = kafka.config(OF_TOPIC, key).await?;
        let refused = kafka.alter_config(OF_TOPIC, operation, key, value).await?;
        let error = error_name(refused.error_code);
        assert_eq!(error, "InvalidConfig", "{operation:?} {key} {value}");
        assert_eq!(kafka.config(OF_TOPIC, key).await?, before);
    }
    Ok(())
}

pub(super) async fn tombstones_go_when_their_time_is_over() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    let configs = [COMPACT, CLOSED_AT_ONCE, WHATEVER_IS_NEW];
    let at_once = [configs.as_slice(), &[("delete.retention.ms", "0")]].concat();
    kafka.create_topic("later", 1, &configs).await?;
    kafka.create_topic("at-once", 1, &at_once).await?;
    for topic in ["later", "at-once"] {
        kafka.put(topic, &["a=1", "a", "b=1", "b=2"]).await?;
    }
    // The pass that finds the tombstone gives it its time, another one removes it.
    kafka.wait_for_pairs("later", &["a", "b=2"]).await?;
    // What comes in time for the first pass does not bring about another.
    let passed = async {
        while kafka
            .pairs("at-once")
            .await?
            .iter()
            .any(|pair| pair == "b=1")
        {}
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(60), passed).await??;
    for topic in ["later", "at-once"] {
        kafka.put(topic, &["b=3", "b=4"]).await?;
    }
    kafka.wait_for_pairs("at-once", &["b=4"]).await?;
    kafka.wait_for_pairs("later", &["a", "b=4"]).await
}

pub(super) async fn what_is_old_is_compacted_however_little_it_is() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    let configs = [COMPACT, CLOSED_AT_ONCE, ONLY_ALL_NEW];
    kafka.create_topic(TOPIC, 1, &configs).await?;
    kafka.put(TOPIC, &["a=1", "b=1", "c=1"]).await?;
    set(&mut kafka, "max.compaction.lag.ms", "50").await?;
    kafka.put(TOPIC, &["a=2", "b=2"]).await?;
    kafka.wait_for_pairs(TOPIC, &["c=1", "a=2", "b=2"]).await?;
    // Some of it was compacted, so not all of it is new, and it is compacted all the same.
    kafka.put(TOPIC, &["b=3"]).await?;
    kafka.wait_for_pairs(TOPIC, &["c=1", "a=2", "b=3"]).await
}

pub(super) async fn a_log_is_compacted_once_enough_of_it_is_new() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    let configs = [COMPACT, CLOSED_AT_ONCE, WHATEVER_IS_NEW];
    kafka.create_topic(TOPIC, 1, &configs).await?;
    kafka.create_topic("beside", 1, &configs).await?;
    kafka.put(TOPIC, &["a=1", "a=2", "b=1"]).await?;
    kafka.wait_for_pairs(TOPIC, &["a=2", "b=1"]).await?;
    set(&mut kafka, ONLY_ALL_NEW.0, ONLY_ALL_NEW.1).await?;
    // While another topic is compacted this one is not.
    for topic in [TOPIC, "beside"] {
        kafka.put(topic, &["a=3", "a=4", "b=2"]).await?;
    }
    kafka.wait_for_pairs("beside", &["a=4", "b=2"]).await?;
    let all = ["a=2", "b=1", "a=3", "a=4", "b=2"];
    assert_eq!(kafka.pairs(TOPIC).await?, all);
    set(&mut kafka, WHATEVER_IS_NEW.0, WHATEVER_IS_NEW.1).await?;
    kafka.wait_for_pairs(TOPIC, &["a=4", "b=2"]).await
}

pub(super) async fn what_is_new_is_not_compacted() -> Result<()> {
    let (_daemon, mut kafka) = start(&[]).await?;
    let configs = [COMPACT, CLOSED_AT_ONCE, WHATEVER_IS_NEW];
    let lag = "min.compaction.lag.ms";
    let slowly = [configs.as_slice(), &[(lag, "3600000")]].concat();
    kafka.create_topic(TOPIC, 1, &slowly).await?;
    kafka.create_topic("beside", 1, &configs).await?;
    for topic in [TOPIC, "beside"] {
        kafka.put(topic, &["a=1", "a=2", "b=1"]).await?;
    }
    kafka.wait_for_pairs("beside", &["a=2", "b=1"]).await?;
    assert_eq!(kafka.pairs(TOPIC).await?, ["a=1", "a=2", "b=1"]);
    set(&mut kafka, lag, "0").await?;
    kafka.wait_for_pairs(TOPIC, &["a=2", "b=1"]).await
}
