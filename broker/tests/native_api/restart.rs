//! Stopping and starting on the same directory.

use crate::{
    broker::Broker,
    client::{Fetcher, Producer, batch, batch_with, connect, create_topic, idempotent},
};

const KEEP: (&str, &str) = ("retention.ms", "-1");

async fn produce_two(broker: &Broker) -> bytes::Bytes {
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "kept", 2, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    for (sequence, value) in [(0, b"a"), (1, b"b")] {
        let ack = producer
            .produce(&topic, batch_with(idempotent(4000, sequence), &[value]))
            .await;
        assert_eq!(ack.error, None);
    }
    topic
}

async fn everything_is_there(broker: &Broker, topic: &bytes::Bytes) {
    let channel = connect(broker.address).await;
    let mut fetcher = Fetcher::open(&channel).await;
    fetcher.add(1, topic, 0, 1 << 20).await;
    let found = fetcher.records(2).await;
    let values: Vec<_> = found
        .iter()
        .map(|r| r.value.clone().expect("value"))
        .collect();
    assert_eq!(values, ["a", "b"]);
    let mut producer = Producer::open(&channel).await;
    let again = batch_with(idempotent(4000, 1), &[b"b"]);
    let again = producer.produce(topic, again).await;
    assert_eq!(
        (again.error, again.base_offset, again.duplicate),
        (None, 1, true)
    );
    let next = producer.produce(topic, batch(&[b"c"])).await;
    assert_eq!(next.base_offset, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_and_producers_survive_a_clean_stop() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let topic = produce_two(&broker).await;
    broker.stop().await;
    let broker = Broker::start(directory.path()).await;
    everything_is_there(&broker, &topic).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_and_producers_survive_an_unclean_stop() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let topic = produce_two(&broker).await;
    broker.stop_unclean().await;
    let broker = Broker::start(directory.path()).await;
    everything_is_there(&broker, &topic).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_partition_directories_go_to_quarantine_whole() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path();
    for name in ["stray-0", "kept-7"] {
        std::fs::create_dir_all(path.join(name)).expect("directory");
        std::fs::write(path.join(name).join("00000000000000000000.log"), name).expect("file");
    }
    std::fs::create_dir_all(path.join("no partition")).expect("directory");
    let broker = Broker::start(path).await;
    let topic = produce_two(&broker).await;
    everything_is_there(&broker, &topic).await;
    broker.stop().await;
    for name in ["stray-0", "kept-7"] {
        let file = path.join(format!("quarantine/{name}.1/00000000000000000000.log"));
        assert_eq!(std::fs::read_to_string(file).expect("kept"), name);
        assert!(!path.join(name).exists());
    }
    assert!(path.join("no partition").exists(), "others are left alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namesake_does_not_get_the_records_of_the_topic_before_it() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let old = produce_two(&broker).await;
    let channel = connect(broker.address).await;
    crate::admin::delete_topic(&channel, "kept").await;
    let new = create_topic(&channel, "kept", 2, &[KEEP]).await;
    assert_ne!(old, new);
    let mut producer = Producer::open(&channel).await;
    let refused = producer.produce(&old, batch(&[b"x"])).await;
    assert_eq!(refused.error.expect("refused").name, "UNKNOWN_TOPIC_ID");
    assert_eq!(producer.produce(&new, batch(&[b"x"])).await.base_offset, 0);
    broker.stop().await;
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let mut fetcher = Fetcher::open(&channel).await;
    fetcher.add(1, &new, 0, 1 << 20).await;
    assert_eq!(
        fetcher.records(1).await[0].value.as_deref(),
        Some(&b"x"[..])
    );
    broker.stop().await;
}
