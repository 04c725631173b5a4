//! The producer where things go wrong: order, no loss and no duplicates through faults.

use std::time::Duration;

use millstream::{Acks, Delivery, Error, ErrorCode, Producer, Record};
use millstream_proto::record::Batch;

use crate::support::{FakeBroker, ProduceFault, record};

/// A producer that sends every record as a batch of its own and retries at once.
async fn hasty(broker: &FakeBroker) -> Producer {
    let producer = broker
        .client()
        .await
        .producer()
        .batch_bytes(1)
        .linger(Duration::ZERO);
    let pause = Duration::from_millis(1);
    producer.retry_backoff(pause, pause).build().unwrap()
}

async fn send_all(producer: &Producer, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for index in 0..count {
        deliveries.push(producer.send(record(index.to_string())).await.unwrap());
    }
    deliveries
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|index| index.to_string()).collect()
}

/// All records are there once, in order, each where its delivery says.
async fn assert_all_written(broker: &FakeBroker, deliveries: Vec<Delivery>) {
    let count = deliveries.len();
    for (index, delivery) in deliveries.into_iter().enumerate() {
        let acknowledgement = delivery.await.unwrap();
        assert_eq!(acknowledgement.offset, i64::try_from(index).ok());
    }
    assert_eq!(broker.values(0), numbers(count));
}

#[tokio::test]
async fn a_refused_batch_is_sent_again_before_those_behind_it() {
    use ProduceFault::{None, Refuse};
    for code in [
        ErrorCode::KafkaStorageError,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::UnknownTopicId,
    ] {
        let broker = FakeBroker::start(1).await;
        broker.produce_faults([None, Refuse(code), None, None, Refuse(code), None]);
        let producer = hasty(&broker).await;
        let deliveries = send_all(&producer, 20).await;
        assert_all_written(&broker, deliveries).await;
    }
}

#[tokio::test]
async fn a_stream_that_breaks_after_the_write_duplicates_nothing() {
    use ProduceFault::{Break, None, WriteAndBreak};
    let broker = FakeBroker::start(1).await;
    broker.produce_faults([
        None,
        None,
        WriteAndBreak,
        None,
        Break,
        WriteAndBreak,
        WriteAndBreak,
    ]);
    let producer = hasty(&broker).await;
    let deliveries = send_all(&producer, 30).await;
    assert_all_written(&broker, deliveries).await;
}

#[tokio::test]
async fn connections_that_break_under_load_lose_and_duplicate_nothing() {
    let broker = FakeBroker::start(1).await;
    let producer = hasty(&broker).await;
    let mut deliveries = Vec::new();
    for index in 0..400 {
        deliveries.push(producer.send(record(index.to_string())).await.unwrap());
        if index % 80 == 40 {
            let wanted = broker.values(0).len() + 3;
            broker
                .until("progress", |state| {
                    state.log_of("t", 0).batches.len() >= wanted
                })
                .await;
            broker.proxy.break_connections();
        }
    }
    assert_all_written(&broker, deliveries).await;
}

#[tokio::test]
async fn a_refusal_that_may_have_written_is_recognised_when_sent_again() {
    let broker = FakeBroker::start(1).await;
    broker.produce_faults([ProduceFault::WriteAndRefuse(ErrorCode::RequestTimedOut)]);
    let producer = hasty(&broker).await;
    let deliveries = send_all(&producer, 5).await;
    assert_all_written(&broker, deliveries).await;
}

#[tokio::test]
async fn a_batch_that_fails_for_good_leaves_no_hole_in_the_sequence() {
    let broker = FakeBroker::start(1).await;
    broker.produce_faults([
        ProduceFault::None,
        ProduceFault::Refuse(ErrorCode::InvalidRecord),
    ]);
    let producer = hasty(&broker).await;
    let mut results = Vec::new();
    for delivery in send_all(&producer, 10).await {
        results.push(delivery.await);
    }
    let refused = results.remove(1).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::InvalidRecord));
    assert!(!refused.is_retriable() && !refused.may_have_been_written());
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let mut expected = numbers(10);
    expected.remove(1);
    assert_eq!(broker.values(0), expected);
    let state = broker.state();
    let last = Batch::parse(state.produced.last().unwrap().1.clone()).unwrap();
    assert_eq!(last.producer_epoch().0, 1, "the next epoch starts over");
}

