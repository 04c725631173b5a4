//! Produce streams.

use std::collections::BTreeMap;

use millstream_proto::grpc::v1;

use crate::{
    broker::Broker,
    client::{Producer, batch, batch_with, connect, create_topic, idempotent, within},
};

const KEEP: (&str, &str) = ("retention.ms", "-1");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_say_offset_and_durability() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let fsync = create_topic(&channel, "safe", 1, &[KEEP]).await;
    let replicated = ("millstream.durability", "replicated");
    let memory = create_topic(&channel, "quick", 1, &[KEEP, replicated]).await;
    let mut producer = Producer::open(&channel).await;
    let first = producer.produce(&fsync, batch(&[b"a", b"b"])).await;
    let second = producer.produce(&fsync, batch(&[b"c"])).await;
    assert_eq!((first.error, second.error), (None, None));
    assert_eq!((first.base_offset, second.base_offset), (0, 2));
    assert_eq!(first.durability, i32::from(v1::Durability::Flushed));
    assert_eq!((first.replicas, first.log_append_time_ms), (1, -1));
    let quick = producer.produce(&memory, batch(&[b"a"])).await;
    assert_eq!(quick.durability, i32::from(v1::Durability::Memory));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_batches_are_appended_in_the_order_sent() {
    const BATCHES: i64 = 500;
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "orders", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    let mut ids = Vec::new();
    for number in 0..BATCHES {
        let value = number.to_string();
        ids.push(producer.send(&topic, 0, batch(&[value.as_bytes()])).await);
    }
    // Answers have the order in which they became due, mostly that of the requests.
    let mut offsets = BTreeMap::new();
    for _ in 0..BATCHES {
        let ack = producer.ack().await;
        offsets.insert(ack.request_id, ack.base_offset);
    }
    assert_eq!(offsets, ids.into_iter().zip(0..BATCHES).collect());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_sent_again_is_acknowledged_as_duplicate_with_its_offset() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "once", 1, &[KEEP]).await;
    let mut ids = v1::producer_id_service_client::ProducerIdServiceClient::new(channel.clone());
    let given = ids.init_producer_id(v1::InitProducerIdRequest {}).await;
    let given = given.expect("answered").into_inner();
    assert_eq!((given.error, given.producer_epoch), (None, 0));
    let mut producer = Producer::open(&channel).await;
    let send = |sequence| batch_with(idempotent(given.producer_id, sequence), &[b"x", b"y"]);
    assert_eq!(producer.produce(&topic, send(0)).await.base_offset, 0);
    assert_eq!(producer.produce(&topic, send(2)).await.base_offset, 2);
    let again = producer.produce(&topic, send(0)).await;
    assert_eq!((again.base_offset, again.duplicate), (0, true));
    assert_eq!(producer.produce(&topic, send(4)).await.base_offset, 4);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_none_is_never_answered() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "fire", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    let unacknowledged = |batch| v1::ProduceRequest {
        topic_id: topic.clone(),
        acks: v1::Acks::None.into(),
        leader_epoch: -1,
        batch,
        ..v1::ProduceRequest::default()
    };
    producer.send_request(unacknowledged(batch(&[b"a"]))).await;
    let broken = bytes::Bytes::from_static(b"no batch");
    producer.send_request(unacknowledged(broken)).await;
    let ack = producer.produce(&topic, batch(&[b"b"])).await;
    assert_eq!(
        ack.base_offset, 1,
        "the first answer is the third request's"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_acknowledged_after_the_client_stopped_sending() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "last", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    for _ in 0..20 {
        producer.send(&topic, 0, batch(&[b"x"])).await;
    }
    let mut answers = producer.finish();
    let mut acks = 0;
    while let Some(answer) = within("answer", answers.message())
        .await
        .expect("no status")
    {
        assert!(answer.response.is_some());
        acks += 1;
    }
    assert_eq!(acks, 20);
    broker.stop().await;
}

/// A transaction that nobody can end once held the last stable offset back for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transactional_batch_is_refused_and_holds_nothing_back() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "plain", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    let mut options = idempotent(9, 0);
    options.is_transactional = true;
    let refused = producer
        .produce(&topic, batch_with(options, &[b"x"]))
        .await
        .error
        .expect("refused");
    insta::assert_snapshot!(
        format!("{}: {}\nhint: {}", refused.name, refused.message, refused.hint),
        @r"
    INVALID_TXN_STATE: plain-0: record batch belongs to a transaction, and this broker has no transaction coordinator
    hint: send it without the transactional bit; idempotent producers work
    "
    );
    let plain = producer.produce(&topic, batch(&[b"x"])).await;
    assert_eq!((plain.error, plain.base_offset), (None, 0));
    broker.stop().await;
}
