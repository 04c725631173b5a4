//! Committed offsets: commit, fetch, delete.

use std::{collections::HashMap, sync::Arc};

use millstream_engine::group::{
    Committed, Event, OffsetCommits, OffsetReader, OffsetToCommit, Reply,
};
use millstream_proto::{ErrorCode, PartitionIndex, TopicId};

use super::replied;
use crate::{
    coordinator::{CoordinatorError, GroupCoordinators, Replying},
    quorum::MetadataImage,
    service::{RequestContext, ServiceError, Services, offsets::checked_offset},
};

/// An offset that a client wants to commit.
#[derive(Debug, Clone)]
pub struct NewCommit {
    /// The topic, or why it cannot be told.
    pub topic_id: Result<TopicId, ServiceError>,
    /// Its partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read, -1 for none.
    pub leader_epoch: i32,
    /// The application's own.
    pub metadata: String,
}

/// Offsets that a client wants to commit.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The group.
    pub group_id: String,
    /// Who commits; empty for somebody who is no member.
    pub member_id: String,
    /// Name of a static member, where the request says it.
    pub instance_id: Option<String>,
    /// The member's epoch, or generation; -1 for somebody who is no member.
    pub member_epoch: i32,
    /// For how long to keep the offsets, where an old client says so.
    pub retention_ms: Option<i64>,
    /// One or more.
    pub commits: Vec<NewCommit>,
}

/// A commit on its way.
#[derive(Debug)]
pub struct Committing {
    replying: Result<Replying, CoordinatorError>,
    /// One a commit, in the order given; those without an error are the coordinator's to answer.
    refused: Vec<Option<ServiceError>>,
    groups: Arc<GroupCoordinators>,
}

impl Committing {
    /// The result of each commit, in the order given, once those that went well are durable.
    ///
    /// # Errors
    /// The whole request was refused, or the coordinator failed.
    ///
    /// # Cancel safety
    /// When it is dropped the offsets are committed all the same.
    pub async fn committed(self) -> Result<Vec<Result<(), ServiceError>>, ServiceError> {
        let groups = Arc::clone(&self.groups);
        let asked = self.refused.len();
        let results = self.results().await;
        let refused = results.as_ref().map_or(asked, |results| {
            results.iter().filter(|result| result.is_err()).count()
        });
        groups.note_refused_commits(refused);
        results
    }

    async fn results(self) -> Result<Vec<Result<(), ServiceError>>, ServiceError> {
        let Reply::Committed(results) = replied(self.replying).await? else {
            return Err(ServiceError::panicked());
        };
        let mut results = results.into_iter();
        let result = |refused: Option<ServiceError>| match refused {
            Some(error) => Err(error),
            None => match results.next() {
                Some(result) => result.map_err(|refusal| ServiceError::group(&refusal)),
                None => Err(ServiceError::panicked()),
            },
        };
        Ok(self.refused.into_iter().map(result).collect())
    }
}

/// A partition whose committed offset is asked for.
#[derive(Debug, Clone)]
pub struct AskedPartition {
    /// The topic's id, where the client gave one.
    pub topic_id: Result<Option<TopicId>, ServiceError>,
    /// The topic's name; may be empty with an id.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

/// What is committed for a partition.
#[derive(Debug, Clone)]
pub struct FoundCommit {
    /// The topic's id; `None` where the topic is gone.
    pub topic_id: Option<TopicId>,
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The commit; `None` where there is none.
    pub committed: Result<Option<Committed>, ServiceError>,
}

impl Services {
    /// Hands a commit to its coordinator, after those that were handed over before. Appends on the
    /// caller's thread, unless the disk is slow.
    ///
    /// # Cancel safety
    /// When it is dropped nothing is committed.
    pub async fn commit_offsets(
        &self,
        _context: &RequestContext,
        request: CommitRequest,
    ) -> Result<Committing, ServiceError> {
        let coordinator = self.coordinator(&request.group_id).await;
        let coordinator =
            coordinator.inspect_err(|_| self.groups.note_refused_commits(request.commits.len()))?;
        let image = self.quorum.image();
        let mut refused = Vec::with_capacity(request.commits.len());
        let mut offsets = Vec::with_capacity(request.commits.len());
        for commit in request.commits {
            match self.to_commit(commit, &image) {
                Ok(offset) => {
                    offsets.push(offset);
                    refused.push(None);
                }
                Err(error) => refused.push(Some(error)),
            }
        }
        let commits = OffsetCommits {
            group_id: Arc::from(request.group_id),
            member_id: Arc::from(request.member_id),
            instance_id: request.instance_id,
            member_epoch: request.member_epoch,
            retention_ms: request.retention_ms,
            offsets,
        };
        Ok(Committing {
            replying: coordinator.commit(commits),
            refused,
            groups: Arc::clone(&self.groups),
        })
    }

    fn to_commit(
        &self,
        commit: NewCommit,
        image: &MetadataImage,
    ) -> Result<OffsetToCommit, ServiceError> {
        let topic_id = commit.topic_id?;
        let topic = image.topic_by_id(topic_id);
        let topic = topic.ok_or_else(|| ServiceError::unknown_topic_id(topic_id))?;
        let partition = PartitionIndex(commit.partition);
        if topic.partition(partition).is_none() {
            return Err(ServiceError::unknown_partition(topic, partition));
        }
        checked_offset(commit.offset)?;
        self.groups.note_commit(topic_id, partition);
        Ok(OffsetToCommit {
            topic: Arc::from(topic.name.as_str()),
            topic_id: Some(topic_id),
            partition: commit.partition,
            offset: commit.offset,
            leader_epoch: commit.leader_epoch,
            metadata: commit.metadata,
        })
    }

