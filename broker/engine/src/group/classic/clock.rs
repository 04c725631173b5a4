//! Clocks of a classic group: each member's silence, the time to join, the time to sync.

use std::sync::Arc;

use super::{leave, rebalance};
use crate::group::{Action, Timer, commit::some_of, turn::Turn};

/// A timer is due. One that was set anew since, or belongs to somebody who is gone, is late and means
/// nothing.
pub(in crate::group) fn timer_due(turn: &mut Turn<'_>, timer: &Timer) {
    let now_ms = turn.now.monotonic_ms;
    let is_due = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
    let Some(group) = turn.classic() else {
        return;
    };
    match timer {
        Timer::Session(member) => {
            let member_id = &member.member_id;
            let found = group.members.get(member_id);
            if is_due(group.pending.get(member_id).copied()) {
                leave::forget_pending(turn, member_id);
                rebalance::complete_if_ready(turn);
            } else if found.is_some_and(|m| is_due(m.silent_at_ms) && m.is_expected()) {
                leave::remove(turn, member_id);
                rebalance::go_on(turn, format!("member {member_id} was silent for too long"));
            }
        }
        Timer::Join(_) if is_due(group.join_by_ms) => rebalance::end_joining(turn),
        Timer::Sync(_) if is_due(group.sync_by_ms) => {
            let silent = group.members.iter().filter(|(_, member)| member.owes_sync);
            let silent: Vec<Arc<str>> = silent.map(|(id, _)| Arc::clone(id)).collect();
            for member_id in &silent {
                leave::remove(turn, member_id);
            }
            let silent: Vec<&str> = silent.iter().map(|id| &**id).collect();
            let reason = format!("members did not sync in time: {}", some_of(&silent));
            rebalance::go_on(turn, reason);
        }
        Timer::Join(_) | Timer::Sync(_) | Timer::Rebalance(_) => {}
    }
}

/// Starts the member's session anew: it was heard of.
pub(super) fn restart_session(turn: &mut Turn<'_>, member_id: &Arc<str>) {
    let member = turn
        .classic()
        .and_then(|group| group.members.get(member_id));
    if let Some(member) = member {
        let timeout_ms = member.session_timeout_ms;
        watch_silence(turn, member_id, timeout_ms);
    }
}

/// Starts the clock of a member's silence anew.
pub(super) fn watch_silence(turn: &mut Turn<'_>, member_id: &Arc<str>, timeout_ms: u32) {
    let at_ms = turn.now.monotonic_ms.saturating_add(timeout_ms.into());
    let timer = Timer::Session(turn.member_ref(member_id));
    if let Some(member) = turn
        .classic()
        .and_then(|group| group.members.get_mut(member_id))
    {
        member.silent_at_ms = Some(at_ms);
        turn.act(Action::Schedule { timer, at_ms });
    }
}

/// Keeps a member id that was given out for as long as a session.
pub(super) fn watch_pending(turn: &mut Turn<'_>, member_id: &Arc<str>, timeout_ms: u32) {
    let at_ms = turn.now.monotonic_ms.saturating_add(timeout_ms.into());
    let timer = Timer::Session(turn.member_ref(member_id));
    if let Some(group) = turn.classic() {
        group.pending.insert(Arc::clone(member_id), at_ms);
        turn.act(Action::Schedule { timer, at_ms });
    }
}

/// Ends joining after a time.
pub(super) fn watch_joins(turn: &mut Turn<'_>, timeout_ms: u32) {
    let at_ms = turn.now.monotonic_ms.saturating_add(timeout_ms.into());
    let timer = Timer::Join(Arc::clone(&turn.group_id));
    if let Some(group) = turn.classic() {
        group.join_by_ms = Some(at_ms);
        turn.act(Action::Schedule { timer, at_ms });
    }
}

/// Waits for every member of the generation to ask for its assignment.
pub(super) fn watch_syncs(turn: &mut Turn<'_>, timeout_ms: u32) {
    let at_ms = turn.now.monotonic_ms.saturating_add(timeout_ms.into());
    let timer = Timer::Sync(Arc::clone(&turn.group_id));
    if let Some(group) = turn.classic() {
        group.sync_by_ms = Some(at_ms);
        turn.act(Action::Schedule { timer, at_ms });
    }
}

/// Nobody is waited for to join any more.
pub(super) fn stop_joins(turn: &mut Turn<'_>) {
    let timer = Timer::Join(Arc::clone(&turn.group_id));
    let due = turn.classic().and_then(|group| group.join_by_ms.take());
    if due.is_some() {
        turn.act(Action::Cancel(timer));
    }
}

/// Nobody is waited for to sync any more.
pub(super) fn stop_syncs(turn: &mut Turn<'_>) {
    let timer = Timer::Sync(Arc::clone(&turn.group_id));
    let Some(group) = turn.classic() else {
        return;
    };
    group.members.values_mut().for_each(|m| m.owes_sync = false);
    if group.sync_by_ms.take().is_some() {
        turn.act(Action::Cancel(timer));
    }
}

/// Ends the session of a member that is one no more.
pub(super) fn stop_session(turn: &mut Turn<'_>, member_id: &Arc<str>) {
    let timer = Timer::Session(turn.member_ref(member_id));
    let member = turn
        .classic()
        .and_then(|group| group.members.get_mut(member_id));
    if member.is_some_and(|member| member.silent_at_ms.take().is_some()) {
        turn.act(Action::Cancel(timer));
    }
}
