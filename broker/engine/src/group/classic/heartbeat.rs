//! Heartbeats of members of classic groups, and who is a member of which generation.

use std::sync::Arc;

use super::{Phase, clock};
use crate::group::{ClassicMemberRef, Refusal, Reply, Ticket, turn::Turn};

/// Takes in a heartbeat, and answers it.
pub(in crate::group) fn heartbeat(turn: &mut Turn<'_>, ticket: Ticket, member: &ClassicMemberRef) {
    let heard = beat(turn, member);
    turn.answer(ticket, heard);
}

fn beat(turn: &mut Turn<'_>, member: &ClassicMemberRef) -> Result<Reply, Refusal> {
    check_member(turn, member)?;
    clock::restart_session(turn, &member.member.member_id);
    let phase = turn.classic().map(|group| group.phase);
    Ok(Reply::Heard {
        is_rebalancing: matches!(phase, Some(Phase::Preparing(_))),
    })
}

/// Refuses somebody who is no member, whose static name is another's, or who is of another generation.
pub(super) fn check_member(turn: &mut Turn<'_>, member: &ClassicMemberRef) -> Result<(), Refusal> {
    let member_id = &member.member.member_id;
    check_identity(turn, member_id, member.instance_id.as_deref())?;
    let expected = turn.classic().map_or(0, |group| group.generation);
    if member.generation == expected {
        return Ok(());
    }
    Err(Refusal::IllegalGeneration {
        member_id: Arc::clone(member_id),
        found: member.generation,
        expected,
    })
}

/// Refuses somebody who is no member, or whose static name is another's.
pub(super) fn check_identity(
    turn: &mut Turn<'_>,
    member_id: &Arc<str>,
    instance_id: Option<&str>,
) -> Result<(), Refusal> {
    let unknown = turn.unknown_member(member_id);
    let group_id = Arc::clone(&turn.group_id);
    let Some(group) = turn.classic() else {
        return Err(unknown);
    };
    let found = group.members.get(member_id);
    let Some(instance_id) = instance_id else {
        return found.map(|_| ()).ok_or(unknown);
    };
    if found.is_some_and(|member| member.instance_id.as_deref() == Some(instance_id)) {
        return Ok(());
    }
    match group.member_of_instance(instance_id) {
        Some(holder) => Err(Refusal::FencedInstance {
            group_id,
            instance_id: instance_id.to_owned(),
            member_id: Arc::clone(holder),
        }),
        None => Err(unknown),
    }
}
