//! Fetch streams.

use millstream_proto::grpc::v1::{
    self, fetch_request::Request as Wish, fetch_response::Response as Answer,
};

use crate::{
    broker::Broker,
    client::{Fetcher, Producer, batch, connect, create_topic, records},
};

const KEEP: (&str, &str) = ("retention.ms", "-1");
const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_come_back_as_they_were_sent() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "echo", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    producer.produce(&topic, batch(&[b"one", b"two"])).await;
    producer.produce(&topic, batch(&[b"three"])).await;
    let mut fetcher = Fetcher::open(&channel).await;
    fetcher.add(1, &topic, 0, MIB).await;
    let news = fetcher.data().await;
    assert!(
        news.batches.is_empty(),
        "FetchAdd is answered with where it stands"
    );
    assert_eq!((news.log_start_offset, news.high_watermark), (0, 3));
    let found = fetcher.records(3).await;
    let values: Vec<_> = found
        .iter()
        .map(|r| r.value.clone().expect("value"))
        .collect();
    assert_eq!(values, ["one", "two", "three"]);
    let offsets: Vec<_> = found.iter().map(|r| r.offset.get()).collect();
    assert_eq!(offsets, [0, 1, 2]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_fetch_gets_what_is_produced_later() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "later", 1, &[KEEP]).await;
    let mut fetcher = Fetcher::open(&channel).await;
    fetcher.add(1, &topic, 0, MIB).await;
    assert!(fetcher.data().await.batches.is_empty());
    let mut producer = Producer::open(&channel).await;
    for number in 0..3u8 {
        producer.produce(&topic, batch(&[&[number]])).await;
        let data = fetcher.data().await;
        assert_eq!(data.high_watermark, i64::from(number) + 1);
        let found = records(data.batches);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].value.as_deref(), Some(&[number][..]));
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_beyond_the_credit_and_one_batch() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "credit", 1, &[KEEP]).await;
    let other = create_topic(&channel, "other", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    let value = vec![7; 1000];
    for _ in 0..5 {
        producer.produce(&topic, batch(&[&value])).await;
    }
    let size = batch(&[&value]).len() as u64;
    producer.produce(&other, batch(&[b"after"])).await;
    let mut fetcher = Fetcher::open(&channel).await;
    assert!(fetcher.opened.credit_bytes_max >= MIB && fetcher.opened.partitions_max > 2);
    fetcher.add(1, &topic, 0, 1).await;
    fetcher.data().await;
    let first = fetcher.data().await;
    assert_eq!(
        records(first.batches.clone()).len(),
        1,
        "the first batch, however large"
    );
    // The credit is negative now, so the other partition is all that can be heard of.
    fetcher.credit(1, size - 1).await;
    fetcher.add(2, &other, 0, MIB).await;
    for _ in 0..2 {
        assert_eq!(fetcher.data().await.fetch_id, 2);
    }
    fetcher.credit(1, 2 * size).await;
    let mut more = 0;
    while more < 2 {
        let data = fetcher.data().await;
        assert_eq!(data.fetch_id, 1);
        more += records(data.batches).len();
    }
    assert_eq!(more, 2);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seek_is_a_remove_and_an_add_with_another_id() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "seek", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    for value in [b"a", b"b", b"c"] {
        producer.produce(&topic, batch(&[value])).await;
    }
    let mut fetcher = Fetcher::open(&channel).await;
    fetcher.add(1, &topic, 0, MIB).await;
    fetcher.data().await;
    assert_eq!(fetcher.records(3).await.len(), 3);
    fetcher
        .wish(Wish::Remove(v1::FetchRemove { fetch_id: 1 }))
        .await;
    fetcher.add(2, &topic, 1, MIB).await;
    assert_eq!(fetcher.data().await.fetch_id, 2);
    let data = fetcher.data().await;
    let found = records(data.batches);
    assert_eq!((data.fetch_id, found[0].offset.get()), (2, 1));
    // The removed one hears of nothing any more.
    producer.produce(&topic, batch(&[b"d"])).await;
    assert_eq!(fetcher.data().await.fetch_id, 2);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_partition_that_fails_leaves_the_others_alone() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "good", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    producer.produce(&topic, batch(&[b"a"])).await;
    let mut fetcher = Fetcher::open(&channel).await;
    fetcher.add(1, &topic, 77, MIB).await;
    fetcher.add(2, &topic, 0, MIB).await;
    let (mut failed, mut found) = (None, 0);
    while failed.is_none() || found == 0 {
        match fetcher.answer().await {
            Answer::Failed(failure) => failed = Some(failure),
            Answer::Data(data) if data.fetch_id == 2 => found += records(data.batches).len(),
            _ => {}
        }
    }
    let failed = failed.expect("failure");
    assert_eq!((failed.log_start_offset, failed.high_watermark), (0, 1));
    assert_eq!(failed.error.expect("error").name, "OFFSET_OUT_OF_RANGE");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_partitions_are_parked_and_leave_with_their_stream() {
    const PARTITIONS: i32 = 50;
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "idle", PARTITIONS, &[KEEP]).await;
    let mut fetcher = Fetcher::open(&channel).await;
    for partition in 0..PARTITIONS {
        let add = v1::FetchAdd {
            fetch_id: partition.unsigned_abs().into(),
            topic_id: topic.clone(),
            partition,
            leader_epoch: -1,
            credit_bytes: 1 << 10,
            ..v1::FetchAdd::default()
        };
        fetcher.wish(Wish::Add(add)).await;
        fetcher.data().await;
    }
    let parked = || {
        broker
            .partitions
            .all()
            .iter()
            .map(|r| r.parked_reads())
            .sum::<usize>()
    };
    until("all partitions are parked", || parked() == 50).await;
    drop(fetcher);
    until("the stream's parked reads are gone", || parked() == 0).await;
    broker.stop().await;
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    crate::client::within(what, wait).await;
}
