//! Every await point of the public interface, dropped before it is done: nothing is lost, nothing
//! is left behind.

use std::{future::Future, time::Duration};

use millstream::{Assignment, Client, NewTopic, Record, Start};
use tokio::net::TcpListener;

use crate::support::{FakeBroker, record};

/// Polls a future until `reached`, which shows how far it has come, and drops it.
async fn cancel<T>(what: &str, future: impl Future<Output = T>, reached: impl Future) {
    tokio::select! {
        biased;
        _ = future => panic!("{what} did not wait"),
        _ = reached => {}
    }
}

fn hold_control(broker: &FakeBroker, held: bool) {
    broker.change(|state| state.control_held = held);
}

/// One more request waits for an answer that is held back.
fn is_asked(broker: &FakeBroker) -> impl Future<Output = ()> {
    let before = broker.state().control_waited;
    broker.until("a request", move |state| state.control_waited > before)
}

/// The broker has a batch.
fn has_batch(broker: &FakeBroker) -> impl Future<Output = ()> {
    broker.until("a batch", |state| !state.produced.is_empty())
}

#[tokio::test]
async fn connect_dropped_leaves_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    cancel("connect", Client::connect(&address), silent.accept()).await;
}

#[tokio::test]
async fn send_dropped_while_it_asks_for_the_topic_queues_nothing() {
    let broker = FakeBroker::start(1).await;
    let producer = broker.client().await.producer().build().unwrap();
    hold_control(&broker, true);
    let asked = is_asked(&broker);
    cancel("send", producer.send(record("dropped")), asked).await;
    assert_eq!(producer.unacknowledged(), 0);
    hold_control(&broker, false);
    producer.send(record("kept")).await.unwrap().await.unwrap();
    assert_eq!(broker.values(0), ["kept"]);
}

#[tokio::test]
async fn send_dropped_while_the_queue_is_full_queues_nothing_and_keeps_no_memory() {
    let broker = FakeBroker::start(1).await;
    broker.hold_acks(true);
    let producer = broker
        .client()
        .await
        .producer()
        .buffer_memory_bytes(1000)
        .record_bytes_max(1000);
    let producer = producer.build().unwrap();
    let first = producer.send(record(vec![b'a'; 900])).await.unwrap();
    for _ in 0..3 {
        let send = producer.send(record(vec![b'b'; 900]));
        cancel("send", send, has_batch(&broker)).await;
    }
    assert_eq!(producer.unacknowledged(), 1);
    broker.hold_acks(false);
    first.await.unwrap();
    producer
        .send(record(vec![b'c'; 900]))
        .await
        .unwrap()
        .await
        .unwrap();
    let values: Vec<_> = broker
        .values(0)
        .iter()
        .map(|value| value.as_bytes()[0])
        .collect();
    assert_eq!(values, *b"ac");
}

#[tokio::test]
async fn a_delivery_dropped_cancels_nothing() {
    let broker = FakeBroker::start(1).await;
    broker.hold_acks(true);
    let producer = broker.client().await.producer().build().unwrap();
    let delivery = producer.send(record("a")).await.unwrap();
    cancel("delivery", delivery, has_batch(&broker)).await;
    drop(producer.send(record("b")).await.unwrap());
    broker.hold_acks(false);
    producer.flush().await.unwrap();
    assert_eq!(broker.values(0), ["a", "b"]);
}

#[tokio::test]
async fn a_delivery_polled_and_moved_to_another_task_resolves_there() {
    let broker = FakeBroker::start(1).await;
    broker.hold_acks(true);
    let producer = broker.client().await.producer().build().unwrap();
    let mut delivery = producer.send(record("a")).await.unwrap();
    cancel("delivery", &mut delivery, has_batch(&broker)).await;
    let elsewhere = tokio::spawn(delivery);
    broker.hold_acks(false);
    assert_eq!(elsewhere.await.unwrap().unwrap().offset, Some(0));
}

