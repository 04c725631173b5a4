//! From a reason to what every member is told: another group epoch, another target, and each member's
//! next step towards it.

use std::{collections::BTreeMap, sync::Arc};

use millstream_proto::group_record::{ConsumerGroupValue, GroupRecord, TargetAssignmentValue};

use super::{ConsumerGroup, member::Link, push, reconcile};
use crate::group::{
    Action, Assignment, AssignorName, MemberRef, Owned, Timer,
    assignment::target_value,
    assignor::{self, AssignorMember},
    turn::Turn,
};

/// Does what is due: with a reason, begins another group epoch; computes the target where the epoch
/// asks for one; moves every member that can be reached on the way to its target, and tells those
/// with a stream.
///
/// `asking` is the member that is being answered, if any: one that is reached by heartbeats moves only
/// then, so that its epoch and its assignment reach it in one answer.
pub(super) fn settle(turn: &mut Turn<'_>, reason: Option<String>, asking: Option<&Arc<str>>) {
    if let Some(reason) = reason {
        begin_epoch(turn, reason);
    }
    compute_target(turn);
    for member_id in reachable(turn, asking) {
        step(turn, &member_id);
    }
    push::push_all(turn);
}

/// As [`settle`], for a member that joins and says what it holds: what it is to give up and does not
/// hold is free at once, so that it has another step to take.
pub(super) fn settle_joined(
    turn: &mut Turn<'_>,
    reason: Option<String>,
    member_id: &Arc<str>,
    owned: &Owned,
) {
    settle(turn, reason, Some(member_id));
    if push::acknowledge(turn, member_id, owned) {
        settle(turn, None, Some(member_id));
    }
}

fn begin_epoch(turn: &mut Turn<'_>, reason: String) {
    let topics = turn.topics;
    let Some(group) = turn.consumers() else {
        return;
    };
    let epoch = group.epoch.saturating_add(1);
    let members = group.members.len();
    let value = ConsumerGroupValue {
        epoch,
        metadata_hash: group.hash_of_topics(topics),
    };
    let group_id = turn.group_id.to_string();
    turn.write(GroupRecord::ConsumerGroup(group_id, Some(value)));
    turn.remember(epoch, members, reason);
}

fn compute_target(turn: &mut Turn<'_>) {
    let (topics, default) = (turn.topics, turn.config.assignor);
    let Some(group) = turn.consumers() else {
        return;
    };
    if group.assignment_epoch >= group.epoch {
        return;
    }
    let members = group.members.iter().map(|(id, member)| AssignorMember {
        id: Arc::clone(id),
        rack: member.rack_id(),
        topics: group
            .subscribed(member, topics)
            .into_iter()
            .cloned()
            .collect(),
        previous: member.target.clone(),
    });
    let members: Vec<AssignorMember> = members.collect();
    let epoch = group.epoch;
    let targets = assignor::assign(group.assignor(default), &members, topics);
    write_targets(turn, targets);
    let value = TargetAssignmentValue {
        assignment_epoch: epoch,
        assignment_timestamp_ms: turn.now.timestamp_ms,
    };
    let group_id = turn.group_id.to_string();
    turn.write(GroupRecord::TargetAssignment(group_id, Some(value)));
}

fn write_targets(turn: &mut Turn<'_>, targets: BTreeMap<Arc<str>, Assignment>) {
    for (member_id, target) in targets {
        let before = turn
            .consumers()
            .and_then(|group| group.members.get(&member_id))
            .map(|member| &member.target);
        if before != Some(&target) {
            let key = turn.member_key(&member_id);
            turn.write(GroupRecord::TargetMember(key, Some(target_value(&target))));
        }
    }
}

