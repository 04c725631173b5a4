//! How a group that has members changes its kind (KIP-848, "online migration").
//!
//! ```text
//!                    somebody joins by the consumer protocol
//!   classic group ─────────────────────────────────────────────► consumer group
//!                 ◄─────────────────────────────────────────────
//!                    the last member of that protocol goes
//! ```
//!
//! Members of the classic protocol stay members under their ids, and keep what they hold. Their
//! generation is their member epoch: epochs go on where generations ended, and the other way round.

use std::{collections::BTreeMap, sync::Arc};

use millstream_proto::group_record::{
    AssignedTopic, ConsumerGroupValue, CurrentMemberValue, GroupRecord, MemberState, MemberValue,
    TargetAssignmentValue,
};

use super::{
    Assignment, Heartbeat, Refusal, Topics,
    assignment::{holding_value, target_value},
    classic::{self, ClassicGroup},
    consumer,
    forget::forget_kind,
    state::Kind,
    turn::Turn,
};

/// A member on its way into a consumer group, with what it holds.
struct Adopted {
    member_id: Arc<str>,
    said: MemberValue,
    /// What its generation assigned to it.
    holds: Assignment,
    /// What the generation did not assign to it, nor to others, but it said that it holds: it gives
    /// this up once it knows its assignment, and says so by joining again.
    keeps: Assignment,
}

/// Makes a classic group that has members one of consumers, for somebody who joins by the consumer
/// protocol; or says why not. Members that wait are told to join again. Returns whether a rebalance was
/// going on, which is then still due.
pub(super) fn upgrade(turn: &mut Turn<'_>, heartbeat: &Heartbeat) -> Result<bool, Refusal> {
    let Kind::Classic(group) = &turn.group.kind else {
        return Ok(false);
    };
    if group.members.is_empty() {
        return Ok(false);
    }
    let max = turn.config.members_max;
    let is_successor = heartbeat.instance_id.as_deref().is_some_and(|name| {
        let mut members = group.members.values();
        members.any(|member| member.instance_id.as_deref() == Some(name))
    });
    if group.members.len() >= max && !is_successor {
        return Err(Refusal::TooManyMembers {
            group_id: Arc::clone(&turn.group_id),
            max,
        });
    }
    let adopted = adopted(group, turn.topics).filter(|_| turn.config.migration.upgrades());
    let adopted = adopted.ok_or_else(|| Refusal::ClassicGroup {
        group_id: Arc::clone(&turn.group_id),
    })?;
    let (epoch, is_stable) = (group.generation, group.is_stable());
    classic::dismiss(turn);
    forget_kind(turn);
    found(turn, epoch, adopted);
    Ok(!is_stable)
}

/// The members as those of a consumer group; `None` where one of them is no consumer.
fn adopted(group: &ClassicGroup, topics: &Topics) -> Option<Vec<Adopted>> {
    if !group.has_consumers() {
        return None;
    }
    let members = group.members.iter();
    let adopt = |(member_id, member): (&Arc<str>, &classic::Member)| {
        let assigned = member.read_assigned()?;
        Some(Adopted {
            member_id: Arc::clone(member_id),
            said: member.as_consumer()?,
            holds: classic::find(&assigned, topics),
            keeps: classic::find(&member.owned(), topics),
        })
    };
    let mut adopted: Vec<Adopted> = members.map(adopt).collect::<Option<_>>()?;
    let mut taken: Assignment = adopted.iter().flat_map(|it| it.holds.clone()).collect();
    for member in &mut adopted {
        member.keeps.retain(|partition| taken.insert(*partition));
    }
    Some(adopted)
}

/// Writes a consumer group of these members, each of which is to hold what it was assigned.
fn found(turn: &mut Turn<'_>, epoch: i32, adopted: Vec<Adopted>) {
    let group_id = turn.group_id.to_string();
    let value = ConsumerGroupValue {
        epoch,
        metadata_hash: 0,
    };
    turn.write(GroupRecord::ConsumerGroup(group_id.clone(), Some(value)));
    let mut member_ids = Vec::with_capacity(adopted.len());
    for member in adopted {
        let key = turn.member_key(&member.member_id);
        let target = target_value(&member.holds);
        let state = match member.keeps.is_empty() {
            true => MemberState::Stable,
            false => MemberState::UnrevokedPartitions,
        };
        let current = CurrentMemberValue {
            member_epoch: epoch,
            previous_member_epoch: epoch,
            state,
            assigned: since(epoch, &member.holds),
            pending_revocation: since(epoch, &member.keeps),
        };
        turn.write(GroupRecord::Member(key.clone(), Some(member.said)));
        turn.write(GroupRecord::TargetMember(key.clone(), Some(target)));
        turn.write(GroupRecord::CurrentMember(key, Some(current)));
        member_ids.push(member.member_id);
    }
    let value = TargetAssignmentValue {
        assignment_epoch: epoch,
        assignment_timestamp_ms: turn.now.timestamp_ms,
    };
    turn.write(GroupRecord::TargetAssignment(group_id, Some(value)));
    for member_id in &member_ids {
        consumer::adopt(turn, member_id);
    }
}

fn since(epoch: i32, partitions: &Assignment) -> Vec<AssignedTopic> {
    holding_value(&partitions.iter().map(|at| (*at, epoch)).collect())
}

/// Makes a consumer group a classic one if it has members, and all of them speak the classic protocol;
/// they have to join again. Otherwise gives the reason back.
pub(super) fn downgrade(turn: &mut Turn<'_>, reason: String) -> Result<(), String> {
    let now_ms = turn.now.timestamp_ms;
    let Kind::Consumer(group) = &turn.group.kind else {
        return Err(reason);
    };
    let count = group.members.len();
    let is_allowed = turn.config.migration.downgrades()
        && (1..=turn.config.classic_members_max).contains(&count);
    let members = group.members.iter().map(|(id, member)| {
        let member = classic::Member::of_consumer(member, turn.topics)?;
        Some((Arc::clone(id), member))
    });
    let members: Option<BTreeMap<Arc<str>, classic::Member>> = members.collect();
    let classic =
        members.and_then(|members| ClassicGroup::of_consumers(group.epoch, now_ms, members));
    let Some(classic) = classic.filter(|_| is_allowed) else {
        return Err(reason);
    };
    let member_ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
    for member_id in &member_ids {
        consumer::remove(turn, member_id);
    }
    forget_kind(turn);
    turn.group.kind = Kind::Classic(Box::new(classic));
    classic::settle_in(turn, reason);
    Ok(())
}
