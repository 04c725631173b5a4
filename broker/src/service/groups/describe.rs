//! Groups in full: members, and how far the group is in each partition.

use std::{collections::BTreeMap, sync::Arc};

use millstream_engine::group::{Committed, GroupDescription as Described, OffsetReader, Refusal};
pub use millstream_engine::group::{MemberDescription, Rebalance};
use millstream_proto::{BrokerId, PartitionIndex, TopicId};

use super::{
    admin::GroupListing,
    members::{TopicPartitions, by_topic},
    offsets::id_of,
};
use crate::{
    coordinator::{Behind, CoordinatorError},
    partition::Offsets,
    quorum::MetadataImage,
    service::{RequestContext, ServiceError, Services},
};

/// A group in full.
#[derive(Debug, Clone)]
pub struct GroupDescription {
    /// In short.
    pub listing: GroupListing,
    /// Counts changes of members, subscriptions and topics.
    pub group_epoch: i32,
    /// The group epoch that the target assignment was made for.
    pub assignment_epoch: i32,
    /// Name of the assignor; empty without members.
    pub assignor: Arc<str>,
    /// The broker that coordinates it.
    pub coordinator: BrokerId,
    /// Its members, by id.
    pub members: Vec<GroupMember>,
    /// Every partition that has a commit or an owner, by topic and index.
    pub partitions: Vec<GroupPartition>,
    /// Its last rebalances, the newest last.
    pub rebalances: Vec<Rebalance>,
}

/// A member in full.
#[derive(Debug, Clone)]
pub struct GroupMember {
    /// As the coordinator knows it.
    pub description: MemberDescription,
    /// What it holds, by topic.
    pub assigned: Vec<TopicPartitions>,
    /// What it is to hold in the end, by topic.
    pub target: Vec<TopicPartitions>,
}

/// How far a group is in a partition.
#[derive(Debug, Clone)]
pub struct GroupPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Its id; `None` where the topic is gone.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: i32,
    /// What is committed.
    pub committed: Option<Committed>,
    /// Where the log stands; `None` where it serves nothing here.
    pub log: Option<Offsets>,
    /// For how long the log has been longer than the commit; `None` before the first look at it.
    pub behind: Option<Behind>,
    /// Who holds it.
    pub owner: Option<Arc<str>>,
}

impl GroupPartition {
    /// Records between the commit and the high watermark.
    #[must_use]
    pub fn lag(&self) -> Option<i64> {
        let end = self.log?.high_watermark.get();
        Some(end.saturating_sub(self.committed.as_ref()?.offset).max(0))
    }
}

/// What the coordinator knows of a group.
type Read = Result<(Described, Vec<Committed>), Refusal>;

impl Services {
    /// Describes a group.
    ///
    /// # Errors
    /// It does not exist; there is no coordinator now.
    ///
    /// # Cancel safety
    /// Safe: nothing changes.
    pub async fn describe_group(
        &self,
        _context: &RequestContext,
        group_id: &str,
    ) -> Result<GroupDescription, ServiceError> {
        let Some(coordinator) = self.groups.find_coordinator(group_id) else {
            return Err(ServiceError::group_not_found(group_id));
        };
        let unavailable = |error: CoordinatorError| ServiceError::coordinator(&error);
        let read = coordinator.read(|state, _| -> Read {
            let described = state.describe(group_id)?;
            let committed = state.committed(group_id, &OffsetReader::Anybody, None)?;
            Ok((described, committed))
        });
        let (read, settling) = read.map_err(unavailable)?;
        settling.settled().await.map_err(unavailable)?;
        let (described, committed) = read.map_err(|refusal| ServiceError::group(&refusal))?;
        Ok(self.description(described, committed))
    }

    pub(super) fn description(
        &self,
        described: Described,
        committed: Vec<Committed>,
    ) -> GroupDescription {
        let image = self.quorum.image();
        let partitions = self.group_partitions(&described.members, committed, &image);
        let member = |description: MemberDescription| {
            let name = |id| image.topic_by_id(id).map(|topic| topic.name.to_string());
            GroupMember {
                assigned: by_topic(description.holds.keys(), name),
                target: by_topic(&description.target, name),
                description,
            }
        };
        GroupDescription {
            listing: described.listing,
            group_epoch: described.group_epoch,
            assignment_epoch: described.assignment_epoch,
            assignor: described.assignor,
            coordinator: self.partitions.local(),
            members: described.members.into_iter().map(member).collect(),
            partitions,
            rebalances: described.rebalances,
        }
    }

    fn group_partitions(
        &self,
        members: &[MemberDescription],
        committed: Vec<Committed>,
        image: &MetadataImage,
    ) -> Vec<GroupPartition> {
        let mut partitions = BTreeMap::new();
        for committed in committed {
            let key = (Arc::clone(&committed.topic), committed.partition);
            partitions.insert(key, (Some(committed), None));
        }
        for member in members {
            for held in member.holds.keys() {
                if let Some(topic) = image.topic_by_id(held.topic_id) {
                    let key = (Arc::from(topic.name.as_str()), held.partition);
                    let entry = partitions.entry(key).or_insert((None, None));
                    entry.1 = Some(Arc::clone(&member.member_id));
                }
            }
        }
        let partition = |((topic, partition), (committed, owner))| {
            self.group_partition(topic, partition, committed, owner, image)
        };
        partitions.into_iter().map(partition).collect()
    }

    pub(super) fn group_partition(
        &self,
        topic: Arc<str>,
        partition: i32,
        committed: Option<Committed>,
        owner: Option<Arc<str>>,
        image: &MetadataImage,
    ) -> GroupPartition {
        let topic_id = id_of(&topic, image);
        let log = topic_id.and_then(|id| self.offsets_of(id, partition));
        let behind = match (&committed, topic_id, log) {
            (Some(committed), Some(topic_id), Some(log)) => self.groups.behind(
                topic_id,
                PartitionIndex(partition),
                committed.offset,
                log.high_watermark,
            ),
            _ => None,
        };
        GroupPartition {
            topic,
            topic_id,
            partition,
            committed,
            log,
            behind,
            owner,
        }
    }

    fn offsets_of(&self, topic_id: TopicId, partition: i32) -> Option<Offsets> {
        let replica = self.partitions.get(topic_id, PartitionIndex(partition))?;
        replica.offsets().ok()
    }
}
