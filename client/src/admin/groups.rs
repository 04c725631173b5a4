//! Consumer groups: list, describe, delete.
//!
//! A described group is its members with what each holds and is to hold, the partitions it has
//! committed offsets of or reads, with their lag, and its last rebalances. Every question goes to the
//! group's coordinator; an answer is what that knew at the moment.

use std::{sync::Arc, time::Duration};

use millstream_proto::{
    TopicId,
    grpc::{
        topic_id_from_wire,
        v1::{self, group_service_client::GroupServiceClient},
    },
};
use tokio::time::Instant;
use tonic::transport::Channel;

use super::{Admin, pair, refusal};
use crate::{
    connection::{ANSWER_BYTES_MAX, Backoff, Broker, Repeat},
    error::{Error, Result},
};

/// Who assigns the partitions of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupType {
    /// Nobody: the group is a name for committed offsets.
    Simple,
    /// Its members among themselves.
    Classic,
    /// The broker.
    Consumer,
    /// A kind that this client does not know.
    Unknown,
}

impl GroupType {
    /// The kind in lower case, as command lines print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Unknown => "unknown",
        }
    }

    fn from_wire(number: i32) -> Self {
        match v1::GroupType::try_from(number) {
            Ok(v1::GroupType::Simple) => Self::Simple,
            Ok(v1::GroupType::Classic) => Self::Classic,
            Ok(v1::GroupType::Consumer) => Self::Consumer,
            Ok(v1::GroupType::Unspecified) | Err(_) => Self::Unknown,
        }
    }
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupListing {
    /// Its name.
    pub group: String,
    /// Who assigns its partitions.
    pub group_type: GroupType,
    /// Kafka's name of its state: Empty, Assigning, Reconciling, Stable, Dead.
    pub state: String,
    /// How many members it has.
    pub members: u32,
}

/// Everything about a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its name.
    pub group: String,
    /// Who assigns its partitions.
    pub group_type: GroupType,
    /// Kafka's name of its state: Empty, Assigning, Reconciling, Stable, Dead.
    pub state: String,
    /// Counts changes of members, subscriptions and partitions.
    pub group_epoch: i32,
    /// The epoch that the present assignment was made for.
    pub assignment_epoch: i32,
    /// Name of the assignor; empty for a simple group.
    pub assignor: String,
    /// The broker that coordinates it.
    pub coordinator_broker_id: i32,
    /// Its members.
    pub members: Vec<GroupMember>,
    /// Every partition that has a commit or an owner.
    pub partitions: Vec<GroupPartition>,
    /// The last rebalances, the newest last.
    pub rebalances: Vec<Rebalance>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMember {
    /// The member's id.
    pub member_id: String,
    /// Its name, where it is a static member; else empty.
    pub instance_id: String,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// Its rack, or empty.
    pub rack_id: String,
    /// The epoch it has reached.
    pub member_epoch: i32,
    /// Topics it asked for by name.
    pub topics: Vec<String>,
    /// Topics it asked for by regular expression; empty for none.
    pub topic_regex: String,
    /// (topic, partition) it holds.
    pub assigned: Vec<(String, i32)>,
    /// (topic, partition) it is to hold in the end.
    pub target: Vec<(String, i32)>,
    /// Stable, Unrevoked (has partitions to give up) or Unreleased (waits for others to).
    pub state: String,
}

/// How far a group is in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupPartition {
    /// Name of the topic.
    pub topic: String,
    /// Id of the topic; `None` where it is gone.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: i32,
    /// The next offset to read, where one is committed.
    pub committed_offset: Option<i64>,
    /// First offset there is.
    pub log_start_offset: Option<i64>,
    /// The high watermark.
    pub log_end_offset: Option<i64>,
    /// Records between the commit and the high watermark; `None` while unknown.
    pub lag: Option<i64>,
    /// Time since the committed offset was the log end; `None` while unknown.
    pub lag_time: Option<Duration>,
    /// Whether that is a lower bound: the lag is older than the broker's first look at it, after a start
    /// for instance.
    pub lag_time_is_minimum: bool,
    /// What was committed with the offset.
    pub metadata: String,
    /// When it was committed, in milliseconds since the epoch.
    pub commit_timestamp_ms: Option<i64>,
    /// The member that holds it, where one does.
    pub member_id: Option<String>,
}

