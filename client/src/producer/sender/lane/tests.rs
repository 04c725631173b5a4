//! Steps of a lane: what is sent after which answer, and with which identity.

use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use millstream_proto::{
    grpc::v1,
    record::{Batch, BatchOptions},
};

use super::*;
use crate::{
    connection::TopicMetadata,
    producer::{accumulator::BatchPolicy, record::Record},
};

const LINGER: Duration = Duration::from_millis(5);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// As the pauses of these tests have no jitter.
const BACKOFF: Duration = Duration::from_millis(100);
const NO_JITTER: f64 = 0.5;
const STREAM: u64 = 1;

/// What a batch says of itself: producer id, epoch, first sequence, records.
type Label = (i64, i16, i32, u32);

/// A lane, its clock, and what the producer knows.
struct Steps {
    lane: Lane,
    config: LaneConfig,
    now: Instant,
    producer_id: Option<(ProducerId, ProducerEpoch)>,
    batches: u64,
    requests: u64,
}

fn topic() -> Arc<TopicState> {
    let description = v1::TopicDescription {
        name: "steps".to_owned(),
        topic_id: Bytes::from_static(&[7; 16]),
        partitions: vec![v1::PartitionDescription::default()],
        ..v1::TopicDescription::default()
    };
    let metadata = TopicMetadata::from_wire(description, "broker:9192", Instant::now());
    let metadata = Arc::new(metadata.expect("a topic with one partition"));
    Arc::new(TopicState::new(metadata, &AtomicU64::new(0)))
}

fn error(code: ErrorCode) -> Error {
    Error::from_wire(v1::Error {
        code: code.number().into(),
        name: code.name().to_owned(),
        retriable: code.is_retriable(),
        ..v1::Error::default()
    })
}

fn label(batch: &FinishedBatch) -> Label {
    let parsed = Batch::parse(batch.bytes.clone()).expect("one batch");
    assert_eq!(parsed.record_count(), batch.record_count);
    (
        parsed.producer_id().0,
        parsed.producer_epoch().0,
        parsed.base_sequence(),
        batch.record_count,
    )
}

impl Steps {
    fn new() -> Self {
        let config = LaneConfig {
            idempotent: true,
            in_flight_max: 5,
            linger: LINGER,
            delivery_timeout: DELIVERY_TIMEOUT,
            retry_backoff: (BACKOFF, BACKOFF),
        };
        let topic = topic();
        let queue = topic.queues().remove(0);
        Self {
            lane: Lane::new(topic, queue, &config),
            config,
            now: Instant::now(),
            producer_id: Some((ProducerId(40), ProducerEpoch(0))),
            batches: 0,
            requests: 0,
        }
    }

    /// Queues a batch that does not linger.
    fn queue(&mut self, records: u32) {
        self.open(records);
        self.lane.queue.force();
        // The queue has looked at the clock itself.
        self.now = self.now.max(Instant::now());
    }

    /// Queues a batch that stays open.
    fn open(&mut self, records: u32) {
        let policy = BatchPolicy {
            options: BatchOptions::default(),
            batch_bytes: 1 << 20,
        };
        for number in 0..records {
            let record = Record::to("steps").value(format!("value {number}"));
            let open = |partition| {
                self.batches += 1;
                (self.batches, Arc::new(Completion::new(partition)))
            };
            let appended = self.lane.queue.append(&record, 0, 10, policy, open);
            appended.expect("the queue is open");
        }
    }

    fn next(&mut self) -> Next {
        self.lane.next(self.now, &self.config, self.producer_id)
    }

    /// Sends the next batch; its request id and label.
    fn send(&mut self) -> (u64, Label) {
        match self.next() {
            Next::Send(batch) => {
                self.requests += 1;
                let label = label(&batch);
                self.lane.sent(self.requests, STREAM, batch);
                (self.requests, label)
            }
            other => panic!("expected a batch, found {other:?}"),
        }
    }

    fn waits(&mut self) -> Option<Instant> {
        match self.next() {
            Next::Wait(until) => until,
            other => panic!("expected to wait, found {other:?}"),
        }
    }

    fn refuse(&mut self, request: u64, code: ErrorCode) -> Refusal {
        self.lane.refused(request, error(code), self.now, NO_JITTER)
    }

    fn retried(&mut self, request: u64, code: ErrorCode) {
        let refusal = self.refuse(request, code);
        assert!(matches!(refusal, Refusal::Retried), "{code:?}: {refusal:?}");
    }

    fn after_backoff(&mut self) {
        assert_eq!(self.waits(), Some(self.now + BACKOFF));
        self.now += BACKOFF;
    }
}

