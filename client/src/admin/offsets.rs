//! Offsets: look up by position or time; delete records below one.
//!
//! Both ask the leader of each partition, one call a leader, and ask again until the deadline what an
//! error that passes has kept from being done: `per_leader` is that loop, `round` one turn of it.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use millstream_proto::{
    ErrorCode,
    grpc::v1::{self, offset_service_client::OffsetServiceClient},
};
use tonic::transport::Channel;

use super::{Admin, pair, refusal};
use crate::{
    connection::{ANSWER_BYTES_MAX, Backoff, Broker, TopicMetadata},
    error::{Error, Result},
    isolation::IsolationLevel,
};

/// Which offset of a partition is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetSpec {
    /// The first offset there is.
    Earliest,
    /// The end of the log as the isolation level sees it.
    Latest,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// The first record with this time or a later one, in milliseconds since the epoch.
    TimestampMs(i64),
}

/// An offset that was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedOffset {
    /// The offset; `None` where no record answers.
    pub offset: Option<i64>,
    /// Time of the record found, in milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// The leadership that answered.
    pub leader_epoch: i32,
}

impl OffsetSpec {
    pub(crate) const fn to_wire(self) -> v1::offset_query::Spec {
        use v1::offset_query::Spec;
        match self {
            Self::Earliest => Spec::Earliest(true),
            Self::Latest => Spec::Latest(true),
            Self::MaxTimestamp => Spec::MaxTimestamp(true),
            Self::TimestampMs(timestamp_ms) => Spec::TimestampMs(timestamp_ms),
        }
    }
}

fn listed(result: v1::OffsetResult) -> Result<ListedOffset> {
    refusal(result.error)?;
    Ok(ListedOffset {
        offset: Some(result.offset).filter(|offset| *offset >= 0),
        timestamp_ms: Some(result.timestamp_ms).filter(|time| *time >= 0),
        leader_epoch: result.leader_epoch,
    })
}

