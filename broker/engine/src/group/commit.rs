//! Commits of offsets, and who may make them.
//!
//! A member's commit for a partition counts if the member said an epoch in which it already had that
//! partition, and not a later one than it has (KIP-1251): an answer that is under way while the epoch
//! grows is no reason to refuse what the member did with a partition that stays. What a member does not
//! hold it may commit in its present epoch, unless somebody else holds it.

use std::sync::Arc;

use millstream_proto::group_record::{GroupRecord, OffsetCommitValue};

use super::{
    Committed, OffsetCommits, OffsetReader, OffsetToCommit, PartitionId, Refusal, Reply, Ticket,
    Topics, classic,
    consumer::{ConsumerGroup, Member},
    offsets::{offset_record, topic_id_of},
    state::{Group, Kind},
    turn::Turn,
};

/// How many members a refusal names.
const MEMBERS_NAMED: usize = 5;

/// Takes in a request to commit, and answers it.
pub(super) fn commit_offsets(turn: &mut Turn<'_>, ticket: Ticket, commits: OffsetCommits) {
    let committed = commit(turn, commits).map(Reply::Committed);
    turn.answer(ticket, committed);
}

fn commit(
    turn: &mut Turn<'_>,
    commits: OffsetCommits,
) -> Result<Vec<Result<(), Refusal>>, Refusal> {
    if let Some(refusal) = turn.unfit() {
        return Err(refusal);
    }
    let is_member = !commits.member_id.is_empty() && commits.member_epoch >= 0;
    if let Kind::Classic(_) = turn.group.kind {
        classic::check_commit(turn, &commits)?;
    } else if is_member {
        check_member(
            turn.group,
            &turn.group_id,
            &commits.member_id,
            commits.member_epoch,
        )?;
    } else if let Some(members) = names(turn.group) {
        let group_id = Arc::clone(&turn.group_id);
        return Err(Refusal::HasMembers { group_id, members });
    }
    let member = is_member.then_some((&commits.member_id, commits.member_epoch));
    let results = commits.offsets.iter().map(|offset| {
        check_offset(turn, member, offset)?;
        let record = record(turn, offset, commits.retention_ms);
        turn.write(record);
        Ok(())
    });
    Ok(results.collect())
}

fn record(turn: &Turn<'_>, offset: &OffsetToCommit, retention_ms: Option<i64>) -> GroupRecord {
    let now_ms = turn.now.timestamp_ms;
    let mut value = OffsetCommitValue {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.clone(),
        commit_timestamp_ms: now_ms,
        expire_timestamp_ms: retention_ms.map(|ms| now_ms.saturating_add(ms.max(0))),
        topic_id: topic_id_of(offset.topic_id, &offset.topic, turn.topics),
    };
    if value.expire_timestamp_ms.is_some() {
        // The version of the record that has an expiry has neither of these.
        value.leader_epoch = -1;
        value.topic_id = None;
    }
    offset_record(&turn.group_id, &offset.topic, offset.partition, Some(value))
}

fn check_offset(
    turn: &Turn<'_>,
    member: Option<(&Arc<str>, i32)>,
    offset: &OffsetToCommit,
) -> Result<(), Refusal> {
    let max = turn.config.offset_metadata_bytes_max;
    if offset.metadata.len() > max {
        return Err(Refusal::OffsetMetadata {
            found: offset.metadata.len(),
            max,
        });
    }
    if offset.offset < 0 {
        return Err(Refusal::Invalid("committed offset is negative"));
    }
    match (&turn.group.kind, member) {
        (Kind::Consumer(group), Some((member_id, epoch))) => {
            let topic_id = topic_id_of(offset.topic_id, &offset.topic, turn.topics);
            let partition = topic_id.map(|id| PartitionId::new(id, offset.partition));
            check_epoch(group, member_id, epoch, partition)
        }
        _ => Ok(()),
    }
}