#[tokio::test]
async fn flush_dropped_leaves_the_records_on_their_way() {
    let broker = FakeBroker::start(1).await;
    broker.hold_acks(true);
    let producer = broker
        .client()
        .await
        .producer()
        .linger(Duration::from_secs(60))
        .build()
        .unwrap();
    let delivery = producer.send(record("a")).await.unwrap();
    cancel("flush", producer.flush(), has_batch(&broker)).await;
    broker.hold_acks(false);
    assert_eq!(delivery.await.unwrap().offset, Some(0));
}

#[tokio::test]
async fn close_dropped_fails_what_is_left() {
    let broker = FakeBroker::start(1).await;
    broker.hold_acks(true);
    let producer = broker.client().await.producer().build().unwrap();
    let delivery = producer.send(record("a")).await.unwrap();
    let close = producer.close(Duration::from_secs(60));
    cancel("close", close, has_batch(&broker)).await;
    assert!(delivery.await.unwrap_err().may_have_been_written());
}

#[tokio::test]
async fn recv_dropped_loses_no_record() {
    let broker = FakeBroker::start(1).await;
    let mut consumer = broker.client().await.consumer().build().unwrap();
    consumer
        .assign([Assignment::topic("t").start(Start::Earliest)])
        .await
        .unwrap();
    for index in 0..20 {
        let fetched = broker.until("a fetch", |state| !state.fetches_added.is_empty());
        cancel("recv", consumer.recv(), fetched).await;
        broker.append(0, &[&index.to_string()]);
        // Dropped at whatever point it has come to, until it has a record.
        let record = loop {
            tokio::select! {
                biased;
                record = consumer.recv() => break record.unwrap().unwrap(),
                () = tokio::task::yield_now() => {}
            }
        };
        assert_eq!(record.offset, index);
    }
}

#[tokio::test]
async fn assign_dropped_leaves_the_assignment() {
    let broker = FakeBroker::start(2).await;
    broker.append(0, &["a"]);
    let mut consumer = broker.client().await.consumer().build().unwrap();
    consumer
        .assign([Assignment::partition("t", 0)])
        .await
        .unwrap();
    hold_control(&broker, true);
    let assign = consumer.assign([Assignment::partition("t", 1)]);
    cancel("assign", assign, is_asked(&broker)).await;
    hold_control(&broker, false);
    assert_eq!(consumer.assignment(), [("t".to_owned(), 0)]);
    assert_eq!(consumer.recv().await.unwrap().unwrap().offset, 0);
}

#[tokio::test]
async fn seek_dropped_leaves_the_position() {
    let broker = FakeBroker::start(1).await;
    broker.append(0, &["a", "b", "c"]);
    let mut consumer = broker.client().await.consumer().build().unwrap();
    consumer.assign([Assignment::topic("t")]).await.unwrap();
    consumer.recv().await.unwrap();
    hold_control(&broker, true);
    let seek = consumer.seek("t", 0, Start::Latest);
    cancel("seek", seek, is_asked(&broker)).await;
    hold_control(&broker, false);
    assert_eq!(consumer.recv().await.unwrap().unwrap().offset, 1);
}

#[tokio::test]
async fn admin_calls_dropped_do_not_disturb_later_ones() {
    let broker = FakeBroker::start(1).await;
    let client = broker.client().await;
    let admin = client.admin();
    hold_control(&broker, true);
    let describe = admin.describe_topics(&["t"], false);
    cancel("describe", describe, is_asked(&broker)).await;
    let create = admin.create_topic(NewTopic::new("new"));
    cancel("create", create, is_asked(&broker)).await;
    let query = [("t", 0, millstream::admin::OffsetSpec::Latest)];
    let offsets = admin.list_offsets(&query, Default::default());
    cancel("offsets", offsets, is_asked(&broker)).await;
    hold_control(&broker, false);
    assert!(
        admin.describe_topics(&["t"], false).await.unwrap()[0]
            .1
            .is_ok()
    );
    let producer = client.producer().build().unwrap();
    producer
        .send(Record::to("t").value("a"))
        .await
        .unwrap()
        .await
        .unwrap();
}