/// A change of who reads what.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rebalance {
    /// When, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// The group's epoch that it made.
    pub group_epoch: i32,
    /// What made it necessary.
    pub reason: String,
    /// Members after it.
    pub members: u32,
}

pub(super) fn client(broker: &Broker) -> GroupServiceClient<Channel> {
    GroupServiceClient::new(broker.admin.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// Pauses between attempts, up to a deadline.
pub(super) struct Attempts {
    end: Instant,
    backoff: Backoff,
}

impl Attempts {
    pub(super) fn new(admin: &Admin) -> Self {
        Self {
            end: Instant::now() + admin.deadline,
            backoff: Backoff::new(admin.connection.config.reconnect_backoff),
        }
    }

    /// Time until the deadline.
    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Pauses; `false` where the deadline comes first.
    pub(super) async fn pause(&mut self) -> bool {
        let until = Instant::now() + self.backoff.pause(rand::random());
        if until >= self.end {
            return false;
        }
        tokio::time::sleep_until(until).await;
        true
    }
}

impl Admin {
    /// Lists the groups of the cluster, by name.
    ///
    /// # Errors
    /// What kept the cluster from being asked, or part of the groups from being listed.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        let mut attempts = Attempts::new(self);
        loop {
            let call = |broker: Arc<Broker>| async move {
                client(&broker)
                    .list_groups(v1::ListGroupsRequest::default())
                    .await
            };
            let answer = self
                .connection
                .call_any("listing groups", attempts.left(), Repeat::Always, call)
                .await?;
            match refusal(answer.0.error) {
                Ok(()) => return Ok(listings(answer.0.groups)),
                Err(error) if error.is_retriable() && attempts.pause().await => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Describes groups: members, partitions, lag, rebalances. One result per group.
    ///
    /// ```no_run
    /// # async fn run(client: millstream::Client) -> millstream::Result<()> {
    /// for (group, description) in client.admin().describe_groups(&["readers"]).await? {
    ///     for partition in description?.partitions {
    ///         println!("{group} {}-{}: {:?}", partition.topic, partition.partition, partition.lag);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn describe_groups(
        &self,
        groups: &[&str],
    ) -> Result<Vec<(String, Result<GroupDescription>)>> {
        self.per_group(
            groups,
            "describing groups",
            Repeat::Always,
            |broker, group_ids| async move {
                let request = v1::DescribeGroupsRequest { group_ids };
                let answer = client(&broker).describe_groups(request).await?;
                Ok(answer.map(|answer| answer.groups.into_iter().map(described).collect()))
            },
        )
        .await
    }

    /// Deletes groups with their committed offsets. One result per group; a group that has members is
    /// refused.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each group deleted or not.
    pub async fn delete_groups(&self, groups: &[&str]) -> Result<Vec<(String, Result<()>)>> {
        self.per_group(
            groups,
            "deleting groups",
            Repeat::WhileUnsent,
            |broker, group_ids| async move {
                let request = v1::DeleteGroupsRequest { group_ids };
                let answer = client(&broker).delete_groups(request).await?;
                let results = |answer: v1::DeleteGroupsResponse| {
                    let results = answer.results.into_iter();
                    results.map(|result| refusal(result.error)).collect()
                };
                Ok(answer.map(results))
            },
        )
        .await
    }

    /// Asks for groups, and until the deadline again for those whose coordinator could not answer.
    async fn per_group<T, C, F>(
        &self,
        groups: &[&str],
        operation: &'static str,
        repeat: Repeat,
        call: C,
    ) -> Result<Vec<(String, Result<T>)>>
    where
        C: Fn(Arc<Broker>, Vec<String>) -> F,
        F: Future<Output = Result<tonic::Response<Vec<Result<T>>>, tonic::Status>>,
    {
        let mut attempts = Attempts::new(self);
        let mut done: Vec<(String, Option<Result<T>>)> = groups
            .iter()
            .map(|group| ((*group).to_owned(), None))
            .collect();
        loop {
            let is_open = |result: &Option<Result<T>>| match result {
                None => true,
                Some(result) => result.as_ref().is_err_and(Error::is_retriable),
            };
            let open: Vec<_> = done.iter_mut().filter(|item| is_open(&item.1)).collect();
            let names: Vec<_> = open.iter().map(|item| item.0.clone()).collect();
            let (answers, broker) = self
                .connection
                .call_any(operation, attempts.left(), repeat, |broker| {
                    call(broker, names.clone())
                })
                .await?;
            for (item, result) in pair(open.into_iter(), answers, &broker, |result| result)? {
                item.1 = Some(result);
            }
            if !done.iter().any(|item| is_open(&item.1)) || !attempts.pause().await {
                let answered = done.into_iter();
                return Ok(answered
                    .filter_map(|(group, result)| Some((group, result?)))
                    .collect());
            }
        }
    }
}

fn listings(groups: Vec<v1::GroupListing>) -> Vec<GroupListing> {
    let mut listings: Vec<_> = groups
        .into_iter()
        .map(|group| GroupListing {
            group: group.group_id,
            group_type: GroupType::from_wire(group.r#type),
            state: group.state,
            members: group.members,
        })
        .collect();
    listings.sort_unstable_by(|a, b| a.group.cmp(&b.group));
    listings
}

fn described(group: v1::GroupDescription) -> Result<GroupDescription> {
    refusal(group.error)?;
    let mut partitions: Vec<_> = group.partitions.into_iter().map(partition).collect();
    partitions.sort_unstable_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(GroupDescription {
        group: group.group_id,
        group_type: GroupType::from_wire(group.r#type),
        state: group.state,
        group_epoch: group.group_epoch,
        assignment_epoch: group.assignment_epoch,
        assignor: group.assignor,
        coordinator_broker_id: group.coordinator_broker_id,
        members: group.members.into_iter().map(member).collect(),
        partitions,
        rebalances: group
            .rebalances
            .into_iter()
            .map(|rebalance| Rebalance {
                timestamp_ms: rebalance.timestamp_ms,
                group_epoch: rebalance.group_epoch,
                reason: rebalance.reason,
                members: rebalance.members,
            })
            .collect(),
    })
}

fn member(member: v1::GroupMember) -> GroupMember {
    let subscription = member.subscription.unwrap_or_default();
    GroupMember {
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        rack_id: member.rack_id,
        member_epoch: member.member_epoch,
        topics: subscription.topics,
        topic_regex: subscription.topic_regex,
        assigned: places(member.assigned),
        target: places(member.target),
        state: member.state,
    }
}

fn places(topics: Vec<v1::TopicPartitions>) -> Vec<(String, i32)> {
    let mut places: Vec<_> = topics
        .into_iter()
        .flat_map(|topic| {
            let name = topic.topic;
            let partitions = topic.partitions.into_iter();
            partitions.map(move |partition| (name.clone(), partition))
        })
        .collect();
    places.sort_unstable();
    places
}

fn partition(partition: v1::GroupPartition) -> GroupPartition {
    let known = |offset: i64| Some(offset).filter(|offset| *offset >= 0);
    GroupPartition {
        topic: partition.topic,
        topic_id: topic_id_from_wire(&partition.topic_id).ok(),
        partition: partition.partition,
        committed_offset: known(partition.committed_offset),
        log_start_offset: known(partition.log_start_offset),
        log_end_offset: known(partition.log_end_offset),
        lag: known(partition.lag),
        lag_time: u64::try_from(partition.lag_ms)
            .ok()
            .map(Duration::from_millis),
        lag_time_is_minimum: partition.lag_ms_is_minimum,
        metadata: partition.metadata,
        commit_timestamp_ms: Some(partition.commit_timestamp_ms).filter(|time| *time > 0),
        member_id: Some(partition.member_id).filter(|member| !member.is_empty()),
    }
}
