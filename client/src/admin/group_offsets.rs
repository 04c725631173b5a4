//! Committed offsets of groups: list, commit, delete.
//!
//! Commits here come from outside of a group: the coordinator takes them only while the group has no
//! members. Those of a member carry its epoch and are sent by `consumer/group/commit_sender.rs`, which
//! shares the types.

use std::{collections::BTreeMap, sync::Arc};

use millstream_proto::{
    ErrorCode,
    grpc::v1::{self, CommitOffsetsRequest},
};

use super::{
    Admin,
    groups::{Attempts, client},
    pair, refusal,
};
use crate::{
    connection::{Broker, Repeat},
    error::{Error, Result},
};

/// The epoch of who is no member.
pub(crate) const NO_MEMBER_EPOCH: i32 = -1;

/// An offset to be committed.
///
/// ```
/// use millstream::CommitOffset;
///
/// let next = CommitOffset::new("flights", 3, 1_000).metadata("after the audit");
/// # drop(next);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct CommitOffset {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

impl CommitOffset {
    /// `offset` is that of the next record to read.
    pub fn new(topic: impl Into<String>, partition: i32, offset: i64) -> Self {
        Self {
            topic: topic.into(),
            partition,
            offset,
            metadata: String::new(),
        }
    }

    /// A text that is kept with the offset. Default empty.
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

/// An offset that is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read, -1 for unknown.
    pub leader_epoch: i32,
    /// The text that was committed with it.
    pub metadata: String,
    /// When, in milliseconds since the epoch.
    pub commit_timestamp_ms: i64,
}

/// A partition and what is committed for it.
type Listed = ((String, i32), Result<Option<CommittedOffset>>);