#[test]
fn batches_are_numbered_on_and_no_more_than_allowed_are_in_flight() {
    let mut steps = Steps::new();
    for records in 1..=6 {
        steps.queue(records);
    }
    let sent: Vec<_> = (0..5).map(|_| steps.send()).collect();
    let labels: Vec<_> = sent.iter().map(|(_, label)| *label).collect();
    let sequences = [(0, 1), (1, 2), (3, 3), (6, 4), (10, 5)];
    assert_eq!(
        labels,
        sequences.map(|(sequence, count)| (40, 0, sequence, count))
    );
    assert_eq!(steps.waits(), None, "until an answer comes");
    let (first, _) = sent[0];
    assert!(steps.lane.acknowledged(first).is_some());
    assert_eq!(steps.send().1, (40, 0, 15, 6));
}

#[test]
fn an_open_batch_lingers_and_a_full_one_does_not() {
    let mut steps = Steps::new();
    steps.open(1);
    let created_at = steps.lane.queue.oldest().expect("a batch");
    steps.now = created_at;
    assert_eq!(steps.waits(), Some(created_at + LINGER));
    steps.now = created_at + LINGER;
    assert_eq!(steps.send().1, (40, 0, 0, 1));
    steps.queue(1);
    steps.now = steps.lane.queue.oldest().expect("a batch");
    assert_eq!(steps.send().1, (40, 0, 1, 1));
}

#[test]
fn nothing_is_sent_without_a_producer_id() {
    let mut steps = Steps::new();
    steps.producer_id = None;
    steps.queue(1);
    assert!(matches!(steps.next(), Next::ProducerId { not: None }));
    steps.config.idempotent = false;
    assert_eq!(steps.send().1, (-1, -1, -1, 1));
}