/// Refuses a request in the name of somebody who is no member, or of an epoch that is yet to come.
fn check_member(
    group: &Group,
    group_id: &Arc<str>,
    member_id: &Arc<str>,
    epoch: i32,
) -> Result<(), Refusal> {
    let member = match &group.kind {
        Kind::Consumer(group) => group.members.get(member_id),
        Kind::Simple => None,
        // Anybody may read what a classic group committed.
        Kind::Classic(_) => return Ok(()),
    };
    let Some(member) = member else {
        return Err(Refusal::UnknownMember {
            group_id: Arc::clone(group_id),
            member_id: Arc::clone(member_id),
        });
    };
    if epoch > member.epoch() {
        return Err(stale(member_id, member, epoch));
    }
    Ok(())
}

/// Refuses an epoch of the member that is too old for the partition.
fn check_epoch(
    group: &ConsumerGroup,
    member_id: &Arc<str>,
    epoch: i32,
    partition: Option<PartitionId>,
) -> Result<(), Refusal> {
    let Some(member) = group.members.get(member_id) else {
        return Ok(());
    };
    let since = partition.and_then(|partition| member.epoch_of(partition));
    let owner = partition.and_then(|partition| group.owner(partition));
    match (since, owner) {
        (Some(since), _) if since <= epoch => Ok(()),
        // A member of the classic protocol knows no such refusal.
        (None, Some(owner)) if member.classic().is_none() => Err(Refusal::NotHeld {
            member_id: Arc::clone(member_id),
            owner: Arc::clone(owner),
        }),
        (None, None) if epoch == member.epoch() => Ok(()),
        (Some(_) | None, _) => Err(stale(member_id, member, epoch)),
    }
}

fn stale(member_id: &Arc<str>, member: &Member, found: i32) -> Refusal {
    if member.classic().is_some() {
        return Refusal::IllegalGeneration {
            member_id: Arc::clone(member_id),
            found,
            expected: member.epoch(),
        };
    }
    Refusal::StaleEpoch {
        member_id: Arc::clone(member_id),
        found,
        expected: member.epoch(),
    }
}

/// What a group committed, for whom it is meant.
pub(super) fn read(
    group: &Group,
    group_id: &Arc<str>,
    reader: &OffsetReader,
    partitions: Option<&[(Arc<str>, i32)]>,
    topics: &Topics,
) -> Result<Vec<Committed>, Refusal> {
    if let OffsetReader::Member(member_id, epoch) = reader {
        check_member(group, group_id, member_id, *epoch)?;
        if let Kind::Consumer(consumers) = &group.kind {
            check_reader(consumers, member_id, *epoch, partitions, topics)?;
        }
    }
    Ok(group.offsets.committed(partitions, topics))
}

/// A member reads in its present epoch, or what it already had in an earlier one.
fn check_reader(
    group: &ConsumerGroup,
    member_id: &Arc<str>,
    epoch: i32,
    partitions: Option<&[(Arc<str>, i32)]>,
    topics: &Topics,
) -> Result<(), Refusal> {
    let Some(member) = group.members.get(member_id) else {
        return Ok(());
    };
    let had = |(topic, partition): &(Arc<str>, i32)| {
        let id = topics.get(topic).map(|topic| topic.id);
        let partition = id.map(|id| PartitionId::new(id, *partition));
        let since = partition.and_then(|partition| member.epoch_of(partition));
        since.is_some_and(|since| since <= epoch)
    };
    let has_all = partitions.is_some_and(|partitions| partitions.iter().all(had));
    if epoch == member.epoch() || has_all {
        Ok(())
    } else {
        Err(stale(member_id, member, epoch))
    }
}

/// Names of a group's members, some of them; `None` where it has none.
pub(super) fn names(group: &Group) -> Option<String> {
    let ids = group.member_ids();
    (!ids.is_empty()).then(|| some_of(&ids))
}

/// Some of the names.
pub(super) fn some_of(names: &[&str]) -> String {
    let named = names.iter().take(MEMBERS_NAMED).copied();
    let named = named.collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MEMBERS_NAMED) {
        None | Some(0) => named,
        Some(more) => format!("{named} and {more} more"),
    }
}
