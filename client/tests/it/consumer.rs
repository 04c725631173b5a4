//! The consumer: positions, bounds, filters, seek, pause, resets, broken streams.

use bytes::Bytes;
use futures_util::StreamExt as _;
use millstream::{
    Assignment, ConsumedRecord, Consumer, Error, ErrorCode, IsolationLevel, OffsetReset, Start,
};
use millstream_proto::{
    LeaderEpoch, ProducerEpoch, ProducerId,
    grpc::v1,
    record::{
        BatchOptions, Compression, ProducerIdentity,
        control::{EndTransactionMarker, TransactionResult},
    },
};

use crate::support::{FakeBroker, batch_of};

fn text(record: &ConsumedRecord) -> String {
    String::from_utf8(record.value.clone().unwrap_or_default().to_vec()).unwrap()
}

async fn rest(consumer: &mut Consumer) -> Vec<String> {
    let mut values = Vec::new();
    while let Some(record) = consumer.recv().await.unwrap() {
        values.push(text(&record));
    }
    values
}

async fn next(consumer: &mut Consumer) -> String {
    text(&consumer.recv().await.unwrap().unwrap())
}

fn whole() -> Assignment {
    Assignment::topic("t").until_end()
}

fn from(start: Start) -> [Assignment; 1] {
    [Assignment::partition("t", 0).start(start)]
}

async fn broker_with(values: &[&[&str]]) -> FakeBroker {
    let broker = FakeBroker::start(1).await;
    values.iter().for_each(|values| broker.append(0, values));
    broker
}

async fn consumer_of(broker: &FakeBroker) -> Consumer {
    broker.client().await.consumer().build().unwrap()
}

#[tokio::test]
async fn reading_ends_where_the_log_ended() {
    let broker = broker_with(&[&["a", "b"], &["c"]]).await;
    let mut consumer = consumer_of(&broker).await;
    consumer.assign([whole()]).await.unwrap();
    broker.append(0, &["later"]);
    assert_eq!(rest(&mut consumer).await, ["a", "b", "c"]);
    assert_eq!(consumer.position("t", 0).unwrap(), 3);
    assert!(consumer.recv().await.unwrap().is_none(), "and stays there");
}