impl ConsumerGroup {
    /// The assignor that most members prefer; the first by name among equals.
    pub(in crate::group) fn assignor(&self, default: AssignorName) -> AssignorName {
        let mut votes: BTreeMap<AssignorName, usize> = BTreeMap::new();
        for preferred in self.members.values().filter_map(|member| member.assignor()) {
            *votes.entry(preferred).or_default() += 1;
        }
        let most = votes.values().max().copied().unwrap_or(0);
        let winner = votes.iter().find(|(_, count)| **count == most);
        winner.map_or(default, |(name, _)| *name)
    }
}

/// Members that learn of their next step now.
fn reachable(turn: &mut Turn<'_>, asking: Option<&Arc<str>>) -> Vec<Arc<str>> {
    let Some(group) = turn.consumers() else {
        return Vec::new();
    };
    let is_reachable = |id: &Arc<str>, link: &Link| match link {
        Link::Stream(_) => true,
        Link::Heartbeats { .. } | Link::Classic(_) => asking == Some(id),
        Link::None => false,
    };
    let members = group.members.iter();
    let reachable = members.filter(|(id, member)| is_reachable(id, &member.link));
    reachable.map(|(id, _)| Arc::clone(id)).collect()
}

fn step(turn: &mut Turn<'_>, member_id: &Arc<str>) {
    let Some(group) = turn.consumers() else {
        return;
    };
    let Some(member) = group.members.get(member_id) else {
        return;
    };
    let is_free = |partition| group.owner(partition).is_none();
    let next = reconcile::next(
        &member.current,
        &member.target,
        group.assignment_epoch,
        is_free,
    );
    if next != member.current {
        let value = next.value(&member.target);
        let key = turn.member_key(member_id);
        turn.write(GroupRecord::CurrentMember(key, Some(value)));
    }
    watch_revocation(turn, member_id);
}

/// Starts or stops the clock of a member that has partitions to give up, or to join or to sync.
pub(super) fn watch_revocation(turn: &mut Turn<'_>, member_id: &Arc<str>) {
    let now_ms = turn.now.monotonic_ms;
    let default = turn.config.rebalance_timeout;
    let timer = Timer::Rebalance(turn.member_ref(member_id));
    let Some(member) = turn.consumers().and_then(|g| g.members.get_mut(member_id)) else {
        return;
    };
    match (member.is_awaited(), member.revoke_by_ms) {
        (true, None) => {
            let said = member.said.as_ref().map(|said| said.rebalance_timeout_ms);
            let asked = said.and_then(|ms| u32::try_from(ms).ok());
            let at_ms = now_ms.saturating_add(default.choose(asked).into());
            member.revoke_by_ms = Some(at_ms);
            turn.act(Action::Schedule { timer, at_ms });
        }
        (false, Some(_)) => {
            member.revoke_by_ms = None;
            turn.act(Action::Cancel(timer));
        }
        (true, Some(_)) | (false, None) => {}
    }
}

/// Starts the clock of a member's silence anew.
pub(super) fn watch_silence(turn: &mut Turn<'_>, member_id: &Arc<str>, timeout_ms: u32) {
    let at_ms = turn.now.monotonic_ms.saturating_add(timeout_ms.into());
    let timer = Timer::Session(turn.member_ref(member_id));
    if let Some(member) = turn.consumers().and_then(|g| g.members.get_mut(member_id)) {
        member.silent_at_ms = Some(at_ms);
        turn.act(Action::Schedule { timer, at_ms });
    }
}

/// Stops every clock of a member that is one no more.
pub(super) fn stop_clocks(turn: &mut Turn<'_>, member: &MemberRef) {
    let found = turn
        .consumers()
        .and_then(|group| group.members.get_mut(&member.member_id));
    let Some(found) = found else {
        return;
    };
    let (silence, revocation) = (found.silent_at_ms.take(), found.revoke_by_ms.take());
    if silence.is_some() {
        turn.act(Action::Cancel(Timer::Session(member.clone())));
    }
    if revocation.is_some() {
        turn.act(Action::Cancel(Timer::Rebalance(member.clone())));
    }
}
