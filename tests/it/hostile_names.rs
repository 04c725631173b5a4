//! F29: names and ids that want to be paths, log lines or memory.

mod answers;
mod every_api;
mod group_requests;
mod topic_requests;

use std::{collections::BTreeSet, fs};

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::{
    messages::{
        FindCoordinatorRequest, GroupId, JoinGroupRequest, MetadataRequest,
        join_group_request::JoinGroupRequestProtocol, metadata_request::MetadataRequestTopic,
    },
    protocol::StrBytes,
};
use millstream_tests::{Daemon, DaemonOptions, Kafka, Native, kafka, native};

fn names() -> Vec<String> {
    let long = "a".repeat(250);
    let huge = "b".repeat(64 << 10);
    let fixed = [
        "",
        ".",
        "..",
        "/",
        "../escape",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "a\0b",
        "\0",
        "a\rb",
        "a\nINJECTED line",
        "a\r\nINJECTED: 1",
        "a b",
        "a\tb",
        "töpic",
        "名前",
        "a:b",
        "a*b",
        "\u{202e}evil",
        "\u{1b}[2Jevil",
        "%2e%2e",
        "a;b",
        "'; --",
        "a\u{7f}",
    ];
    fixed
        .into_iter()
        .map(str::to_owned)
        .chain([long, huge])
        .collect()
}

/// Every file and directory below the data directory's parent.
fn tree(daemon: &Daemon) -> Result<BTreeSet<String>> {
    let root = daemon
        .data_dir()
        .parent()
        .expect("a data directory has a parent");
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
            found.insert(entry.path().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn hostile_topic_names_are_refused_and_leave_no_trace() -> Result<()> {
    let daemon = Daemon::start()?;
    let client = Native::connect(daemon.native()).await?;
    let before = tree(&daemon)?;
    for name in names() {
        let shown: String = name.escape_debug().take(40).collect();
        let error = client.try_create_topic(&name, 1, &[]).await?.error;
        let error = error.unwrap_or_else(|| panic!("{shown} was created"));
        assert_eq!(
            error.name, "INVALID_TOPIC_EXCEPTION",
            "{shown}: {}",
            error.message
        );
        assert!(
            !error.retriable && error.message.len() < 1_000,
            "{shown}: {}",
            error.message
        );
        assert!(
            !error.message.contains(['\n', '\r', '\0']),
            "{shown}: {:?}",
            error.message
        );
        for refused in [
            client.delete_topic(&name).await.unwrap_err().to_string(),
            client.describe_topic(&name).await.unwrap_err().to_string(),
        ] {
            let expected = ["INVALID_TOPIC_EXCEPTION", "UNKNOWN_TOPIC_OR_PARTITION"];
            assert!(
                expected.iter().any(|code| refused.starts_with(code)),
                "{shown}: {refused}"
            );
        }
    }
    assert_no_trace(&daemon, &before)?;
    client.create_topic("good", 1, &[]).await?;
    Ok(())
}

/// What a hostile name must not leave behind.
fn assert_no_trace(daemon: &Daemon, before: &BTreeSet<String>) -> Result<()> {
    assert_eq!(&tree(daemon)?, before);
    let log = daemon.log();
    assert!(
        log.lines().all(|line| !line.starts_with("INJECTED")),
        "{log}"
    );
    assert!(
        !log.contains(['\0', '\u{1b}']),
        "control characters in the log"
    );
    Ok(())
}

#[tokio::test]
async fn hostile_topic_names_of_kafka_clients_are_refused_and_leave_no_trace() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let before = tree(&daemon)?;
    for name in names() {
        let shown: String = name.escape_debug().take(40).collect();
        let created = client.create_topic(&name, 1, &[]).await?;
        let error = kafka::error_name(created.error_code);
        assert_eq!(error, "InvalidTopicException", "{shown}");
        let message = created.error_message.expect("a refusal says why");
        assert!(
            message.len() < 1_000 && !message.contains(['\n', '\r', '\0']),
            "{shown}: {message:?}"
        );
        let asked = MetadataRequestTopic::default().with_name(Some(kafka::topic_name(&name)));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked]))
            .with_allow_auto_topic_creation(true);
        let found = client.call(12, &request).await?.topics;
        let error = kafka::error_name(found[0].error_code);
        assert_eq!(error, "InvalidTopicException", "{shown}");
        let good = native::batch(Default::default(), 1, ["x"]);
        let produced = client.produce(&name, 0, good).await?;
        let fetched = client.fetch(&name, 0, 0, 1).await?;
        for code in [produced.error_code, fetched.error_code] {
            let error = kafka::error_name(code);
            let expected = ["InvalidTopicException", "UnknownTopicOrPartition"];
            assert!(expected.contains(&error.as_str()), "{shown}: {error}");
        }
    }
    assert_no_trace(&daemon, &before)
}