fn client(broker: &Broker) -> OffsetServiceClient<Channel> {
    OffsetServiceClient::new(broker.admin.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// What became of one item of a call in one round.
type Attempt<T> = Result<Result<T>, Passing>;

/// An error that the next round may not meet.
struct Passing(Error);

/// How one kind of call is made, item by item.
struct PerLeader<'a, Q, P, W, R> {
    items: &'a [Q],
    place: P,
    to_wire: W,
    read: R,
}

impl Admin {
    /// Looks up offsets, one for each (topic, partition, spec). One result per item, in order.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn list_offsets(
        &self,
        queries: &[(&str, i32, OffsetSpec)],
        isolation: IsolationLevel,
    ) -> Result<Vec<Result<ListedOffset>>> {
        let items = PerLeader {
            items: queries,
            place: |query: &(&str, i32, OffsetSpec)| (query.0.to_owned(), query.1),
            to_wire: |topic: &TopicMetadata, query: &(&str, i32, OffsetSpec)| v1::OffsetQuery {
                topic_id: topic.id_bytes.clone(),
                partition: query.1,
                spec: Some(query.2.to_wire()),
            },
            read: listed,
        };
        self.per_leader(items, |broker, queries, deadline| async move {
            let request = v1::ListOffsetsRequest {
                isolation_level: isolation.to_wire().into(),
                queries,
            };
            let call =
                |broker: Arc<Broker>| async move { client(&broker).list_offsets(request).await };
            let answer = self
                .connection
                .call_one("listing offsets", &broker, deadline, call)
                .await;
            answer.map(|answer| answer.results)
        })
        .await
    }

    /// Deletes records below an offset, `None` for all up to the high watermark, for each
    /// (topic, partition, offset). Each result is the new log start offset, once that is durable.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the records of each partition deleted or not.
    pub async fn delete_records(
        &self,
        items: &[(&str, i32, Option<i64>)],
    ) -> Result<Vec<Result<i64>>> {
        let items = PerLeader {
            items,
            place: |item: &(&str, i32, Option<i64>)| (item.0.to_owned(), item.1),
            to_wire: |topic: &TopicMetadata, item: &(&str, i32, Option<i64>)| {
                v1::DeleteRecordsItem {
                    topic_id: topic.id_bytes.clone(),
                    partition: item.1,
                    before_offset: item.2.unwrap_or(-1),
                }
            },
            read: |result: v1::DeleteRecordsResult| {
                refusal(result.error).map(|()| result.log_start_offset)
            },
        };
        self.per_leader(items, |broker, items, deadline| async move {
            let request = v1::DeleteRecordsRequest { items };
            let call =
                |broker: Arc<Broker>| async move { client(&broker).delete_records(request).await };
            let answer = self
                .connection
                .call_one("deleting records", &broker, deadline, call)
                .await;
            answer.map(|answer| answer.results)
        })
        .await
    }

    /// Sends each item to the leader of its partition, one call per leader, and tries again until
    /// the deadline what a retriable error has kept from being done. Both calls are the same done
    /// twice.
    async fn per_leader<Q, P, W, R, I, A, T, C, F>(
        &self,
        items: PerLeader<'_, Q, P, W, R>,
        call: C,
    ) -> Result<Vec<Result<T>>>
    where
        P: Fn(&Q) -> (String, i32),
        W: Fn(&TopicMetadata, &Q) -> I,
        R: Fn(A) -> Result<T>,
        C: Fn(Arc<Broker>, Vec<I>, Duration) -> F,
        F: Future<Output = Result<Vec<A>>>,
    {
        let end = Instant::now() + self.deadline;
        let mut backoff = Backoff::new(self.connection.config.reconnect_backoff);
        let mut done: Vec<Option<Result<T>>> = items.items.iter().map(|_| None).collect();
        loop {
            let open = done
                .iter()
                .enumerate()
                .filter(|(_, result)| result.is_none());
            let open: Vec<_> = open.map(|(index, _)| index).collect();
            let mut passing = Vec::new();
            for (index, attempt) in self.round(&items, open, &call, end).await {
                match (attempt, done.get_mut(index)) {
                    (Ok(result), Some(slot)) => *slot = Some(result),
                    (Err(Passing(error)), Some(_)) => passing.push((index, error)),
                    (_, None) => {}
                }
            }
            let pause_end = Instant::now() + backoff.pause(rand::random());
            if passing.is_empty() || pause_end >= end {
                for (index, error) in passing {
                    done.get_mut(index)
                        .into_iter()
                        .for_each(|slot| *slot = Some(Err(error.clone())));
                }
                return Ok(done.into_iter().flatten().collect());
            }
            for (index, _) in passing {
                let place = items.items.get(index).map(&items.place);
                place
                    .into_iter()
                    .for_each(|(topic, _)| self.connection.metadata.remove(&topic));
            }
            tokio::time::sleep_until(pause_end.into()).await;
        }
    }

    /// One call to each leader of the items at `open`.
    async fn round<Q, P, W, R, I, A, T, C, F>(
        &self,
        items: &PerLeader<'_, Q, P, W, R>,
        open: Vec<usize>,
        call: &C,
        end: Instant,
    ) -> Vec<(usize, Attempt<T>)>
    where
        P: Fn(&Q) -> (String, i32),
        W: Fn(&TopicMetadata, &Q) -> I,
        R: Fn(A) -> Result<T>,
        C: Fn(Arc<Broker>, Vec<I>, Duration) -> F,
        F: Future<Output = Result<Vec<A>>>,
    {
        let mut attempts = Vec::new();
        let mut groups: BTreeMap<Arc<str>, Vec<(usize, I)>> = BTreeMap::new();
        for index in open {
            let Some(item) = items.items.get(index) else {
                continue;
            };
            let (topic, partition) = (items.place)(item);
            match self.route(&topic, partition, end).await {
                Ok((topic, leader)) => {
                    let wire = (items.to_wire)(&topic, item);
                    groups.entry(leader).or_default().push((index, wire));
                }
                Err(attempt) => attempts.push((index, attempt.map(Err))),
            }
        }
        let calls = groups.into_iter().map(async |(leader, group)| {
            let (indices, wire): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            let left = end.saturating_duration_since(Instant::now());
            let answers = match self.connection.broker(&leader) {
                Ok(broker) => call(broker, wire, left).await,
                Err(error) => Err(error),
            };
            match answers.and_then(|all| pair(indices.iter().copied(), all, &leader, &items.read)) {
                Ok(results) => results
                    .into_iter()
                    .map(|(index, result)| (index, attempt_of(result)))
                    .collect(),
                Err(error) => indices
                    .into_iter()
                    .map(|index| (index, attempt_of(Err(error.clone()))))
                    .collect::<Vec<_>>(),
            }
        });
        attempts.extend(
            futures_util::future::join_all(calls)
                .await
                .into_iter()
                .flatten(),
        );
        attempts
    }

    /// Where an item goes; `Err(Ok(..))` where it goes nowhere for good.
    async fn route(
        &self,
        topic: &str,
        partition: i32,
        end: Instant,
    ) -> Result<(Arc<TopicMetadata>, Arc<str>), Result<Error, Passing>> {
        let left = end.saturating_duration_since(Instant::now());
        let topic = self.connection.topic(topic, left).await.map_err(Ok)?;
        topic.check_partition(partition).map_err(Ok)?;
        match topic
            .leader(partition)
            .map(|leader| Arc::clone(&leader.address))
        {
            Some(leader) => Ok((topic, leader)),
            None => Err(Err(Passing(no_leader(&topic, partition)))),
        }
    }
}

/// Sorts out the errors that the next round may not meet. A broker that is not there is none of
/// them: that is better said at once.
fn attempt_of<T>(result: Result<T>) -> Attempt<T> {
    match result {
        Err(error) if error.is_retriable() && !matches!(error, Error::Unreachable { .. }) => {
            Err(Passing(error))
        }
        result => Ok(result),
    }
}

/// The broker would refuse with this, were there one to ask.
pub(crate) fn no_leader(topic: &TopicMetadata, partition: i32) -> Error {
    Error::from_wire(v1::Error {
        code: ErrorCode::LeaderNotAvailable.number().into(),
        name: ErrorCode::LeaderNotAvailable.name().to_owned(),
        message: format!("partition {}-{partition} has no leader", topic.name),
        retriable: true,
        ..v1::Error::default()
    })
}
