//! F29: names and ids that want to be paths, log lines or memory.

use std::{collections::BTreeSet, fs};

use anyhow::Result;
use bytes::Bytes;
use millstream_tests::{Daemon, Native, native};

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
    assert_eq!(tree(&daemon)?, before);
    let log = daemon.log();
    assert!(
        log.lines().all(|line| !line.starts_with("INJECTED")),
        "{log}"
    );
    assert!(
        !log.contains(['\0', '\u{1b}']),
        "control characters in the log"
    );
    client.create_topic("good", 1, &[]).await?;
    Ok(())
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
