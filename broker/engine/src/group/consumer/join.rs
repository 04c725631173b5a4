//! How somebody becomes a member.

use std::sync::Arc;

use millstream_proto::group_record::{
    ConsumerGroupValue, CurrentMemberValue, GroupRecord, MemberValue,
};

use super::{leave, member::Current};
use crate::group::{
    Assignment, Heartbeat, Refusal, assignment::target_value, forget::forget_kind, migration,
    state::Kind, turn::Turn,
};

/// How a member came to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// It was none before.
    New,
    /// It is one already, or takes the place of the static member that it was in a settled group.
    Known,
}

impl Entry {
    /// Why the group has to be rebalanced for it, if it has to.
    pub(super) fn reason(self, heartbeat: &Heartbeat) -> Option<String> {
        let member_id = &heartbeat.member.member_id;
        match (self, &heartbeat.instance_id) {
            (Self::Known, _) => None,
            (Self::New, Some(instance_id)) => {
                Some(format!("static member {instance_id} joined as {member_id}"))
            }
            (Self::New, None) => Some(format!("member {member_id} joined")),
        }
    }
}

/// Lets a member in that says epoch 0, or says why not.
pub(super) fn enter(turn: &mut Turn<'_>, heartbeat: &Heartbeat) -> Result<Entry, Refusal> {
    if let Some(refusal) = turn.unfit() {
        return Err(refusal);
    }
    let owned = heartbeat.owned.as_ref();
    if owned.is_some_and(|owned| !owned.partitions.is_empty()) {
        return Err(Refusal::Invalid("a member that joins holds partitions"));
    }
    let was_rebalancing = migration::upgrade(turn, heartbeat)?;
    let predecessor = predecessor(turn, heartbeat)?;
    let member_id = &heartbeat.member.member_id;
    let members_max = turn.config.members_max;
    let members = match &turn.group.kind {
        Kind::Simple | Kind::Classic(_) => 0,
        Kind::Consumer(group) if group.members.contains_key(member_id) => return Ok(Entry::Known),
        Kind::Consumer(group) => group.members.len(),
    };
    if let Some(predecessor) = predecessor {
        succeed(turn, &predecessor, member_id);
        let was_settled = !was_rebalancing;
        return Ok(if was_settled {
            Entry::Known
        } else {
            Entry::New
        });
    }
    if members >= members_max {
        return Err(Refusal::TooManyMembers {
            group_id: Arc::clone(&turn.group_id),
            max: members_max,
        });
    }
    leave_classic_behind(turn);
    Ok(Entry::New)
}

/// Makes an empty classic group one of consumers, whose epochs go on from its generations.
fn leave_classic_behind(turn: &mut Turn<'_>) {
    let Some(epoch) = turn.classic().map(|group| group.generation) else {
        return;
    };
    forget_kind(turn);
    let value = ConsumerGroupValue {
        epoch,
        metadata_hash: 0,
    };
    let group_id = turn.group_id.to_string();
    turn.write(GroupRecord::ConsumerGroup(group_id, Some(value)));
}

/// The member whose place a static member takes: it has the same name and another id, and is away or
/// speaks the classic protocol, in which nobody says that it goes for a while.
fn predecessor(turn: &mut Turn<'_>, heartbeat: &Heartbeat) -> Result<Option<Arc<str>>, Refusal> {
    let group_id = Arc::clone(&turn.group_id);
    let (Some(instance_id), Some(group)) = (&heartbeat.instance_id, turn.consumers()) else {
        return Ok(None);
    };
    match group.member_of_instance(instance_id) {
        Some((holder, _)) if *holder == heartbeat.member.member_id => Ok(None),
        Some((holder, member)) if member.is_away() || member.classic().is_some() => {
            Ok(Some(Arc::clone(holder)))
        }
        Some((holder, _)) => Err(Refusal::UnreleasedInstance {
            group_id,
            instance_id: instance_id.clone(),
            member_id: Arc::clone(holder),
        }),
        None => Ok(None),
    }
}

/// Hands what a static member holds and is to hold to its successor, without a rebalance.
pub(super) fn succeed(turn: &mut Turn<'_>, predecessor: &Arc<str>, member_id: &Arc<str>) {
    let Some((said, target, current)) = legacy(turn, predecessor) else {
        return;
    };
    leave::remove(turn, predecessor);
    let key = turn.member_key(member_id);
    if let Some(said) = said {
        turn.write(GroupRecord::Member(key.clone(), Some(said)));
    }
    let target = target_value(&target);
    turn.write(GroupRecord::TargetMember(key.clone(), Some(target)));
    turn.write(GroupRecord::CurrentMember(key, Some(current)));
}

fn legacy(
    turn: &mut Turn<'_>,
    predecessor: &Arc<str>,
) -> Option<(Option<MemberValue>, Assignment, CurrentMemberValue)> {
    let member = turn.consumers()?.members.get(predecessor)?;
    let current = Current {
        epoch: 0,
        previous_epoch: 0,
        assigned: member.current.assigned.clone(),
        pending_revocation: Default::default(),
    };
    let value = current.value(&member.target);
    Some((member.said.clone(), member.target.clone(), value))
}