impl Admin {
    /// Lists what a group has committed: for the given (topic, partition)s, in their order, or for all
    /// with a commit where none is given. `None` where nothing is committed.
    ///
    /// # Errors
    /// What kept the cluster from being asked, or the group from being read.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn list_group_offsets(
        &self,
        group: &str,
        partitions: &[(&str, i32)],
    ) -> Result<Vec<Listed>> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        let mut attempts = Attempts::new(self);
        let mut asked = Vec::with_capacity(topics.len());
        for (topic, partitions) in topics {
            // A topic that is gone may still have commits, which are found by its name.
            let known = self.connection.topic(topic, attempts.left()).await.ok();
            asked.push(v1::TopicPartitions {
                topic_id: known
                    .map(|known| known.id_bytes.clone())
                    .unwrap_or_default(),
                topic: topic.to_owned(),
                partitions,
            });
        }
        let request = v1::FetchOffsetsRequest {
            group_id: group.to_owned(),
            member_id: String::new(),
            member_epoch: NO_MEMBER_EPOCH,
            partitions: asked,
        };
        let offsets = loop {
            let call = |broker: Arc<Broker>| {
                let request = request.clone();
                async move { client(&broker).fetch_offsets(request).await }
            };
            let (answer, _) = self
                .connection
                .call_any(
                    "listing offsets of a group",
                    attempts.left(),
                    Repeat::Always,
                    call,
                )
                .await?;
            let of_items = answer.offsets.iter().filter_map(|item| item.error.clone());
            let retriable = |error: &v1::Error| error.retriable;
            if !answer
                .error
                .iter()
                .cloned()
                .chain(of_items)
                .any(|error| retriable(&error))
                || !attempts.pause().await
            {
                refusal(answer.error)?;
                break answer.offsets;
            }
        };
        let mut listed: BTreeMap<_, _> = offsets.into_iter().map(committed).collect();
        if partitions.is_empty() {
            return Ok(listed.into_iter().collect());
        }
        let places = partitions.iter();
        Ok(places
            .map(|(topic, partition)| {
                let place = ((*topic).to_owned(), *partition);
                let result = listed.remove(&place).unwrap_or(Ok(None));
                (place, result)
            })
            .collect())
    }

    /// Commits offsets for a group that has no members. One result per item, in order; a group that has
    /// members refuses all of them.
    ///
    /// # Errors
    /// What kept the cluster from being asked, or the group from being written.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the offsets committed or not.
    pub async fn commit_group_offsets(
        &self,
        group: &str,
        offsets: &[CommitOffset],
    ) -> Result<Vec<Result<()>>> {
        let mut attempts = Attempts::new(self);
        let mut results: Vec<Option<Result<()>>> = offsets.iter().map(|_| None).collect();
        loop {
            let mut open = Vec::new();
            let mut wire = Vec::new();
            for (result, offset) in results.iter_mut().zip(offsets) {
                let is_open = result
                    .as_ref()
                    .is_none_or(|result| result.as_ref().is_err_and(Error::is_retriable));
                if !is_open {
                    continue;
                }
                match self.commit_to_wire(offset, &attempts).await {
                    Ok(offset) => {
                        wire.push(offset);
                        open.push(result);
                    }
                    Err(error) => *result = Some(Err(error)),
                }
            }
            let outcome = self.commit_once(group, wire, &attempts).await;
            let mut try_again = false;
            match outcome {
                Ok((answers, broker)) => {
                    for (slot, result) in pair(open.into_iter(), answers, &broker, |result| {
                        refusal(result.error)
                    })? {
                        try_again |= result.as_ref().is_err_and(Error::is_retriable);
                        *slot = Some(result);
                    }
                }
                Err(error) if error.is_retriable() && is_passing(&error) => {
                    open.into_iter()
                        .for_each(|slot| *slot = Some(Err(error.clone())));
                    try_again = true;
                }
                Err(error) => return Err(error),
            }
            if !try_again || !attempts.pause().await {
                return Ok(results.into_iter().flatten().collect());
            }
        }
    }

    async fn commit_to_wire(
        &self,
        offset: &CommitOffset,
        attempts: &Attempts,
    ) -> Result<v1::OffsetCommit> {
        if offset.offset < 0 {
            let found = offset.offset.to_string();
            return Err(Error::config("offset", found, "0 or more"));
        }
        let topic = self
            .connection
            .topic(&offset.topic, attempts.left())
            .await?;
        topic.check_partition(offset.partition)?;
        Ok(v1::OffsetCommit {
            topic_id: topic.id_bytes.clone(),
            partition: offset.partition,
            offset: offset.offset,
            leader_epoch: -1,
            metadata: offset.metadata.clone(),
        })
    }

    /// One request on a stream of its own.
    async fn commit_once(
        &self,
        group: &str,
        offsets: Vec<v1::OffsetCommit>,
        attempts: &Attempts,
    ) -> Result<(Vec<v1::OffsetCommitResult>, Arc<str>)> {
        if offsets.is_empty() {
            return Ok((Vec::new(), Arc::from("")));
        }
        let request = CommitOffsetsRequest {
            request_id: 1,
            group_id: group.to_owned(),
            member_id: String::new(),
            member_epoch: NO_MEMBER_EPOCH,
            offsets,
        };
        let call = |broker: Arc<Broker>| {
            let request = request.clone();
            async move {
                // The stream stays open on our side until the answer is there.
                let (_open, requests) = tokio::sync::mpsc::channel(1);
                _open.try_send(request).expect("a new channel has room");
                let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
                let mut answers = client(&broker).commit_offsets(requests).await?.into_inner();
                let answer = answers.message().await?;
                answer
                    .map(tonic::Response::new)
                    .ok_or_else(|| tonic::Status::unavailable("broker ended the stream"))
            }
        };
        let (answer, broker) = self
            .connection
            .call_any("committing offsets", attempts.left(), Repeat::Always, call)
            .await?;
        refusal(answer.error)?;
        Ok((answer.results, broker))
    }

    /// Forgets committed offsets, of topics that may be gone. One result per (topic, partition), in
    /// order; partitions of topics that a member subscribes to are refused.
    ///
    /// # Errors
    /// What kept the cluster from being asked, or the group from being written.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the offsets deleted or not.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[(&str, i32)],
    ) -> Result<Vec<Result<()>>> {
        let request = v1::DeleteOffsetsRequest {
            group_id: group.to_owned(),
            offsets: partitions
                .iter()
                .map(|(topic, partition)| v1::OffsetDelete {
                    topic: (*topic).to_owned(),
                    partition: *partition,
                })
                .collect(),
        };
        let mut attempts = Attempts::new(self);
        loop {
            let call = |broker: Arc<Broker>| {
                let request = request.clone();
                async move { client(&broker).delete_offsets(request).await }
            };
            let (answer, broker) = self
                .connection
                .call_any(
                    "deleting offsets of a group",
                    attempts.left(),
                    Repeat::Always,
                    call,
                )
                .await?;
            // Deleting twice is as deleting once, so all of it is asked for again.
            let of_items = answer.results.iter().filter_map(|item| item.error.as_ref());
            let is_passing = answer
                .error
                .iter()
                .chain(of_items)
                .any(|error| error.retriable);
            if is_passing && attempts.pause().await {
                continue;
            }
            refusal(answer.error)?;
            let read = |result: v1::OffsetDeleteResult| refusal(result.error);
            let results = pair(partitions.iter(), answer.results, &broker, read)?;
            return Ok(results.into_iter().map(|(_, result)| result).collect());
        }
    }
}

/// Whether the broker said so, and not that there is none.
const fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Broker(_))
}

fn committed(offset: v1::CommittedOffset) -> Listed {
    let place = (offset.topic, offset.partition);
    if let Err(error) = refusal(offset.error) {
        return (place, Err(error));
    }
    let committed = (offset.offset >= 0).then_some(CommittedOffset {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata,
        commit_timestamp_ms: offset.commit_timestamp_ms,
    });
    (place, Ok(committed))
}

/// Whether a group refused because it does not know the member, or does not take commits without.
pub(crate) fn is_fenced(code: Option<ErrorCode>) -> bool {
    matches!(
        code,
        Some(
            ErrorCode::UnknownMemberId
                | ErrorCode::FencedMemberEpoch
                | ErrorCode::StaleMemberEpoch
                | ErrorCode::IllegalGeneration
                | ErrorCode::RebalanceInProgress
        )
    )
}
