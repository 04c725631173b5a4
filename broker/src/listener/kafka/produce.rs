//! Produce: the batches of a request are appended as it is read, its answer waits for all of them.

mod response;

use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use millstream_proto::{ErrorCode, PartitionIndex, TopicId};

use super::{
    answer::{Answer, is_flexible},
    client::Client,
    codec::{self, Limits, ProduceTopic, TopicRef},
    dispatch::{Asked, Begun, Closing},
};
use crate::service::{
    ServiceError,
    produce::{AcksWanted, ProduceRequest, Produced},
};

/// What became of one partition of a request.
type Outcome = Result<Produced, ServiceError>;

/// Appends the batches of a request.
///
/// # Errors
/// A message that is none.
pub(super) fn begin(asked: Asked) -> Result<Begun, Closing> {
    let Asked {
        client,
        correlation_id,
        body,
        ..
    } = asked;
    let version = client.version;
    // Versions that are advertised and not served are refused here, too.
    let request = codec::ProduceRequest::read(&body, version, &Limits::default())?;
    let acks = acks_wanted(request.acks);
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    if client.services().appends_are_stalled() {
        let answering = async move {
            let outcomes = append_later(&client, &request, &acks, timeout).await;
            answer(correlation_id, version, &request, acks, outcomes).await
        };
        return Ok(Begun {
            answering: Box::pin(answering),
            // What follows must not overtake it.
            is_exclusive: true,
        });
    }
    let outcomes = append_now(&client, &request, &acks, timeout);
    let answering = async move { answer(correlation_id, version, &request, acks, outcomes).await };
    Ok(Begun {
        answering: Box::pin(answering),
        is_exclusive: false,
    })
}

fn acks_wanted(acks: i16) -> Result<AcksWanted, ServiceError> {
    match acks {
        -1 => Ok(AcksWanted::All),
        1 => Ok(AcksWanted::Leader),
        0 => Ok(AcksWanted::None),
        _ => Err(ServiceError::new(
            ErrorCode::InvalidRequiredAcks,
            format!("acks is {acks}, expected -1, 0 or 1"),
            "set acks to all, 0 or 1",
        )),
    }
}

/// The appends of a request, in order; each is an error where there is nothing to append.
fn appends<'a>(
    client: &'a Client,
    request: &'a codec::ProduceRequest,
    acks: &'a Result<AcksWanted, ServiceError>,
    timeout: Duration,
) -> impl Iterator<Item = Result<ProduceRequest, ServiceError>> + 'a {
    request.topics.iter().flat_map(move |topic| {
        let topic_id = find(client, topic);
        request.partitions_of(topic).iter().map(move |partition| {
            Ok(ProduceRequest {
                topic_id: topic_id.clone()?,
                partition: PartitionIndex(partition.index),
                acks: acks.clone()?,
                leader_epoch: None,
                timeout: Some(timeout),
                batch: partition.records.clone().unwrap_or_default(),
            })
        })
    })
}

fn find(client: &Client, topic: &ProduceTopic) -> Result<TopicId, ServiceError> {
    match &topic.name {
        TopicRef::Id(id) => Ok(*id),
        TopicRef::Name(name) => client.services().topic_id(&String::from_utf8_lossy(name)),
    }
}

fn append_now(
    client: &Client,
    request: &codec::ProduceRequest,
    acks: &Result<AcksWanted, ServiceError>,
    timeout: Duration,
) -> Vec<Outcome> {
    let (services, context) = (client.services(), client.context());
    let mut outcomes = Vec::with_capacity(request.partitions.len());
    for append in appends(client, request, acks, timeout) {
        outcomes.push(append.and_then(|append| services.append_now(&context, append)));
    }
    outcomes
}

async fn append_later(
    client: &Client,
    request: &codec::ProduceRequest,
    acks: &Result<AcksWanted, ServiceError>,
    timeout: Duration,
) -> Vec<Outcome> {
    let (services, context) = (client.services(), client.context());
    let mut outcomes = Vec::with_capacity(request.partitions.len());
    let appends: Vec<_> = appends(client, request, acks, timeout).collect();
    for append in appends {
        outcomes.push(match append {
            Ok(append) => services.append_later(&context, append).await,
            Err(error) => Err(error),
        });
    }
    outcomes
}

/// Waits until everything is as safe as was asked, and says so.
async fn answer(
    correlation_id: i32,
    version: i16,
    request: &codec::ProduceRequest,
    acks: Result<AcksWanted, ServiceError>,
    outcomes: Vec<Outcome>,
) -> Result<Option<Answer>, Closing> {
    let mut settled = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        settled.push(settle(outcome).await);
    }
    if matches!(acks, Ok(AcksWanted::None)) {
        // The only way to tell a client that does not wait for an answer.
        return match settled.into_iter().find_map(Result::err) {
            Some(error) => Err(Closing::Unacknowledged(error.to_string())),
            None => Ok(None),
        };
    }
    let mut message = Answer::begin(correlation_id, is_flexible(ApiKey::Produce, version));
    response::write(&mut message, version, request, &settled);
    Ok(Some(Answer::framed(message)))
}

async fn settle(outcome: Outcome) -> Outcome {
    let mut produced = outcome?;
    if let Some(acknowledgement) = produced.acknowledgement.take() {
        acknowledgement.await?;
    }
    Ok(produced)
}
