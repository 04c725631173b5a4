//! The daemon's life: ready, stopped, killed, started again.

use std::time::Duration;

use anyhow::Result;
use millstream_tests::{Daemon, DaemonOptions, Native, daemon_path, http, native};
use rustix::process::Signal;

#[tokio::test]
async fn records_survive_a_stop_and_a_kill() -> Result<()> {
    let mut daemon = Daemon::start()?;
    let topic_id = {
        let client = Native::connect(daemon.native()).await?;
        let topic_id = client.create_topic("kept", 1, &[]).await?;
        let batch = native::batch(Default::default(), 1, ["one", "two"]);
        let ack = client.produce().await?.produce(&topic_id, 0, batch).await?;
        assert_eq!((ack.base_offset, ack.replicas), (0, 1));
        topic_id
    };
    assert!(daemon.terminate()?.success(), "{}", daemon.log_tail());
    for round in 0..2 {
        daemon.restart()?;
        let client = Native::connect(daemon.native()).await?;
        let found = client.fetch().await?.read_to_end(&topic_id, 0, 0).await?;
        let values: Vec<_> = found
            .into_iter()
            .map(|record| record.value.unwrap())
            .collect();
        assert_eq!(values, ["one", "two"], "after restart {round}");
        daemon.kill()?;
    }
    Ok(())
}

#[test]
fn probes_answer_while_the_daemon_lives() -> Result<()> {
    let daemon = Daemon::start()?;
    for path in ["/live", "/ready", "/metrics"] {
        let response = http::get(daemon.http(), path, Duration::from_secs(1))?;
        assert_eq!(response.status, 200, "{path}: {}", response.body);
    }
    assert!(daemon.metrics()?.contains("# TYPE "));
    Ok(())
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused() -> Result<()> {
    let daemon = Daemon::start()?;
    let second = DaemonOptions::default()
        .data_dir(daemon.data_dir())
        .prepare()?;
    let output = second.command(&daemon_path()?).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("error: data directory "), "{text}");
    assert!(
        text.contains(&daemon.pid().to_string()),
        "names the holder: {text}"
    );
    assert!(text.contains("\nhint: "), "{text}");
    assert_eq!(
        http::get(daemon.http(), "/ready", Duration::from_secs(1))?.status,
        200
    );
    Ok(())
}

/// Ten thousand partitions take longer to close than one that hangs may.
#[tokio::test]
async fn a_stop_takes_longer_than_its_timeout_while_partitions_get_closed() -> Result<()> {
    const PARTITIONS: i32 = 200;
    let mut daemon = DaemonOptions::default()
        .set("shutdown_timeout", "500ms")
        .env("MILLSTREAM_TEST_IO", "delay:10000us")
        .start()?;
    let client = Native::connect(daemon.native()).await?;
    let unflushed = [("millstream.durability", "replicated")];
    let topic_id = client.create_topic("many", PARTITIONS, &unflushed).await?;
    let mut produce = client.produce().await?;
    for partition in 0..PARTITIONS {
        let batch = native::batch(Default::default(), 1, ["one"]);
        produce.produce(&topic_id, partition, batch).await?;
    }
    drop((produce, client));
    daemon.signal(Signal::TERM)?;
    let ended = daemon.wait_end(Duration::from_secs(60))?;
    let log = daemon.log();
    assert!(ended.success(), "{}", daemon.log_tail());
    assert!(log.contains("partitions are being closed"), "{log}");
    Ok(())
}
