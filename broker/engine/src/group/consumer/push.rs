//! What members with a stream are told, and what they say that they did.

use std::sync::Arc;

use millstream_proto::group_record::GroupRecord;

use super::member::Link;
use crate::group::{Action, Owned, Push, turn::Turn};

/// Tells every member with a stream what it is to hold, where that or its epoch changed since it was
/// told last, and in any case where its stream is new.
pub(super) fn push_all(turn: &mut Turn<'_>) {
    let group_id = Arc::clone(&turn.group_id);
    let newest = turn.group.history.newest();
    let reason = newest.map(|rebalance| Arc::clone(&rebalance.reason));
    let reason = reason.unwrap_or_default();
    let Some(group) = turn.consumers() else {
        return;
    };
    let mut pushes = Vec::new();
    for (member_id, member) in &mut group.members {
        let (member_epoch, assignment) = (member.epoch(), member.assigned());
        let Link::Stream(stream) = &mut member.link else {
            continue;
        };
        let told = stream.pushed.as_ref();
        if told.is_some_and(|(epoch, told)| *epoch == member_epoch && *told == assignment) {
            continue;
        }
        stream.sequence += 1;
        stream.pushed = Some((member_epoch, assignment.clone()));
        pushes.push(Push {
            member: crate::group::MemberRef {
                group_id: Arc::clone(&group_id),
                member_id: Arc::clone(member_id),
            },
            stream: stream.id,
            sequence: stream.sequence,
            member_epoch,
            assignment,
            reason: Arc::clone(&reason),
        });
    }
    for push in pushes {
        turn.act(Action::Push(push));
    }
}

/// Takes in what a member says that it holds: what it was to give up and does not hold any more is
/// free. An answer to an earlier push than the newest frees nothing, since the newest may have given
/// the partition back. Returns whether anything is free now.
pub(super) fn acknowledge(turn: &mut Turn<'_>, member_id: &Arc<str>, owned: &Owned) -> bool {
    let key = turn.member_key(member_id);
    let Some(member) = turn.consumers().and_then(|g| g.members.get_mut(member_id)) else {
        return false;
    };
    if let (Link::Stream(stream), Some(answered)) = (&member.link, owned.sequence)
        && answered != stream.sequence
    {
        return false;
    }
    let mut current = member.current.clone();
    current
        .pending_revocation
        .retain(|partition, _| owned.partitions.contains(partition));
    let frees = current != member.current;
    if frees {
        let value = current.value(&member.target);
        turn.write(GroupRecord::CurrentMember(key, Some(value)));
    }
    frees
}
