//! The producer where nothing goes wrong: batching, partitions, memory, flush and close.

use std::time::{Duration, Instant};

use millstream::{Acks, Compression, Durability, Error, Record};
use millstream_proto::record::Batch;

use crate::support::{FakeBroker, record};

#[tokio::test]
async fn a_delivery_says_where_the_record_went() {
    let broker = FakeBroker::start(1).await;
    let producer = broker.client().await.producer().build().unwrap();
    let first = producer.send(record("a").timestamp_ms(7)).await.unwrap();
    let second = producer.send(record("b").timestamp_ms(8)).await.unwrap();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(
        (first.partition, first.offset, first.timestamp_ms),
        (0, Some(0), 7)
    );
    assert_eq!((second.offset, second.timestamp_ms), (Some(1), 8));
    assert_eq!(
        (second.durability, second.replicas),
        (Durability::Flushed, 1)
    );
    assert_eq!(broker.values(0), ["a", "b"]);
}

#[tokio::test]
async fn records_within_the_linger_share_a_batch() {
    let broker = FakeBroker::start(1).await;
    let client = broker.client().await;
    let producer = client
        .producer()
        .linger(Duration::from_secs(60))
        .build()
        .unwrap();
    for value in ["a", "b", "c"] {
        drop(producer.send(record(value)).await.unwrap());
    }
    assert_eq!(producer.unacknowledged(), 3);
    producer.flush().await.unwrap();
    assert_eq!(producer.unacknowledged(), 0);
    assert_eq!(
        (broker.values(0).len(), broker.state().produced.len()),
        (3, 1)
    );
}

#[tokio::test]
async fn a_full_batch_does_not_linger() {
    let broker = FakeBroker::start(1).await;
    let producer = broker.client().await.producer();
    let producer = producer
        .linger(Duration::from_secs(60))
        .batch_bytes(200)
        .build()
        .unwrap();
    let first = producer.send(record(vec![b'x'; 100])).await.unwrap();
    let second = producer.send(record(vec![b'y'; 100])).await.unwrap();
    assert_eq!(first.await.unwrap().offset, Some(0));
    producer.flush().await.unwrap();
    assert_eq!(second.await.unwrap().offset, Some(1));
}

#[tokio::test]
async fn keys_decide_the_partition_as_kafka_does() {
    let broker = FakeBroker::start(7).await;
    let producer = broker.client().await.producer().build().unwrap();
    for (key, partition) in [("21", 1_173_551_340 % 7), ("abc", 479_470_107 % 7)] {
        let delivery = producer
            .send(Record::to("t").key(key).value("v"))
            .await
            .unwrap();
        assert_eq!(delivery.await.unwrap().partition, partition, "{key}");
    }
}

#[tokio::test]
async fn records_without_a_key_stick_to_a_partition_and_then_move_on() {
    let broker = FakeBroker::start(3).await;
    let client = broker.client().await;
    let producer = client.producer().batch_bytes(1000).build().unwrap();
    let mut partitions = Vec::new();
    for _ in 0..200 {
        let record = Record::to("t").value(vec![b'x'; 60]);
        partitions.push(
            producer
                .send(record)
                .await
                .unwrap()
                .await
                .unwrap()
                .partition,
        );
    }
    let runs: Vec<_> = partitions
        .chunk_by(|a, b| a == b)
        .map(<[i32]>::len)
        .collect();
    assert!(
        runs.iter()
            .all(|run| *run >= 10 || *run == runs[runs.len() - 1]),
        "{runs:?}"
    );
    for partition in 0..3 {
        assert!(
            partitions.contains(&partition),
            "{partition} was never chosen"
        );
    }
}

#[tokio::test]
async fn every_codec_of_the_build_arrives_whole() {
    let broker = FakeBroker::start(1).await;
    let client = broker.client().await;
    let codecs = Compression::ALL
        .into_iter()
        .filter(|codec| codec.is_compiled_in());
    for (base, codec) in (0..).step_by(50).zip(codecs) {
        let producer = client.producer().compression(codec).build().unwrap();
        for index in 0..50 {
            drop(
                producer
                    .send(record(format!("{codec} {index} {}", "x".repeat(50))))
                    .await
                    .unwrap(),
            );
        }
        producer.close(Duration::from_secs(20)).await.unwrap();
        let values = broker.values(0);
        assert!(
            values[base..]
                .iter()
                .all(|value| value.starts_with(codec.name())),
            "{codec}"
        );
        assert_eq!(values.len(), base + 50);
    }
}

#[tokio::test]
async fn a_codec_that_is_not_compiled_in_is_refused() {
    let broker = FakeBroker::start(1).await;
    let client = broker.client().await;
    for codec in Compression::ALL
        .into_iter()
        .filter(|codec| !codec.is_compiled_in())
    {
        let refused = client.producer().compression(codec).build().unwrap_err();
        assert!(refused.to_string().contains(codec.name()), "{refused}");
    }
}