/// Kafka takes any text for the name of a group or a client; here it is text wherever it shows.
#[tokio::test]
async fn hostile_groups_and_clients_of_kafka_are_text_wherever_they_show() -> Result<()> {
    let daemon = DaemonOptions::default()
        .set("groups.initial_rebalance_delay", "0s")
        .start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    // The offsets topic is there before the files are looked at.
    client.call(1, &find_group("first")).await?;
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let joined = |group: &str| {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text(group))
            .with_metadata(Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0"));
        JoinGroupRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
            .with_group_instance_id(Some(text(group)))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    };
    client.call(7, &joined("first")).await?;
    let before = tree(&daemon)?;
    for name in names() {
        client.set_client_id(&name[..name.len().min(1_000)]);
        client
            .call(1, &find_group(&name[..name.len().min(1_000)]))
            .await?;
        // An answer is all that is asked for: some are taken, some refused.
        client.call(7, &joined(&name)).await?;
    }
    let metrics = daemon.metrics()?;
    assert!(!metrics.contains("INJECTED line\n") && !metrics.contains('\u{1b}'));
    assert_no_trace(&daemon, &before)
}

fn find_group(group: &str) -> FindCoordinatorRequest {
    FindCoordinatorRequest::default().with_key(StrBytes::from_string(group.to_owned()))
}

#[tokio::test]
async fn names_that_collide_in_metrics_are_refused() -> Result<()> {
    let daemon = Daemon::start()?;
    let client = Native::connect(daemon.native()).await?;
    client.create_topic("a.b", 1, &[]).await?;
    let refused = client
        .try_create_topic("a_b", 1, &[])
        .await?
        .error
        .expect("it collides");
    assert_eq!(
        refused.name, "INVALID_TOPIC_EXCEPTION",
        "{}",
        refused.message
    );
    let again = client
        .try_create_topic("a.b", 1, &[])
        .await?
        .error
        .expect("it exists");
    assert_eq!(again.name, "TOPIC_ALREADY_EXISTS");
    Ok(())
}

#[tokio::test]
async fn hostile_ids_partitions_and_batches_are_refused_on_a_stream_that_lives() -> Result<()> {
    let daemon = Daemon::start()?;
    let client = Native::connect(daemon.native()).await?;
    let topic_id = client.create_topic("target", 1, &[]).await?;
    let good = native::batch(Default::default(), 1, ["x"]);
    let mut stream = client.produce().await?;
    let ids: [Vec<u8>; 5] = [
        vec![],
        vec![0; 16],
        vec![0xff; 16],
        vec![1; 15],
        vec![1; 64 << 10],
    ];
    for id in ids {
        let length = id.len();
        let refused = stream
            .produce(&Bytes::from(id), 0, good.clone())
            .await
            .unwrap_err();
        let text = refused.to_string();
        assert!(
            text.starts_with("UNKNOWN_TOPIC_ID") || text.starts_with("INVALID_REQUEST"),
            "{length} bytes: {text}"
        );
    }
    for partition in [-1, 1, i32::MIN, i32::MAX] {
        let refused = stream
            .produce(&topic_id, partition, good.clone())
            .await
            .unwrap_err();
        let text = refused.to_string();
        assert!(
            text.starts_with("UNKNOWN_TOPIC_OR_PARTITION"),
            "{partition}: {text}"
        );
    }
    let mut damaged = good.to_vec();
    damaged[65] ^= 1;
    let two = [good.clone(), good.clone()].concat();
    let wrong: [&[u8]; 5] = [b"", &[0; 61], &damaged, &good[..good.len() - 1], &two];
    for (number, batch) in wrong.into_iter().enumerate() {
        let batch = Bytes::copy_from_slice(batch);
        let refused = stream
            .produce(&topic_id, 0, batch)
            .await
            .unwrap_err()
            .to_string();
        let expected = ["CORRUPT_MESSAGE", "INVALID_RECORD", "INVALID_REQUEST"];
        assert!(
            expected.iter().any(|code| refused.starts_with(code)),
            "{number}: {refused}"
        );
    }
    let ack = stream.produce(&topic_id, 0, good).await?;
    assert_eq!(ack.base_offset, 0, "nothing refused was written");
    Ok(())
}