#[tokio::test]
async fn all_partitions_are_read_and_each_in_order() {
    let broker = FakeBroker::start(3).await;
    for round in 0..50 {
        (0..3).for_each(|partition| broker.append(partition, &[&format!("{partition} {round}")]));
    }
    let mut consumer = consumer_of(&broker).await;
    consumer.assign([whole()]).await.unwrap();
    assert_eq!(consumer.assignment().len(), 3);
    let values = rest(&mut consumer).await;
    for partition in 0..3 {
        let of_partition = values
            .iter()
            .filter(|value| value.starts_with(&format!("{partition} ")));
        let expected: Vec<_> = (0..50)
            .map(|round| format!("{partition} {round}"))
            .collect();
        assert_eq!(of_partition.cloned().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn records_before_the_wanted_offset_are_dropped_from_its_batch() {
    let broker = broker_with(&[&["a", "b", "c", "d"]]).await;
    let mut consumer = consumer_of(&broker).await;
    consumer
        .assign(from(Start::Offset(2)).map(Assignment::until_end))
        .await
        .unwrap();
    assert_eq!(rest(&mut consumer).await, ["c", "d"]);
}

#[tokio::test]
async fn records_at_the_end_bound_are_dropped_from_its_batch() {
    let broker = broker_with(&[&["a", "b", "c", "d"], &["e"]]).await;
    let mut consumer = consumer_of(&broker).await;
    consumer
        .assign([Assignment::topic("t").until_offset(2)])
        .await
        .unwrap();
    assert_eq!(rest(&mut consumer).await, ["a", "b"]);
    assert_eq!(consumer.position("t", 0).unwrap(), 2);
}

#[tokio::test]
async fn latest_and_times_are_looked_up() {
    let broker = broker_with(&[&["a"]]).await;
    let late = batch_of(&["b"], BatchOptions::default());
    broker.change(|state| {
        state.log_of("t", 0).append_unchecked(&late);
    });
    let mut consumer = consumer_of(&broker).await;
    consumer
        .assign(from(Start::TimestampMs(1_000)))
        .await
        .unwrap();
    assert_eq!(consumer.position("t", 0).unwrap(), 0);
    consumer
        .assign(from(Start::TimestampMs(1_001)))
        .await
        .unwrap();
    assert_eq!(consumer.position("t", 0).unwrap(), 2, "no record: the end");
    consumer.assign(from(Start::Latest)).await.unwrap();
    broker.append(0, &["c"]);
    assert_eq!(next(&mut consumer).await, "c");
}

#[tokio::test]
async fn it_is_a_stream() {
    let broker = broker_with(&[&["a", "b"]]).await;
    let mut consumer = consumer_of(&broker).await;
    consumer.assign([whole()]).await.unwrap();
    let values: Vec<_> = consumer
        .by_ref()
        .map(|record| text(&record.unwrap()))
        .collect()
        .await;
    assert_eq!(values, ["a", "b"]);
}

#[tokio::test]
async fn seek_drops_what_was_read_ahead() {
    let broker = broker_with(&[&["a", "b"], &["c"], &["d"]]).await;
    let mut consumer = consumer_of(&broker).await;
    consumer.assign([whole()]).await.unwrap();
    assert_eq!(next(&mut consumer).await, "a");
    consumer.seek("t", 0, Start::Offset(3)).await.unwrap();
    assert_eq!(next(&mut consumer).await, "d");
    consumer.seek("t", 0, Start::Earliest).await.unwrap();
    assert_eq!(rest(&mut consumer).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_paused_partition_is_silent_and_loses_nothing() {
    let broker = FakeBroker::start(2).await;
    broker.append(0, &["a0", "a1", "a2"]);
    let mut consumer = consumer_of(&broker).await;
    let both = Assignment::topic("t").start(Start::Earliest);
    consumer.assign([both]).await.unwrap();
    assert_eq!(next(&mut consumer).await, "a0");
    consumer.pause("t", 0).unwrap();
    // The rest of its batch is at hand, and what comes later from elsewhere overtakes it.
    broker.append(1, &["b0"]);
    assert_eq!(next(&mut consumer).await, "b0");
    assert_eq!(consumer.position("t", 0).unwrap(), 1);
    consumer.resume("t", 0).unwrap();
    assert_eq!(next(&mut consumer).await, "a1");
    assert_eq!(next(&mut consumer).await, "a2");
    let unknown = consumer.pause("t", 2).unwrap_err();
    assert!(matches!(unknown, Error::NotAssigned { partition: 2, .. }));
}

#[tokio::test]
async fn lag_is_counted_from_what_was_handed_out() {
    let broker = broker_with(&[&["a", "b", "c"]]).await;
    let mut consumer = consumer_of(&broker).await;
    consumer.assign(from(Start::Earliest)).await.unwrap();
    next(&mut consumer).await;
    assert_eq!(consumer.lag("t", 0).unwrap(), Some(2));
    next(&mut consumer).await;
    next(&mut consumer).await;
    assert_eq!(consumer.lag("t", 0).unwrap(), Some(0));
}

#[tokio::test]
async fn every_codec_of_the_build_is_read() {
    let broker = FakeBroker::start(1).await;
    let codecs: Vec<_> = Compression::ALL
        .into_iter()
        .filter(|codec| codec.is_compiled_in())
        .collect();
    for compression in &codecs {
        let options = BatchOptions {
            compression: *compression,
            ..BatchOptions::default()
        };
        let batch = batch_of(&[compression.name()], options);
        broker.state().log_of("t", 0).append_unchecked(&batch);
    }
    let mut consumer = consumer_of(&broker).await;
    consumer.assign([whole()]).await.unwrap();
    let names: Vec<_> = codecs.iter().map(|codec| codec.name()).collect();
    assert_eq!(rest(&mut consumer).await, names);
}

#[tokio::test]
async fn an_aborted_transaction_is_hidden_from_read_committed_only() {
    let broker = broker_with(&[&["plain"]]).await;
    let transaction = |producer: i64, values: &[&str]| {
        let identity = ProducerIdentity {
            id: ProducerId(producer),
            epoch: ProducerEpoch(0),
            base_sequence: 0,
        };
        let producer = Some(identity);
        batch_of(
            values,
            BatchOptions {
                producer,
                is_transactional: true,
                ..BatchOptions::default()
            },
        )
    };
    let marker = |producer: i64, result| -> Bytes {
        let marker = EndTransactionMarker::new(result, 0);
        marker
            .to_batch(0, ProducerId(producer), ProducerEpoch(0), LeaderEpoch(0))
            .unwrap()
    };
    broker.change(|state| {
        let log = state.log_of("t", 0);
        let first_offset = log.append_unchecked(&transaction(7, &["aborted"]));
        let aborted = v1::AbortedTransaction {
            producer_id: 7,
            first_offset,
        };
        log.aborted.push((aborted, 3));
        log.append_unchecked(&transaction(8, &["committed"]));
        log.append_unchecked(&marker(7, TransactionResult::Abort));
        log.append_unchecked(&transaction(7, &["again"]));
        log.append_unchecked(&marker(8, TransactionResult::Commit));
        log.append_unchecked(&marker(7, TransactionResult::Commit));
    });
    let client = broker.client().await;
    let read = async |isolation| {
        let mut consumer = client.consumer().isolation(isolation).build().unwrap();
        consumer.assign([whole()]).await.unwrap();
        let values = rest(&mut consumer).await;
        assert_eq!(consumer.position("t", 0).unwrap(), 7, "markers are passed");
        values
    };
    let all = ["plain", "aborted", "committed", "again"];
    assert_eq!(read(IsolationLevel::ReadUncommitted).await, all);
    assert_eq!(
        read(IsolationLevel::ReadCommitted).await,
        ["plain", "committed", "again"]
    );
}

#[tokio::test]
async fn a_flipped_bit_stops_its_partition_and_no_other() {
    let broker = FakeBroker::start(2).await;
    let mut damaged = batch_of(&["bad"], BatchOptions::default()).to_vec();
    *damaged.last_mut().unwrap() ^= 4;
    broker.append(0, &["good"]);
    broker
        .state()
        .log_of("t", 0)
        .append_unchecked(&damaged.into());
    broker.append(0, &["behind"]);
    broker.append(1, &["other"]);
    let mut consumer = consumer_of(&broker).await;
    consumer.assign([whole()]).await.unwrap();
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    while errors.len() < 2 {
        match consumer.recv().await {
            Ok(record) => values.push(text(&record.unwrap())),
            Err(error) => errors.push(error),
        }
    }
    values.sort_unstable();
    assert_eq!(values, ["good", "other"]);
    assert!(
        matches!(
            &errors[1],
            Error::Corrupt {
                partition: 0,
                offset: 1,
                ..
            }
        ),
        "{errors:?}"
    );
    assert!(errors[1].to_string().contains("crc"), "{}", errors[1]);
    consumer.seek("t", 0, Start::Offset(2)).await.unwrap();
    assert_eq!(rest(&mut consumer).await, ["behind"]);
}

#[tokio::test]
async fn a_batch_that_decompresses_to_too_much_is_corrupt() {
    let Some(compression) = Compression::ALL
        .into_iter()
        .rfind(|codec| codec.is_compiled_in())
    else {
        return;
    };
    if compression == Compression::None {
        return;
    }
    let broker = FakeBroker::start(1).await;
    let large = "x".repeat(100_000);
    let batch = batch_of(
        &[&large],
        BatchOptions {
            compression,
            ..BatchOptions::default()
        },
    );
    broker.state().log_of("t", 0).append_unchecked(&batch);
    let client = broker.client().await;
    let mut consumer = client
        .consumer()
        .decompressed_bytes_max(50_000)
        .build()
        .unwrap();
    consumer.assign([whole()]).await.unwrap();
    let error = consumer.recv().await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { offset: 0, .. }), "{error}");
}

#[tokio::test]
async fn offsets_out_of_range_follow_the_reset_policy() {
    let broker = broker_with(&[&["a"], &["b"], &["c"]]).await;
    broker.state().log_of("t", 0).log_start_offset = 1;
    let client = broker.client().await;
    let mut consumer = client.consumer().build().unwrap();
    consumer
        .assign(from(Start::Offset(0)).map(Assignment::until_end))
        .await
        .unwrap();
    assert_eq!(rest(&mut consumer).await, ["b", "c"]);
    let mut consumer = client
        .consumer()
        .offset_reset(OffsetReset::Latest)
        .build()
        .unwrap();
    consumer
        .assign(from(Start::Offset(0)).map(Assignment::until_end))
        .await
        .unwrap();
    assert!(rest(&mut consumer).await.is_empty());
    let mut consumer = client
        .consumer()
        .offset_reset(OffsetReset::Fail)
        .build()
        .unwrap();
    consumer
        .assign(from(Start::Offset(0)).map(Assignment::until_end))
        .await
        .unwrap();
    for _ in 0..2 {
        let error = consumer.recv().await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::OffsetOutOfRange {
                    offset: 0,
                    log_start_offset: 1,
                    high_watermark: 3,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_where_it_broke() {
    let broker = FakeBroker::start(1).await;
    let values: Vec<_> = (0..60).map(|index| index.to_string()).collect();
    values.iter().for_each(|value| broker.append(0, &[value]));
    broker.state().fetch_frames_before_break = Some(20);
    let mut consumer = consumer_of(&broker).await;
    consumer.assign([whole()]).await.unwrap();
    assert_eq!(rest(&mut consumer).await, values);
    let added = broker.state().fetches_added.clone();
    assert_eq!(added, [(0, 0), (0, 20), (0, 40)]);
}

#[tokio::test]
async fn broken_connections_lose_and_duplicate_nothing() {
    let broker = FakeBroker::start(1).await;
    let mut consumer = consumer_of(&broker).await;
    consumer.assign(from(Start::Earliest)).await.unwrap();
    for index in 0..60 {
        broker.append(0, &[&index.to_string()]);
        if index % 20 == 10 {
            broker.proxy.break_connections();
        }
        assert_eq!(next(&mut consumer).await, index.to_string());
    }
}

#[tokio::test]
async fn retriable_refusals_of_a_partition_are_ridden_out() {
    let broker = broker_with(&[&["a"]]).await;
    broker.state().fetch_refusals =
        vec![ErrorCode::NotLeaderOrFollower, ErrorCode::KafkaStorageError];
    let mut consumer = consumer_of(&broker).await;
    consumer.assign([whole()]).await.unwrap();
    assert_eq!(rest(&mut consumer).await, ["a"]);
}

#[tokio::test]
async fn a_topic_that_is_deleted_or_created_anew_stops_its_partitions() {
    let broker = broker_with(&[&["a"]]).await;
    let mut consumer = consumer_of(&broker).await;
    consumer.assign(from(Start::Earliest)).await.unwrap();
    next(&mut consumer).await;
    broker.change(|state| state.create_topic("t", 1));
    broker.proxy.break_connections();
    let error = consumer.recv().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicId), "{error}");
    consumer.assign(from(Start::Earliest)).await.unwrap();
    broker.append(0, &["new"]);
    assert_eq!(next(&mut consumer).await, "new");
    broker.change(|state| state.topics.clear());
    broker.proxy.break_connections();
    let error = consumer.recv().await.unwrap_err();
    assert_eq!(
        error.code(),
        Some(ErrorCode::UnknownTopicOrPartition),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_read_ahead_is_bounded_by_credit() {
    let broker = FakeBroker::start(1).await;
    let value = "x".repeat(10_000);
    (0..100).for_each(|_| broker.append(0, &[&value]));
    let client = broker.client().await;
    let mut consumer = client.consumer().prefetch_bytes(50_000).build().unwrap();
    consumer.assign([whole()]).await.unwrap();
    assert_eq!(rest(&mut consumer).await.len(), 100);
    let most = broker.state().largest_sent_ahead;
    assert!((40_000..=50_000 + 10_100).contains(&most), "{most}");
}

#[tokio::test]
async fn assignments_that_cannot_be_are_refused_and_change_nothing() {
    let broker = broker_with(&[&["a"]]).await;
    let mut consumer = consumer_of(&broker).await;
    consumer.assign([whole()]).await.unwrap();
    let refused = consumer
        .assign([Assignment::topic("nobody")])
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::UnknownTopicOrPartition));
    let refused = consumer
        .assign([Assignment::partition("t", 1)])
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
    let refused = consumer
        .assign([whole(), Assignment::partition("t", 0)])
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("t-0 twice"), "{refused}");
    let refused = consumer.assign(from(Start::Offset(-1))).await.unwrap_err();
    assert!(matches!(refused, Error::Config { .. }));
    assert_eq!(rest(&mut consumer).await, ["a"]);
}

#[tokio::test]
async fn try_recv_does_not_wait() {
    let broker = broker_with(&[]).await;
    let mut consumer = consumer_of(&broker).await;
    consumer.assign(from(Start::Earliest)).await.unwrap();
    assert!(consumer.try_recv().unwrap().is_none());
    broker.append(0, &["a", "b"]);
    next(&mut consumer).await;
    assert_eq!(text(&consumer.try_recv().unwrap().unwrap()), "b");
}