#[test]
fn nothing_behind_a_refused_batch_is_sent_before_it() {
    let mut steps = Steps::new();
    (0..3).for_each(|_| steps.queue(1));
    let (first, label) = steps.send();
    let (second, _) = steps.send();
    steps.retried(first, ErrorCode::NotEnoughReplicas);
    steps.after_backoff();
    assert_eq!(steps.waits(), None, "until the second is answered");
    // It cannot be in the log: the one before it is missing there.
    steps.retried(second, ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(steps.send().1, label);
    assert_eq!(steps.send().1, (40, 0, 1, 1));
    assert_eq!(steps.send().1, (40, 0, 2, 1));
}

#[test]
fn a_gap_before_the_oldest_batch_renews_the_epoch_once_all_have_come_back() {
    let mut steps = Steps::new();
    (0..3).for_each(|_| steps.queue(2));
    let (first, _) = steps.send();
    assert!(steps.lane.acknowledged(first).is_some());
    let (second, _) = steps.send();
    let (third, _) = steps.send();
    steps.retried(second, ErrorCode::OutOfOrderSequenceNumber);
    steps.after_backoff();
    assert_eq!(steps.waits(), None, "until the third is answered");
    steps.retried(third, ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(steps.send().1, (40, 1, 0, 2));
    assert_eq!(steps.send().1, (40, 1, 2, 2));
}

#[test]
fn after_the_last_epoch_comes_another_producer_id() {
    let mut steps = Steps::new();
    steps.producer_id = Some((ProducerId(40), ProducerEpoch(i16::MAX)));
    steps.queue(1);
    let (first, _) = steps.send();
    steps.retried(first, ErrorCode::OutOfOrderSequenceNumber);
    steps.after_backoff();
    let old = Some(ProducerId(40));
    assert!(matches!(steps.next(), Next::ProducerId { not } if not == old));
    steps.producer_id = Some((ProducerId(41), ProducerEpoch(0)));
    assert_eq!(steps.send().1, (41, 0, 0, 1));
}

#[test]
fn a_refused_identity_is_replaced_where_nothing_can_have_been_written_with_it() {
    for code in [
        ErrorCode::InvalidProducerEpoch,
        ErrorCode::InvalidProducerIdMapping,
        ErrorCode::UnknownProducerId,
        ErrorCode::ProducerFenced,
    ] {
        let mut steps = Steps::new();
        steps.queue(3);
        let (first, _) = steps.send();
        steps.retried(first, code);
        assert!(matches!(steps.next(), Next::ProducerId { .. }), "{code:?}");
        steps.producer_id = Some((ProducerId(41), ProducerEpoch(0)));
        let (second, label) = steps.send();
        assert_eq!(label, (41, 0, 0, 3), "{code:?}");

        steps.lane.retry_sent_on(STREAM);
        let (third, label) = steps.send();
        assert_eq!((second + 1, label), (third, (41, 0, 0, 3)), "{code:?}");
        // Under another identity the broker would not know it again.
        let refusal = steps.refuse(third, code);
        assert!(
            matches!(&refusal, Refusal::Failed(batch, _) if batch.maybe_written),
            "{code:?}: {refusal:?}"
        );
    }
}

#[test]
fn what_is_in_the_log_already_is_written() {
    let mut steps = Steps::new();
    steps.queue(1);
    let (first, _) = steps.send();
    let refusal = steps.refuse(first, ErrorCode::DuplicateSequenceNumber);
    assert!(matches!(refusal, Refusal::Written(_)), "{refusal:?}");
}

#[test]
fn final_refusals_fail_and_what_follows_goes_on() {
    let mut steps = Steps::new();
    steps.queue(1);
    let (first, _) = steps.send();
    let refusal = steps.refuse(first, ErrorCode::InvalidRecord);
    assert!(
        matches!(&refusal, Refusal::Failed(batch, _) if !batch.maybe_written),
        "{refusal:?}"
    );
    steps.queue(1);
    assert_eq!(steps.send().1, (40, 0, 1, 1));
}

#[test]
fn a_batch_that_is_too_large_is_halved_under_its_own_sequences() {
    let mut steps = Steps::new();
    steps.queue(5);
    steps.queue(1);
    let (first, _) = steps.send();
    let (second, _) = steps.send();
    steps.retried(first, ErrorCode::MessageTooLarge);
    steps.retried(second, ErrorCode::OutOfOrderSequenceNumber);
    let (half, label) = steps.send();
    assert_eq!(label, (40, 0, 0, 2));
    assert_eq!(steps.send().1, (40, 0, 2, 3));
    assert_eq!(steps.send().1, (40, 0, 5, 1));
    steps.retried(half, ErrorCode::MessageTooLarge);
}

#[test]
fn a_single_record_that_is_too_large_fails() {
    let mut steps = Steps::new();
    steps.queue(1);
    let (first, _) = steps.send();
    let refusal = steps.refuse(first, ErrorCode::MessageTooLarge);
    assert!(matches!(refusal, Refusal::Failed(..)), "{refusal:?}");
}

/// Its halves would not be known again as the batch that is in the log, and be stored beside it.
#[test]
fn a_batch_that_may_be_in_the_log_is_not_halved() {
    let mut steps = Steps::new();
    steps.queue(4);
    steps.send();
    steps.lane.retry_sent_on(STREAM);
    // max.message.bytes was lowered meanwhile.
    let (again, _) = steps.send();
    let refusal = steps.refuse(again, ErrorCode::MessageTooLarge);
    assert!(
        matches!(&refusal, Refusal::Failed(batch, _) if batch.maybe_written),
        "{refusal:?}"
    );
}

#[test]
fn a_broken_stream_gives_back_its_batches_in_order_and_unchanged() {
    let mut steps = Steps::new();
    (1..=3).for_each(|records| steps.queue(records));
    let sent: Vec<_> = (0..3).map(|_| steps.send().1).collect();
    steps.lane.retry_sent_on(STREAM + 1);
    assert!(steps.lane.is_in_flight(1), "of another stream");
    steps.lane.retry_sent_on(STREAM);
    assert!(!steps.lane.is_in_flight(1));
    let again: Vec<_> = (0..3).map(|_| steps.send().1).collect();
    assert_eq!(again, sent);
}

#[test]
fn an_acknowledgement_ends_the_pause() {
    let mut steps = Steps::new();
    (0..2).for_each(|_| steps.queue(1));
    let (first, _) = steps.send();
    let (second, _) = steps.send();
    steps.retried(second, ErrorCode::NotEnoughReplicas);
    assert!(steps.waits().is_some());
    assert!(steps.lane.acknowledged(first).is_some());
    assert!(steps.lane.last_error.is_none());
    assert_eq!(steps.send().1, (40, 0, 1, 1));
}

#[test]
fn what_expires_in_flight_keeps_its_place_until_it_is_answered() {
    let mut steps = Steps::new();
    steps.queue(1);
    let (first, _) = steps.send();
    steps.queue(2);
    let expiry = steps.lane.next_expiry(&steps.config).expect("two batches");
    steps.now = expiry + LINGER;
    let expired = steps.lane.expired(steps.now, &steps.config);
    let maybe_written: Vec<_> = expired.iter().map(|batch| batch.maybe_written).collect();
    assert_eq!(maybe_written, [true, false], "one was sent, one never");
    assert!(!steps.lane.is_idle(), "an answer is due");
    let refusal = steps.refuse(first, ErrorCode::NotEnoughReplicas);
    assert!(matches!(refusal, Refusal::Abandoned), "{refusal:?}");
    assert!(steps.lane.is_idle());
}

#[test]
fn everything_can_be_taken_away() {
    let mut steps = Steps::new();
    (1..=3).for_each(|records| steps.queue(records));
    let (first, _) = steps.send();
    steps.send();
    steps.retried(first, ErrorCode::NotEnoughReplicas);
    let mut taken: Vec<_> = steps
        .lane
        .take_all()
        .iter()
        .map(|batch| (batch.record_count, batch.maybe_written))
        .collect();
    taken.sort_unstable();
    assert_eq!(taken, [(1, false), (2, true), (3, false)]);
}
