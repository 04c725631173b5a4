//! From a reason to the next generation: members are made to join again, who does not is put out, and
//! everybody is told of the generation that begins.

use std::sync::Arc;

use millstream_proto::group_record::GroupRecord;

use super::{ClassicGroup, InitialDelay, Joined, Phase, clock, leave};
use crate::group::{Refusal, Reply, Ticket, turn::Turn};

/// Goes on after a member came, changed or went: begins a rebalance, or ends the one that is going on
/// if everybody has joined.
pub(super) fn go_on(turn: &mut Turn<'_>, reason: String) {
    let Some(group) = turn.classic() else {
        return;
    };
    match group.phase {
        Phase::Preparing(_) => complete_if_ready(turn),
        Phase::Empty if group.members.is_empty() => {}
        Phase::Empty | Phase::Completing | Phase::Stable => prepare(turn, reason),
    }
}

fn prepare(turn: &mut Turn<'_>, reason: String) {
    clock::stop_syncs(turn);
    interrupt_syncs(turn);
    let wait_ms = turn.config.initial_rebalance_delay_ms;
    let now_ms = turn.now.timestamp_ms;
    let Some(group) = turn.classic() else {
        return;
    };
    let is_initial = group.phase == Phase::Empty;
    let timeout_ms = group.rebalance_timeout_ms();
    let delay = InitialDelay {
        wait_ms,
        left_ms: timeout_ms.saturating_sub(wait_ms),
        has_newcomer: false,
    };
    group.phase = Phase::Preparing(is_initial.then_some(delay));
    group.since_ms = now_ms;
    group.reason = reason;
    if is_initial {
        clock::watch_joins(turn, wait_ms);
    } else if group.has_everybody_joined() {
        complete(turn);
    } else {
        clock::watch_joins(turn, timeout_ms);
    }
}

/// Who waits for an assignment that will not come has to join again.
fn interrupt_syncs(turn: &mut Turn<'_>) {
    let refusal = Refusal::RebalanceInProgress {
        group_id: Arc::clone(&turn.group_id),
    };
    let Some(group) = turn.classic() else {
        return;
    };
    let members = group.members.iter_mut();
    let waiting = members.filter_map(|(id, member)| Some((Arc::clone(id), member.syncing.take()?)));
    let waiting: Vec<(Arc<str>, Ticket)> = waiting.collect();
    for (member_id, ticket) in waiting {
        clock::restart_session(turn, &member_id);
        turn.reply(ticket, Reply::Refused(refusal.clone()));
    }
}

/// Tells everybody who waits to join again: the group becomes one of another kind.
pub(in crate::group) fn dismiss(turn: &mut Turn<'_>) {
    clock::stop_joins(turn);
    clock::stop_syncs(turn);
    interrupt_syncs(turn);
    let refusal = Refusal::RebalanceInProgress {
        group_id: Arc::clone(&turn.group_id),
    };
    let Some(group) = turn.classic() else {
        return;
    };
    let pending: Vec<Arc<str>> = group.pending.keys().cloned().collect();
    let members = group.members.values_mut();
    let joining: Vec<Ticket> = members.filter_map(|member| member.joining.take()).collect();
    for ticket in joining {
        turn.reply(ticket, Reply::Refused(refusal.clone()));
    }
    for member_id in &pending {
        leave::forget_pending(turn, member_id);
    }
}

/// Has a group written that was one of consumers, and its members join.
pub(in crate::group) fn settle_in(turn: &mut Turn<'_>, reason: String) {
    write(turn);
    let Some(group) = turn.classic() else {
        return;
    };
    let member_ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
    for member_id in &member_ids {
        clock::restart_session(turn, member_id);
    }
    go_on(turn, reason);
}

/// Begins the generation if everybody has joined. A group that was empty waits for more members.
pub(super) fn complete_if_ready(turn: &mut Turn<'_>) {
    let group = turn.classic();
    let is_ready = group
        .is_some_and(|group| group.phase == Phase::Preparing(None) && group.has_everybody_joined());
    if is_ready {
        complete(turn);
    }
}

