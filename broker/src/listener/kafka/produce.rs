//! Produce: the batches of a request are appended as it is read, its answer waits for all of them.

mod response;

use std::{collections::VecDeque, time::Duration};

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
    produce::{AcksWanted, NotNow, ProduceRequest, Produced},
};

/// What is still to be appended of a request.
type Appends = VecDeque<Result<ProduceRequest, ServiceError>>;

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
    let mut request = codec::ProduceRequest::read(body, version, &Limits::default())?;
    let acks = acks_wanted(request.acks);
    let mut appends = VecDeque::from(appends(&client, &mut request, &acks));
    let mut outcomes = Vec::with_capacity(appends.len());
    if !client.services().appends_are_stalled() {
        append_now(&client, &mut appends, &mut outcomes);
    }
    // What follows must not overtake it.
    let is_exclusive = !appends.is_empty();
    let answering = async move {
        append_later(&client, appends, &mut outcomes).await;
        answer(correlation_id, version, &request, acks, outcomes).await
    };
    Ok(Begun {
        answering: Box::pin(answering),
        is_exclusive,
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

/// Takes the appends out of a request, in order; each is an error where there is nothing to append.
fn appends(
    client: &Client,
    request: &mut codec::ProduceRequest,
    acks: &Result<AcksWanted, ServiceError>,
) -> Vec<Result<ProduceRequest, ServiceError>> {
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut appends = Vec::with_capacity(request.partitions.len());
    for topic in &request.topics {
        let topic_id = find(client, topic);
        let own = request.partitions.get_mut(topic.partitions.clone());
        for partition in own.unwrap_or_default() {
            appends.push(topic_id.clone().and_then(|topic_id| {
                Ok(ProduceRequest {
                    topic_id,
                    partition: PartitionIndex(partition.index),
                    acks: acks.clone()?,
                    leader_epoch: None,
                    timeout: Some(timeout),
                    batch: partition.records.take().unwrap_or_default(),
                })
            }));
        }
    }
    appends
}

fn find(client: &Client, topic: &ProduceTopic) -> Result<TopicId, ServiceError> {
    match &topic.name {
        TopicRef::Id(id) => Ok(*id),
        TopicRef::Name(name) => client.services().topic_id(&String::from_utf8_lossy(name)),
    }
}

/// Appends up to the first batch that takes long, which stays with what follows it.
fn append_now(client: &Client, appends: &mut Appends, outcomes: &mut Vec<Outcome>) {
    let (services, context) = (client.services(), client.context());
    while let Some(append) = appends.pop_front() {
        let appended = append.map_err(NotNow::from);
        match appended.and_then(|append| services.append_now(&context, append)) {
            Ok(produced) => outcomes.push(Ok(produced)),
            Err(NotNow::Refused(error)) => outcomes.push(Err(error)),
            Err(NotNow::Lengthy(append)) => return appends.push_front(Ok(append)),
        }
    }
}

async fn append_later(client: &Client, appends: Appends, outcomes: &mut Vec<Outcome>) {
    let (services, context) = (client.services(), client.context());
    for append in appends {
        outcomes.push(match append {
            Ok(append) => services.append_later(&context, append).await,
            Err(error) => Err(error),
        });
    }
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
    let failed = settled.iter().filter_map(|outcome| outcome.as_ref().err());
    let errors = failed.map(|error| error.code).collect();
    if matches!(acks, Ok(AcksWanted::None)) {
        // The only way to tell a client that does not wait for an answer.
        return match settled.into_iter().find_map(Result::err) {
            Some(error) => Err(Closing::Unacknowledged {
                reason: error.to_string(),
                errors,
            }),
            None => Ok(None),
        };
    }
    let mut message = Answer::begin(correlation_id, is_flexible(ApiKey::Produce, version));
    response::write(&mut message, version, request, &settled);
    Ok(Some(Answer::framed(message, errors)))
}

async fn settle(outcome: Outcome) -> Outcome {
    let mut produced = outcome.map_err(as_kafka_says)?;
    if let Some(acknowledgement) = produced.acknowledgement.take() {
        acknowledgement.await?;
    }
    Ok(produced)
}

/// A disk that is behind its producers is no quota to clients of Kafka: librdkafka takes that for final, and sends a
/// batch again after an error of the disk (`rd_kafka_err_action`).
fn as_kafka_says(error: ServiceError) -> ServiceError {
    match error.code {
        ErrorCode::ThrottlingQuotaExceeded => ServiceError {
            code: ErrorCode::KafkaStorageError,
            ..error
        },
        _ => error,
    }
}