    /// What a group has committed: for the partitions asked for, in their order, or for all that have
    /// a commit where none is.
    ///
    /// # Errors
    /// The reader is no member; there is no coordinator now.
    ///
    /// # Cancel safety
    /// Safe: nothing changes.
    pub async fn fetch_offsets(
        &self,
        _context: &RequestContext,
        group_id: &str,
        reader: &OffsetReader,
        asked: Vec<AskedPartition>,
    ) -> Result<Vec<FoundCommit>, ServiceError> {
        let image = self.quorum.image();
        let is_for_all = asked.is_empty();
        let mut found: Vec<_> = asked.into_iter().map(|a| named(a, &image)).collect();
        let wanted = found.iter().filter(|found| found.committed.is_ok());
        let wanted: Vec<(Arc<str>, i32)> = wanted
            .map(|found| (Arc::from(found.topic.as_str()), found.partition))
            .collect();
        let wanted = (!is_for_all).then_some(&*wanted);
        let committed = self.committed(group_id, reader, wanted).await?;
        if is_for_all {
            return Ok(committed.into_iter().map(|c| listed(c, &image)).collect());
        }
        let key = |committed: Committed| {
            let place = (committed.topic.to_string(), committed.partition);
            (place, committed)
        };
        let committed: HashMap<_, _> = committed.into_iter().map(key).collect();
        for found in found.iter_mut().filter(|found| found.committed.is_ok()) {
            let place = (found.topic.clone(), found.partition);
            found.committed = Ok(committed.get(&place).cloned());
        }
        Ok(found)
    }

    async fn committed(
        &self,
        group_id: &str,
        reader: &OffsetReader,
        partitions: Option<&[(Arc<str>, i32)]>,
    ) -> Result<Vec<Committed>, ServiceError> {
        let Some(coordinator) = self.groups.find_coordinator(group_id) else {
            return Ok(Vec::new());
        };
        let unavailable = |error: CoordinatorError| ServiceError::coordinator(&error);
        let read = coordinator.read(|state, _| state.committed(group_id, reader, partitions));
        let (committed, settling) = read.map_err(unavailable)?;
        settling.settled().await.map_err(unavailable)?;
        committed.map_err(|refusal| ServiceError::group(&refusal))
    }

    /// Forgets committed offsets: a result for each (topic, partition), in the order given.
    ///
    /// # Errors
    /// The group does not exist; there is no coordinator now.
    ///
    /// # Cancel safety
    /// When it is dropped the offsets may or may not be deleted.
    pub async fn delete_offsets(
        &self,
        _context: &RequestContext,
        group_id: String,
        partitions: Vec<(String, i32)>,
    ) -> Result<Vec<Result<(), ServiceError>>, ServiceError> {
        let Some(coordinator) = self.groups.find_coordinator(&group_id) else {
            return Err(ServiceError::group_not_found(&group_id));
        };
        let partitions = partitions.into_iter();
        let partitions = partitions.map(|(topic, partition)| (Arc::from(topic), partition));
        let (group_id, partitions) = (Arc::from(group_id), partitions.collect());
        let replying = coordinator.ask(|ticket| Event::DeleteOffsets {
            ticket,
            group_id,
            partitions,
        });
        let Reply::OffsetsDeleted(results) = replied(replying).await? else {
            return Err(ServiceError::panicked());
        };
        let result = |result: Result<(), _>| result.map_err(|error| ServiceError::group(&error));
        Ok(results.into_iter().map(result).collect())
    }
}

/// The partition by the name of its topic, under which offsets are kept.
fn named(asked: AskedPartition, image: &MetadataImage) -> FoundCommit {
    let mut found = FoundCommit {
        topic_id: None,
        topic: asked.topic,
        partition: asked.partition,
        committed: Ok(None),
    };
    match asked.topic_id {
        Ok(Some(topic_id)) => match image.topic_by_id(topic_id) {
            Some(topic) => {
                found.topic_id = Some(topic_id);
                found.topic = topic.name.to_string();
            }
            None => found.committed = Err(ServiceError::unknown_topic_id(topic_id)),
        },
        Ok(None) if found.topic.is_empty() => {
            found.committed = Err(ServiceError::new(
                ErrorCode::InvalidRequest,
                "partition has neither topic id nor topic name",
                "send the id as DescribeTopics returns it, or the name where the topic is gone",
            ));
        }
        Ok(None) => found.topic_id = id_of(&found.topic, image),
        Err(error) => found.committed = Err(error),
    }
    found
}

fn listed(committed: Committed, image: &MetadataImage) -> FoundCommit {
    FoundCommit {
        topic_id: id_of(&committed.topic, image),
        topic: committed.topic.to_string(),
        partition: committed.partition,
        committed: Ok(Some(committed)),
    }
}

/// The id of the topic that has this name now.
pub(super) fn id_of(topic: &str, image: &MetadataImage) -> Option<TopicId> {
    let name = millstream_proto::TopicName::new(topic).ok()?;
    image.topic(&name).map(|topic| topic.topic_id)
}
