//! How a member of a classic group ceases to be one.

use std::sync::Arc;

use super::{clock, heartbeat::check_identity, limits::with_words, rebalance};
use crate::group::{
    Action, ClassicLeave, Leaver, Refusal, Reply, Ticket, Timer, commit::some_of, turn::Turn,
};

/// Takes in a leave, and answers it.
pub(in crate::group) fn leave(turn: &mut Turn<'_>, ticket: Ticket, leave: &ClassicLeave) {
    let mut gone: Vec<Arc<str>> = Vec::new();
    let mut results = Vec::with_capacity(leave.members.len());
    for leaver in &leave.members {
        let result = go(turn, leaver);
        results.push(result.map(|member_id| gone.extend(member_id)));
    }
    turn.reply(ticket, Reply::MembersLeft(results));
    if gone.is_empty() {
        return rebalance::complete_if_ready(turn);
    }
    let ids: Vec<&str> = gone.iter().map(|id| &**id).collect();
    let reason = format!("members left: {}", some_of(&ids));
    rebalance::go_on(turn, with_words(reason, leave.words()));
}

/// Lets one go, and returns its member id if it was a member already. An operator may know no more of
/// it than its static name.
fn go(turn: &mut Turn<'_>, leaver: &Leaver) -> Result<Option<Arc<str>>, Refusal> {
    let member_id = match &leaver.instance_id {
        Some(instance_id) if leaver.member_id.is_empty() => {
            let group = turn.classic();
            let holder = group.and_then(|group| group.member_of_instance(instance_id).cloned());
            holder.ok_or_else(|| turn.unknown_member(&leaver.member_id))?
        }
        _ => Arc::clone(&leaver.member_id),
    };
    if forget_pending(turn, &member_id) {
        return Ok(None);
    }
    check_identity(turn, &member_id, leaver.instance_id.as_deref())?;
    remove(turn, &member_id);
    Ok(Some(member_id))
}

/// Forgets a member; who waits in its name is told so.
pub(super) fn remove(turn: &mut Turn<'_>, member_id: &Arc<str>) {
    let refusal = turn.unknown_member(member_id);
    clock::stop_session(turn, member_id);
    let Some(group) = turn.classic() else {
        return;
    };
    let Some(member) = group.members.remove(member_id) else {
        return;
    };
    if group.is_leader(member_id) {
        group.leader = group.members.keys().next().cloned();
    }
    for ticket in [member.joining, member.syncing].into_iter().flatten() {
        turn.reply(ticket, Reply::Refused(refusal.clone()));
    }
}

/// Forgets a member id that was given out. False where none was.
pub(super) fn forget_pending(turn: &mut Turn<'_>, member_id: &Arc<str>) -> bool {
    let timer = Timer::Session(turn.member_ref(member_id));
    let group = turn.classic();
    let was_pending = group.is_some_and(|group| group.pending.remove(member_id).is_some());
    if was_pending {
        turn.act(Action::Cancel(timer));
    }
    was_pending
}