#[tokio::test]
async fn a_broker_that_forgot_the_producer_gets_a_new_identity() {
    let broker = FakeBroker::start(1).await;
    broker.produce_faults([
        ProduceFault::None,
        ProduceFault::Refuse(ErrorCode::UnknownProducerId),
    ]);
    let producer = hasty(&broker).await;
    let deliveries = send_all(&producer, 10).await;
    assert_all_written(&broker, deliveries).await;
    assert_eq!(broker.state().last_producer_id, 2);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_split() {
    let broker = FakeBroker::start(1).await;
    let mut refused = 0;
    broker.on_produce(move |request| {
        let records = Batch::parse(request.batch.clone()).unwrap().record_count();
        refused += u32::from(records > 3);
        assert!(refused < 20, "never small enough");
        if records > 3 {
            ProduceFault::Refuse(ErrorCode::MessageTooLarge)
        } else {
            ProduceFault::None
        }
    });
    let producer = broker
        .client()
        .await
        .producer()
        .linger(Duration::from_secs(60))
        .build()
        .unwrap();
    let deliveries = send_all(&producer, 20).await;
    producer.flush().await.unwrap();
    assert_all_written(&broker, deliveries).await;
}

#[tokio::test]
async fn a_request_larger_than_the_broker_reads_is_split_before_it_is_sent() {
    let broker = FakeBroker::start(1).await;
    broker.state().request_bytes_max = 400;
    let producer = broker
        .client()
        .await
        .producer()
        .linger(Duration::from_secs(60))
        .build()
        .unwrap();
    let deliveries = send_all(&producer, 40).await;
    producer.flush().await.unwrap();
    assert_all_written(&broker, deliveries).await;
    let state = broker.state();
    assert!(state.produced.iter().all(|(_, batch)| batch.len() <= 400));
}

#[tokio::test]
async fn a_single_record_larger_than_the_broker_takes_fails() {
    let broker = FakeBroker::start(1).await;
    broker.produce_faults([ProduceFault::Refuse(ErrorCode::MessageTooLarge)]);
    let producer = hasty(&broker).await;
    let failed = producer.send(record("0")).await.unwrap().await.unwrap_err();
    assert_eq!(failed.code(), Some(ErrorCode::MessageTooLarge));
    producer.send(record("1")).await.unwrap().await.unwrap();
    assert_eq!(broker.values(0), ["1"]);
}

#[tokio::test]
async fn a_record_that_is_not_acknowledged_in_time_may_have_been_written() {
    let broker = FakeBroker::start(1).await;
    broker.produce_faults([ProduceFault::Ignore]);
    let producer = broker.client().await.producer().linger(Duration::ZERO);
    let producer = producer.delivery_timeout(Duration::from_millis(100));
    let producer = producer
        .request_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let failed = producer.send(record("0")).await.unwrap().await.unwrap_err();
    assert!(
        matches!(
            failed,
            Error::TimedOut {
                may_have_been_written: true,
                ..
            }
        ),
        "{failed}"
    );
    // The missing sequence is found out, and the next record goes through under a new epoch.
    let producer_epoch = loop {
        if producer.send(record("1")).await.unwrap().await.is_ok() {
            let state = broker.state();
            break Batch::parse(state.produced.last().unwrap().1.clone())
                .unwrap()
                .producer_epoch()
                .0;
        }
    };
    assert!(producer_epoch <= 1);
    assert_eq!(broker.values(0).last().unwrap(), "1");
}

#[tokio::test]
async fn a_record_that_was_never_sent_expires_as_not_written() {
    let broker = FakeBroker::start(1).await;
    let client = broker.client().await;
    let producer = client.producer().linger(Duration::ZERO);
    let producer = producer
        .delivery_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    producer.send(record("0")).await.unwrap().await.unwrap();
    broker.proxy.set_accepting(false);
    broker.proxy.break_connections();
    // The first may have caught the connection before it broke.
    let _ = producer.send(record("1")).await.unwrap().await;
    let failed = producer.send(record("2")).await.unwrap().await.unwrap_err();
    let Error::TimedOut {
        may_have_been_written,
        cause,
        ..
    } = &failed
    else {
        panic!("{failed}")
    };
    assert!(!may_have_been_written && cause.is_some(), "{failed}");
    assert!(failed.is_retriable());
}

#[tokio::test]
async fn a_broker_that_falls_silent_is_left_and_the_batch_sent_again() {
    let broker = FakeBroker::start(1).await;
    broker.produce_faults([ProduceFault::Ignore]);
    let producer = broker.client().await.producer().linger(Duration::ZERO);
    let producer = producer
        .request_timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    let delivery = producer.send(record("0")).await.unwrap();
    assert_eq!(delivery.await.unwrap().offset, Some(0));
    assert_eq!(broker.state().produced.len(), 2);
}

#[tokio::test]
async fn a_topic_that_is_deleted_fails_its_records_and_is_asked_for_anew() {
    let broker = FakeBroker::start(1).await;
    let producer = hasty(&broker).await;
    producer.send(record("0")).await.unwrap().await.unwrap();
    broker.change(|state| state.topics.clear());
    let failed = producer.send(record("1")).await.unwrap().await.unwrap_err();
    assert_eq!(
        failed.code(),
        Some(ErrorCode::UnknownTopicOrPartition),
        "{failed}"
    );
    assert!(producer.send(record("2")).await.is_err());
    broker.change(|state| state.create_topic("t", 1));
    assert_eq!(
        producer
            .send(record("3"))
            .await
            .unwrap()
            .await
            .unwrap()
            .offset,
        Some(0)
    );
}

#[tokio::test]
async fn a_topic_that_is_created_anew_gets_the_records() {
    let broker = FakeBroker::start(1).await;
    let producer = hasty(&broker).await;
    producer.send(record("0")).await.unwrap().await.unwrap();
    broker.change(|state| state.create_topic("t", 1));
    let deliveries = send_all(&producer, 5).await;
    assert_all_written(&broker, deliveries).await;
}

#[tokio::test]
async fn records_follow_their_leader_to_another_broker() {
    let (old, new) = (FakeBroker::start(1).await, FakeBroker::start(1).await);
    let producer = hasty(&old).await;
    producer.send(record("0")).await.unwrap().await.unwrap();
    let address = new.proxy.address;
    old.change(|state| {
        state.leaders.insert(0, address);
    });
    old.on_produce(|_| ProduceFault::Refuse(ErrorCode::NotLeaderOrFollower));
    let deliveries = send_all(&producer, 10).await;
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!((old.values(0), new.values(0)), (numbers(1), numbers(10)));
}

#[tokio::test]
async fn without_acknowledgements_a_broken_stream_fails_what_was_not_sent() {
    let broker = FakeBroker::start(1).await;
    let producer = broker
        .client()
        .await
        .producer()
        .acks(Acks::None)
        .build()
        .unwrap();
    producer.send(record("0")).await.unwrap().await.unwrap();
    broker.proxy.break_connections();
    for index in 1..50 {
        // Some fail and some do not; all of them end.
        let _ = producer
            .send(Record::to("t").value(index.to_string()))
            .await
            .unwrap()
            .await;
    }
    assert_eq!(producer.unacknowledged(), 0);
}

#[tokio::test]
async fn a_refusal_for_good_ends_the_delivery_at_once_whatever_its_code() {
    let code = ErrorCode::KafkaStorageError;
    let broker = FakeBroker::start(1).await;
    broker.on_produce(move |_| ProduceFault::RefuseForGood(code));
    let producer = hasty(&broker).await;
    let error = producer.send(record("a")).await.unwrap().await.unwrap_err();
    assert_eq!(error.code(), Some(code));
    assert!(!error.is_retriable(), "{error:?}");
    assert_eq!(broker.state().produced.len(), 1, "asked once");
}

#[tokio::test]
async fn what_records_wait_for_is_told_for_as_long_as_they_do() {
    let code = ErrorCode::KafkaStorageError;
    let broker = FakeBroker::start(1).await;
    broker.on_produce(move |_| ProduceFault::Refuse(code));
    let producer = hasty(&broker).await;
    assert!(producer.obstacle().is_none());
    let delivery = producer.send(record("a")).await.unwrap();
    broker
        .until("refused twice", |state| state.produced.len() > 1)
        .await;
    assert_eq!(
        producer.obstacle().and_then(|error| error.code()),
        Some(code)
    );
    broker.on_produce(|_| ProduceFault::None);
    delivery.await.unwrap();
    producer.send(record("b")).await.unwrap().await.unwrap();
    assert!(producer.obstacle().is_none());
}
