//! What happens on a member's stream after its first message.

use std::sync::Arc;

use super::{
    heartbeat::{alive, say, session_timeout, subscribe},
    limits,
    member::Link,
    push, rebalance, regex,
};
use crate::group::{Alive, MemberRef, Refusal, Reply, StreamId, StreamReport, Ticket, turn::Turn};

/// Takes in what a member says on its stream, and answers it.
pub(in crate::group) fn stream_report(turn: &mut Turn<'_>, ticket: Ticket, report: &StreamReport) {
    let alive = take_in(turn, report).map(|alive| Reply::Alive(Box::new(alive)));
    turn.answer(ticket, alive);
}

fn take_in(turn: &mut Turn<'_>, report: &StreamReport) -> Result<Alive, Refusal> {
    let member_id = &report.member.member_id;
    let unknown = turn.unknown_member(member_id);
    if let Some(subscription) = &report.subscription {
        limits::check_subscription(turn.config, subscription)?;
    }
    let Some(member) = turn.consumers().and_then(|g| g.members.get_mut(member_id)) else {
        return Err(unknown);
    };
    if member.stream_mut(report.stream).is_none() {
        return Err(Refusal::StreamReplaced {
            member_id: Arc::clone(member_id),
        });
    }
    let mut reason = None;
    if let (Some(subscription), Some(mut said)) = (&report.subscription, member.said.clone()) {
        subscribe(&mut said, subscription);
        if say(turn, member_id, said) {
            reason = Some(format!("member {member_id} changed its subscription"));
            regex::resolve_missing(turn, member_id);
        }
    }
    if let Some(owned) = &report.owned {
        push::acknowledge(turn, member_id, owned);
    }
    if report.owned.is_some() || reason.is_some() {
        rebalance::settle(turn, reason, None);
    }
    let timeout_ms = session_timeout(turn, member_id);
    rebalance::watch_silence(turn, member_id, timeout_ms);
    alive(turn, member_id).ok_or(unknown)
}

/// A member's stream ended without a leave: it may come back for a short while.
pub(in crate::group) fn stream_broken(turn: &mut Turn<'_>, member: &MemberRef, stream: StreamId) {
    let grace_ms = turn.config.reconnect_grace_ms;
    let timeout_ms = session_timeout(turn, &member.member_id).min(grace_ms);
    let found = turn
        .consumers()
        .and_then(|group| group.members.get_mut(&member.member_id));
    let Some(found) = found else {
        return;
    };
    if found.stream_mut(stream).is_some() {
        found.link = Link::None;
        rebalance::watch_silence(turn, &member.member_id, timeout_ms);
    }
}