#[tokio::test]
async fn send_waits_for_memory_and_then_says_that_the_queue_is_full() {
    let broker = FakeBroker::start(1).await;
    broker.hold_acks(true);
    let producer = broker
        .client()
        .await
        .producer()
        .buffer_memory_bytes(1000)
        .record_bytes_max(1000);
    let producer = producer
        .max_block(Duration::from_millis(50))
        .build()
        .unwrap();
    let first = producer.send(record(vec![b'x'; 900])).await.unwrap();
    let refused = producer.send(record(vec![b'y'; 900])).await.unwrap_err();
    assert!(
        matches!(
            refused,
            Error::QueueFull {
                buffer_memory_bytes: 1000,
                ..
            }
        ),
        "{refused}"
    );
    assert!(refused.is_retriable() && !refused.may_have_been_written());
    broker.hold_acks(false);
    first.await.unwrap();
    producer
        .send(record(vec![b'z'; 900]))
        .await
        .unwrap()
        .await
        .unwrap();
    assert_eq!(broker.values(0).len(), 2);
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_with_both_sizes() {
    let broker = FakeBroker::start(1).await;
    let producer = broker
        .client()
        .await
        .producer()
        .record_bytes_max(100)
        .build()
        .unwrap();
    let refused = producer.send(record(vec![b'x'; 100])).await.unwrap_err();
    assert!(
        matches!(
            refused,
            Error::RecordTooLarge {
                found_bytes: 140,
                max_bytes: 100
            }
        ),
        "{refused}"
    );
    assert_eq!(producer.unacknowledged(), 0);
}

#[tokio::test]
async fn unknown_topics_and_partitions_are_refused_at_once() {
    let broker = FakeBroker::start(1).await;
    let producer = broker.client().await.producer().build().unwrap();
    let refused = producer
        .send(Record::to("nobody").value("x"))
        .await
        .unwrap_err();
    assert_eq!(
        refused.code(),
        Some(millstream::ErrorCode::UnknownTopicOrPartition)
    );
    let refused = producer
        .send(Record::to("t").partition(1).value("x"))
        .await
        .unwrap_err();
    assert!(matches!(
        refused,
        Error::UnknownPartition {
            partition: 1,
            partitions: 1,
            ..
        }
    ));
}

#[tokio::test]
async fn without_acknowledgements_a_delivery_ends_when_the_record_is_sent() {
    let broker = FakeBroker::start(1).await;
    let producer = broker
        .client()
        .await
        .producer()
        .acks(Acks::None)
        .build()
        .unwrap();
    for index in 0..20 {
        let delivery = producer.send(record(index.to_string())).await.unwrap();
        assert_eq!(delivery.await.unwrap().offset, None);
    }
    broker
        .until("all written", |state| {
            state.log_of("t", 0).values().len() == 20
        })
        .await;
}

#[tokio::test]
async fn close_flushes_and_refuses_nothing_that_was_queued() {
    let broker = FakeBroker::start(2).await;
    let producer = broker
        .client()
        .await
        .producer()
        .linger(Duration::from_secs(60))
        .build()
        .unwrap();
    let delivery = producer.send(record("a")).await.unwrap();
    let started = Instant::now();
    producer.close(Duration::from_secs(20)).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(delivery.await.unwrap().offset, Some(0));
}

#[tokio::test]
async fn close_gives_up_after_its_timeout_and_the_records_fail() {
    let broker = FakeBroker::start(1).await;
    broker.hold_acks(true);
    let producer = broker.client().await.producer().build().unwrap();
    let delivery = producer.send(record("a")).await.unwrap();
    let late = producer.close(Duration::from_millis(50)).await.unwrap_err();
    assert!(
        matches!(
            late,
            Error::TimedOut {
                may_have_been_written: true,
                ..
            }
        ),
        "{late}"
    );
    let failed = delivery.await.unwrap_err();
    assert!(matches!(failed, Error::Closed { .. }), "{failed}");
}

#[tokio::test]
async fn a_dropped_producer_fails_what_it_has_not_sent() {
    let broker = FakeBroker::start(1).await;
    let producer = broker
        .client()
        .await
        .producer()
        .linger(Duration::from_secs(60))
        .build()
        .unwrap();
    let delivery = producer.send(record("a")).await.unwrap();
    drop(producer);
    let failed = delivery.await.unwrap_err();
    assert!(
        matches!(
            failed,
            Error::Closed {
                may_have_been_written: false,
                ..
            }
        ),
        "{failed}"
    );
    assert!(broker.values(0).is_empty());
}

#[tokio::test]
async fn batches_carry_the_identity_and_consecutive_sequences() {
    let broker = FakeBroker::start(1).await;
    let producer = broker.client().await.producer().build().unwrap();
    for round in 0..3 {
        for _ in 0..=round {
            drop(producer.send(record("x")).await.unwrap());
        }
        producer.flush().await.unwrap();
    }
    let state = broker.state();
    let batches = state
        .produced
        .iter()
        .map(|(_, bytes)| Batch::parse(bytes.clone()).unwrap());
    let seen: Vec<_> = batches
        .map(|batch| {
            (
                batch.producer_id().0,
                batch.producer_epoch().0,
                batch.base_sequence(),
            )
        })
        .collect();
    assert_eq!(seen, [(1, 0, 0), (1, 0, 1), (1, 0, 3)]);
}

#[tokio::test]
async fn new_partitions_are_used_once_they_are_known() {
    let broker = FakeBroker::start(1).await;
    let client = millstream::Client::builder(&broker.bootstrap());
    let client = client
        .metadata_age_max(Duration::from_millis(20))
        .connect()
        .await
        .unwrap();
    let producer = client.producer().build().unwrap();
    producer.send(record("a")).await.unwrap().await.unwrap();
    broker.change(|state| {
        state
            .topics
            .get_mut("t")
            .unwrap()
            .partitions
            .resize_with(2, Default::default);
    });
    let asked = broker.state().topics_asked;
    broker
        .until("asked again", |state| state.topics_asked > asked + 1)
        .await;
    let delivery = producer
        .send(Record::to("t").partition(1).value("b"))
        .await
        .unwrap();
    assert_eq!(delivery.await.unwrap().partition, 1);
}
