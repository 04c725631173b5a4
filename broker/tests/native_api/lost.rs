//! Partitions whose directory is not there: lost, or not yet created.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use millstream_broker::config::Config;
use millstream_log::io::{Action, DiskIo, FaultIo, Operation, Rule};
use tokio::time::{Instant, sleep};

use crate::{
    broker::Broker,
    client::{Fetcher, Producer, batch, connect, create_topic, try_create_topic},
};

const KEEP: (&str, &str) = ("retention.ms", "-1");
/// Number of the error that a failing disk gives (errno.h).
const EIO: i32 = 5;
/// Attempts to create a partition are two seconds apart.
const CREATED_WITHIN: Duration = Duration::from_secs(20);

/// A topic with a record in each of two partitions, and the broker stopped.
async fn stopped_with_records(path: &Path, is_clean: bool) -> Bytes {
    let broker = Broker::start(path).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "kept", 2, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    for partition in 0..2 {
        producer.send(&topic, partition, batch(&[b"a", b"b"])).await;
        assert_eq!(producer.ack().await.error, None);
    }
    if is_clean {
        broker.stop().await;
    } else {
        broker.settled().await;
        broker.stop_unclean().await;
    }
    topic
}

/// Partition 0 refuses and says why; partition 1 serves.
async fn only_the_other_serves(broker: &Broker, topic: &Bytes) {
    let channel = connect(broker.address).await;
    let mut producer = Producer::open(&channel).await;
    let error = producer.produce(topic, batch(&[b"c"])).await.error;
    let error = error.expect("refused");
    assert_eq!(error.name, "KAFKA_STORAGE_ERROR");
    for part in ["kept-0 is missing", "below offset 2", "create it empty"] {
        assert!(error.message.contains(part), "{part}: {}", error.message);
    }
    producer.send(topic, 1, batch(&[b"c"])).await;
    assert_eq!(producer.ack().await.error, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_whose_directory_is_lost_is_never_served_as_an_empty_log() {
    for is_clean in [true, false] {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path();
        let topic = stopped_with_records(path, is_clean).await;
        let lost = path.join("kept-0");
        std::fs::rename(&lost, path.join("elsewhere")).expect("renamed");
        // The next start knows it, too.
        for _ in 0..2 {
            let broker = Broker::start(path).await;
            only_the_other_serves(&broker, &topic).await;
            broker.stop().await;
            assert!(!lost.exists(), "nothing was created");
        }

        std::fs::rename(path.join("elsewhere"), &lost).expect("restored");
        let broker = Broker::start(path).await;
        let channel = connect(broker.address).await;
        let mut fetcher = Fetcher::open(&channel).await;
        fetcher.add(1, &topic, 0, 1 << 20).await;
        assert_eq!(fetcher.records(2).await.len(), 2);
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_partition_goes_on_behind_what_is_lost_when_the_operator_says_so() {
    for is_clean in [true, false] {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path();
        let topic = stopped_with_records(path, is_clean).await;
        std::fs::remove_dir_all(path.join("kept-0")).expect("removed");
        std::fs::create_dir(path.join("kept-0")).expect("created");
        // What is lost stays lost at the next start.
        for next in 2..4 {
            let broker = Broker::start(path).await;
            let channel = connect(broker.address).await;
            let mut fetcher = Fetcher::open(&channel).await;
            fetcher.add(1, &topic, 0, 1 << 20).await;
            let offsets = fetcher.data().await;
            assert_eq!(
                (offsets.log_start_offset, offsets.high_watermark),
                (0, next)
            );
            let error = fetcher.failed().await.error.expect("lost");
            assert_eq!(error.name, "CORRUPT_MESSAGE", "{error:?}");
            let mut producer = Producer::open(&channel).await;
            let ack = producer.produce(&topic, batch(&[b"c"])).await;
            assert_eq!((ack.error, ack.base_offset), (None, next));
            fetcher.add(2, &topic, 2, 1 << 20).await;
            assert_eq!(fetcher.records(1).await[0].offset.get(), 2);
            broker.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_whose_partition_is_lost_can_be_deleted_and_created_anew() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path();
    stopped_with_records(path, true).await;
    std::fs::remove_dir_all(path.join("kept-0")).expect("removed");
    let broker = Broker::start(path).await;
    let channel = connect(broker.address).await;
    crate::admin::delete_topic(&channel, "kept").await;
    let topic = create_topic(&channel, "kept", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    assert_eq!(
        producer.produce(&topic, batch(&[b"x"])).await.base_offset,
        0
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_could_not_be_created_is_created_once_the_disk_allows_it() {
    let directory = tempfile::tempdir().expect("directory");
    let io = Arc::new(FaultIo::new(DiskIo));
    let no_directory = Rule::new(&[Operation::CreateDir], Action::Fail(EIO));
    let fault = io.inject(no_directory.at_path_with("flaky-1"));
    let broker = Broker::start_with(directory.path(), io, Config::default()).await;
    let channel = connect(broker.address).await;
    let created = try_create_topic(&channel, "flaky", 2, &[KEEP]).await;
    assert_eq!(created.error, None);
    assert_eq!(created.warnings.len(), 1, "{:?}", created.warnings);
    let mut producer = Producer::open(&channel).await;
    producer.send(&created.topic_id, 1, batch(&[b"a"])).await;
    let refused = producer.ack().await.error.expect("offline");
    assert_eq!(refused.name, "KAFKA_STORAGE_ERROR");
    producer.send(&created.topic_id, 0, batch(&[b"a"])).await;
    assert_eq!(producer.ack().await.error, None, "the other serves");

    fault.stop();
    let deadline = Instant::now() + CREATED_WITHIN;
    loop {
        producer.send(&created.topic_id, 1, batch(&[b"a"])).await;
        match producer.ack().await.error {
            None => break,
            Some(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
    broker.stop().await;
}
