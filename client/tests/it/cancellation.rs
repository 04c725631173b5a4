//! Every await point of the public interface, dropped before it is done: nothing is lost, nothing
//! is left behind.

use std::{future::Future, time::Duration};

use millstream::{Assignment, Client, NewTopic, Record, Start};
use tokio::net::TcpListener;

use crate::support::{FakeBroker, record};

/// Polls a future until it has got as far as it can without the broker, and drops it.
async fn cancel(what: &str, future: impl Future) {
    let outcome = tokio::time::timeout(Duration::from_millis(30), future).await;
    assert!(outcome.is_err(), "{what} did not wait");
}

fn hold_control(broker: &FakeBroker, held: bool) {
    broker.change(|state| state.control_held = held);
}

#[tokio::test]
async fn connect_dropped_leaves_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cancel(
        "connect",
        Client::connect(&silent.local_addr().unwrap().to_string()),
    )
    .await;
}

#[tokio::test]
async fn send_dropped_while_it_asks_for_the_topic_queues_nothing() {
    let broker = FakeBroker::start(1).await;
    let producer = broker.client().await.producer().build().unwrap();
    hold_control(&broker, true);
    cancel("send", producer.send(record("dropped"))).await;
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
        cancel("send", producer.send(record(vec![b'b'; 900]))).await;
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
    cancel("delivery", producer.send(record("a")).await.unwrap()).await;
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
    cancel("delivery", &mut delivery).await;
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
    cancel("flush", producer.flush()).await;
    broker.hold_acks(false);
    assert_eq!(delivery.await.unwrap().offset, Some(0));
}

#[tokio::test]
async fn close_dropped_fails_what_is_left() {
    let broker = FakeBroker::start(1).await;
    broker.hold_acks(true);
    let producer = broker.client().await.producer().build().unwrap();
    let delivery = producer.send(record("a")).await.unwrap();
    cancel("close", producer.close(Duration::from_secs(60))).await;
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
        cancel("recv", consumer.recv()).await;
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
    cancel("assign", consumer.assign([Assignment::partition("t", 1)])).await;
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
    cancel("seek", consumer.seek("t", 0, Start::Latest)).await;
    hold_control(&broker, false);
    assert_eq!(consumer.recv().await.unwrap().unwrap().offset, 1);
}

#[tokio::test]
async fn admin_calls_dropped_do_not_disturb_later_ones() {
    let broker = FakeBroker::start(1).await;
    let client = broker.client().await;
    let admin = client.admin();
    hold_control(&broker, true);
    cancel("describe", admin.describe_topics(&["t"], false)).await;
    cancel("create", admin.create_topic(NewTopic::new("new"))).await;
    let query = [("t", 0, millstream::admin::OffsetSpec::Latest)];
    cancel("offsets", admin.list_offsets(&query, Default::default())).await;
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
