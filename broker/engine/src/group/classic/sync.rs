//! How the leader's assignments reach the members of a generation.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{ClassicGroup, Phase, Synced, clock, heartbeat::check_member, rebalance};
use crate::group::{ClassicSync, Refusal, Reply, Ticket, turn::Turn};

/// Takes in a sync, and answers it, at once or when the leader's has come.
pub(in crate::group) fn sync(turn: &mut Turn<'_>, ticket: Ticket, sync: &ClassicSync) {
    if let Err(refusal) = enter(turn, ticket, sync) {
        turn.reply(ticket, Reply::Refused(refusal));
    }
}

fn enter(turn: &mut Turn<'_>, ticket: Ticket, sync: &ClassicSync) -> Result<(), Refusal> {
    check_member(turn, &sync.member)?;
    let member_id = &sync.member.member.member_id;
    let group_id = Arc::clone(&turn.group_id);
    let unknown = turn.unknown_member(member_id);
    let Some(group) = turn.classic() else {
        return Err(unknown);
    };
    if let Phase::Preparing(_) = group.phase {
        // Whatever the protocol was: it may have joined while the group was one of consumers.
        return Err(Refusal::RebalanceInProgress { group_id });
    }
    let differs = |said: &Option<String>, is: &str| said.as_deref().is_some_and(|said| said != is);
    if differs(&sync.protocol_type, &group.protocol_type)
        || differs(&sync.protocol, &group.protocol())
    {
        return Err(Refusal::InconsistentProtocol { group_id });
    }
    match group.phase {
        Phase::Empty | Phase::Preparing(_) => return Err(unknown),
        Phase::Completing => {
            let is_leader = group.is_leader(member_id);
            wait(turn, ticket, member_id);
            if is_leader {
                assign(turn, &sync.assignments);
            }
        }
        Phase::Stable => {
            wait(turn, ticket, member_id);
            answer_all(turn);
        }
    }
    Ok(())
}

fn wait(turn: &mut Turn<'_>, ticket: Ticket, member_id: &Arc<str>) {
    let Some(group) = turn.classic() else {
        return;
    };
    let Some(member) = group.members.get_mut(member_id) else {
        return;
    };
    member.owes_sync = false;
    let before = member.syncing.replace(ticket);
    let is_last = group.members.values().all(|member| !member.owes_sync);
    if let Some(before) = before {
        turn.supersede(before, member_id);
    }
    if is_last {
        clock::stop_syncs(turn);
    }
}

/// Takes the leader's assignments, has the generation written, and tells everybody who waits. Who got
/// none has an empty one.
fn assign(turn: &mut Turn<'_>, assignments: &[(String, Bytes)]) {
    let now_ms = turn.now.timestamp_ms;
    let max = turn.config.classic_group_bytes_max;
    let Some(group) = turn.classic() else {
        return;
    };
    let assignments = assignments.iter().map(|(id, bytes)| (&**id, bytes));
    let assignments: BTreeMap<&str, &Bytes> = assignments.collect();
    for (member_id, member) in &mut group.members {
        let assignment = assignments.get(&**member_id);
        member.assignment = assignment.copied().cloned().unwrap_or_default();
    }
    let found = bytes_of(group);
    if found > max {
        return refuse_all(turn, found);
    }
    group.phase = Phase::Stable;
    group.since_ms = now_ms;
    rebalance::write_generation(turn);
    answer_all(turn);
}

/// Answers everybody who waits for an assignment.
fn answer_all(turn: &mut Turn<'_>) {
    let Some(group) = turn.classic() else {
        return;
    };
    let (protocol_type, protocol) = (Arc::clone(&group.protocol_type), group.protocol());
    for (member_id, ticket, assignment) in take_waiting(group) {
        let synced = Synced {
            protocol_type: Arc::clone(&protocol_type),
            protocol: Arc::clone(&protocol),
            assignment,
        };
        clock::restart_session(turn, &member_id);
        turn.reply(ticket, Reply::Synced(synced));
    }
}

/// An assignment that cannot be written is none: members join again, and may be told better ones.
fn refuse_all(turn: &mut Turn<'_>, found: usize) {
    let refusal = Refusal::GroupTooLarge {
        group_id: Arc::clone(&turn.group_id),
        found,
        max: turn.config.classic_group_bytes_max,
    };
    let Some(group) = turn.classic() else {
        return;
    };
    for (member_id, ticket, _) in take_waiting(group) {
        clock::restart_session(turn, &member_id);
        turn.reply(ticket, Reply::Refused(refusal.clone()));
    }
    rebalance::go_on(turn, refusal.to_string());
}

fn take_waiting(group: &mut ClassicGroup) -> Vec<(Arc<str>, Ticket, Bytes)> {
    let mut waiting = Vec::new();
    for (member_id, member) in &mut group.members {
        let ticket = member.syncing.take();
        waiting.extend(ticket.map(|t| (Arc::clone(member_id), t, member.assignment.clone())));
    }
    waiting
}

/// Bytes of the group's record, but for lengths.
fn bytes_of(group: &ClassicGroup) -> usize {
    let members = group.members.iter().map(|(id, member)| {
        let names = id.len() + member.client_id.len() + member.client_host.len();
        let instance = member.instance_id.as_ref().map_or(0, String::len);
        names + instance + group.metadata(member).len() + member.assignment.len()
    });
    members.sum()
}