/// The time to join is over.
pub(super) fn end_joining(turn: &mut Turn<'_>) {
    let Some(group) = turn.classic() else {
        return;
    };
    match &mut group.phase {
        Phase::Preparing(Some(delay)) if delay.has_newcomer && delay.left_ms > 0 => {
            let wait_ms = delay.wait_ms.min(delay.left_ms);
            *delay = InitialDelay {
                wait_ms,
                left_ms: delay.left_ms - wait_ms,
                has_newcomer: false,
            };
            clock::watch_joins(turn, wait_ms);
        }
        Phase::Preparing(_) => complete(turn),
        Phase::Empty | Phase::Completing | Phase::Stable => {}
    }
}

/// Puts out who did not join, and begins the generation with the others. A static member stays: it may
/// be restarting.
fn complete(turn: &mut Turn<'_>) {
    clock::stop_joins(turn);
    let Some(group) = turn.classic() else {
        return;
    };
    let members = group.members.iter();
    let absent = members.filter(|(_, m)| m.joining.is_none() && m.instance_id.is_none());
    let absent: Vec<Arc<str>> = absent.map(|(id, _)| Arc::clone(id)).collect();
    for member_id in &absent {
        leave::remove(turn, member_id);
    }
    let Some(group) = turn.classic() else {
        return;
    };
    if group.members.is_empty() {
        become_empty(turn);
    } else if group.elect() {
        begin_generation(turn);
    } else {
        // Only static members, and none of them is there: until they come, or their sessions end.
        let timeout_ms = group.rebalance_timeout_ms();
        clock::watch_joins(turn, timeout_ms);
    }
}

fn become_empty(turn: &mut Turn<'_>) {
    let now_ms = turn.now.timestamp_ms;
    if let Some(group) = turn.classic() {
        group.begin(Phase::Empty, now_ms);
    }
    write_generation(turn);
}

fn begin_generation(turn: &mut Turn<'_>) {
    let now_ms = turn.now.timestamp_ms;
    let Some(group) = turn.classic() else {
        return;
    };
    group.begin(Phase::Completing, now_ms);
    let timeout_ms = group.rebalance_timeout_ms();
    let mut told: Vec<(Ticket, Joined)> = Vec::new();
    for (member_id, member) in &group.members {
        told.extend(member.joining.map(|ticket| (ticket, group.told(member_id))));
    }
    for member in group.members.values_mut() {
        member.joining = None;
        member.is_new = false;
        member.owes_sync = true;
    }
    let member_ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
    for (ticket, joined) in told {
        turn.reply(ticket, Reply::Joined(Box::new(joined)));
    }
    for member_id in &member_ids {
        clock::restart_session(turn, member_id);
    }
    clock::watch_syncs(turn, timeout_ms);
}

/// Has the generation appended, and why it began.
pub(super) fn write_generation(turn: &mut Turn<'_>) {
    write(turn);
    if let Some(group) = turn.classic() {
        let (generation, members) = (group.generation, group.members.len());
        let reason = group.reason.clone();
        turn.remember(generation, members, reason);
    }
}

/// Has the group appended as it is.
pub(super) fn write(turn: &mut Turn<'_>) {
    let group_id = turn.group_id.to_string();
    let Some(group) = turn.classic() else {
        return;
    };
    group.is_recorded = true;
    let value = group.value();
    turn.append(GroupRecord::ClassicGroup(group_id, Some(value)));
}

impl ClassicGroup {
    fn begin(&mut self, phase: Phase, now_ms: i64) {
        self.phase = phase;
        self.since_ms = now_ms;
        self.generation = self.generation.saturating_add(1);
        self.protocol = self.vote();
        if self.members.is_empty() {
            self.leader = None;
        }
    }

    /// Sees to it that the leader has joined. False where nobody has.
    fn elect(&mut self) -> bool {
        let has_joined = |id: &&Arc<str>| {
            let member = self.members.get(*id);
            member.is_some_and(|member| member.joining.is_some())
        };
        let leader = self.leader.as_ref().filter(has_joined);
        let leader = leader
            .or_else(|| self.members.keys().find(has_joined))
            .cloned();
        let is_elected = leader.is_some();
        self.leader = leader.or_else(|| self.leader.take());
        is_elected
    }
}
