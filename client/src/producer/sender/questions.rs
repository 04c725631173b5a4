//! What the sender asks brokers: topics and producer ids. Each question is asked in a task of its own,
//! once at a time, and again after a pause where it could not be answered.

use std::{sync::Arc, time::Instant};

use millstream_proto::{
    ErrorCode, ProducerEpoch, ProducerId,
    grpc::v1::{self, producer_id_service_client::ProducerIdServiceClient},
};

use super::{Event, Sender};
use crate::{
    connection::{Backoff, Repeat, TopicMetadata},
    error::{Error, Result},
    producer::shared::Shared,
};

/// A question that is asked again after a pause where it could not be answered.
#[derive(Debug)]
pub(super) struct Question {
    is_open: bool,
    backoff: Backoff,
    not_before: Option<Instant>,
}

impl Question {
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        !self.is_open && self.not_before.is_none_or(|not_before| not_before <= now)
    }
}

impl Sender {
    /// Asks a broker for a topic, unless one is being asked or was just now; returns when to try again.
    pub(super) fn ask_topic(&mut self, topic: &str, now: Instant) -> Option<Instant> {
        let shared = &self.shared;
        let asked = self
            .topic_questions
            .entry(topic.to_owned())
            .or_insert_with(|| question(shared));
        if !asked.may_ask(now) {
            return asked.not_before.filter(|_| !asked.is_open);
        }
        asked.is_open = true;
        let (connection, events) = (Arc::clone(&shared.connection), self.event_sender.clone());
        let (topic, deadline) = (topic.to_owned(), connection.config.request_timeout);
        self.asking.spawn(async move {
            let result = connection.refresh_topic(&topic, deadline).await;
            let _ = events.send(Event::Metadata { topic, result }).await;
        });
        None
    }

    pub(super) fn topic_answered(&mut self, topic: &str, result: Result<Arc<TopicMetadata>>) {
        let Some(asked) = self.topic_questions.get_mut(topic) else {
            return;
        };
        asked.is_open = false;
        asked.not_before = Some(Instant::now() + asked.backoff.pause(rand::random()));
        match result {
            Ok(metadata) => {
                if let Some(state) = self.shared.topic(topic) {
                    let leads = metadata
                        .partitions
                        .iter()
                        .all(|partition| partition.leader.is_some());
                    if leads {
                        asked.backoff.succeeded();
                    }
                    state.update(metadata, &self.shared.next_queue_id);
                }
            }
            Err(error) if matches!(error, Error::Broker(_)) && !is_passing(&error) => {
                self.topic_questions.remove(topic);
                self.fail_topic(topic, &error);
            }
            Err(error) => self.note_error(|name| name == topic, &error),
        }
    }

    /// Fails everything of a topic that does not exist any more.
    pub(super) fn fail_topic(&mut self, topic: &str, error: &Error) {
        self.shared.forget_topic(topic);
        let mut failed = Vec::new();
        for lane in self.lanes.values_mut() {
            if lane.topic.metadata().name.as_str() == topic {
                failed.extend(lane.take_all());
            }
        }
        failed
            .into_iter()
            .for_each(|batch| self.finish(batch, Err(error.clone())));
        self.lanes.retain(|_, lane| !lane.is_idle());
    }

    pub(super) fn note_error(&mut self, concerns: impl Fn(&str) -> bool, error: &Error) {
        for queue_id in &self.active {
            if let Some(lane) = self.lanes.get_mut(queue_id)
                && concerns(lane.topic.metadata().name.as_str())
            {
                lane.last_error = Some(error.clone());
            }
        }
    }

    pub(super) fn producer_id_answered(&mut self, result: Result<(ProducerId, ProducerEpoch)>) {
        self.id_question.is_open = false;
        match result {
            Ok(producer_id) => {
                self.id_question.backoff.succeeded();
                self.producer_id = Some(producer_id);
            }
            Err(error) => {
                let pause = self.id_question.backoff.pause(rand::random());
                self.id_question.not_before = Some(Instant::now() + pause);
                self.note_error(|_| true, &error);
            }
        }
    }

    /// Asks a broker for a producer id other than `not`; returns when to try again.
    pub(super) fn ask_producer_id(
        &mut self,
        not: Option<ProducerId>,
        now: Instant,
    ) -> Option<Instant> {
        if self.producer_id.map(|(id, _)| id) == not {
            self.producer_id = None;
        }
        if !self.id_question.may_ask(now) {
            return self
                .id_question
                .not_before
                .filter(|_| !self.id_question.is_open);
        }
        self.id_question.is_open = true;
        let (connection, events) = (
            Arc::clone(&self.shared.connection),
            self.event_sender.clone(),
        );
        self.asking.spawn(async move {
            let deadline = connection.config.request_timeout;
            let answer = connection
                .call_any(
                    "getting a producer id",
                    deadline,
                    Repeat::Always,
                    |broker| {
                        let mut client = ProducerIdServiceClient::new(broker.admin.clone());
                        async move { client.init_producer_id(v1::InitProducerIdRequest {}).await }
                    },
                )
                .await;
            let result = answer.and_then(|(answer, broker)| read_producer_id(answer, &broker));
            let _ = events.send(Event::ProducerId(result)).await;
        });
        None
    }
}

pub(super) fn question(shared: &Shared) -> Question {
    let backoff = Backoff::new(shared.config.retry_backoff);
    Question {
        is_open: false,
        backoff,
        not_before: None,
    }
}

fn read_producer_id(
    answer: v1::InitProducerIdResponse,
    broker: &str,
) -> Result<(ProducerId, ProducerEpoch)> {
    if let Some(error) = answer.error {
        return Err(Error::from_wire(error));
    }
    let epoch = i16::try_from(answer.producer_epoch)
        .ok()
        .filter(|epoch| *epoch >= 0);
    match epoch {
        Some(epoch) if answer.producer_id >= 0 => {
            Ok((ProducerId(answer.producer_id), ProducerEpoch(epoch)))
        }
        _ => Err(Error::Protocol {
            broker: broker.to_owned(),
            reason: format!(
                "producer id {} epoch {}",
                answer.producer_id, answer.producer_epoch
            ),
        }),
    }
}

/// Whether a topic that is refused now may be there in a moment.
fn is_passing(error: &Error) -> bool {
    error.is_retriable()
        && !matches!(
            error.code(),
            Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId)
        )
}
