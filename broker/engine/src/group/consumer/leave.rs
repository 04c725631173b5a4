//! How a member ceases to be one: it leaves, is silent for too long, or does not give up what it is to.

use std::sync::Arc;

use millstream_proto::group_record::GroupRecord;

use super::{
    heartbeat::session_timeout,
    member::{AWAY_EPOCH, Link},
    rebalance::{self, settle, stop_clocks},
    regex,
};
use crate::group::{
    Action, Leave, MemberRef, Refusal, Reply, Ticket, Timer, migration, turn::Turn,
};

/// Takes in a leave, and answers it.
pub(in crate::group) fn leave(turn: &mut Turn<'_>, ticket: Ticket, leave: &Leave) {
    let left = go(turn, leave).map(|member_epoch| Reply::Left { member_epoch });
    turn.answer(ticket, left);
}

fn go(turn: &mut Turn<'_>, leave: &Leave) -> Result<i32, Refusal> {
    let member_id = &leave.member.member_id;
    let member = turn.known_member(member_id, leave.instance_id.as_deref())?;
    if leave.keeps_partitions {
        if member.instance_id().is_none() {
            return Err(Refusal::Invalid(
                "only a static member keeps its partitions",
            ));
        }
        step_out(turn, member_id);
        return Ok(AWAY_EPOCH);
    }
    remove(turn, member_id);
    go_on(turn, format!("member {member_id} left"));
    Ok(-1)
}

/// A static member goes for a while: it reads nothing, and gets nothing, but what it was assigned
/// waits for it as long as its session lasts.
fn step_out(turn: &mut Turn<'_>, member_id: &Arc<str>) {
    let key = turn.member_key(member_id);
    let timeout_ms = session_timeout(turn, member_id);
    let Some(member) = turn.consumers().and_then(|g| g.members.get_mut(member_id)) else {
        return;
    };
    member.link = Link::None;
    let mut current = member.current.clone();
    current.previous_epoch = current.epoch;
    current.epoch = AWAY_EPOCH;
    current.pending_revocation.clear();
    let value = current.value(&member.target);
    turn.write(GroupRecord::CurrentMember(key, Some(value)));
    rebalance::watch_revocation(turn, member_id);
    rebalance::watch_silence(turn, member_id, timeout_ms);
    settle(turn, None, None);
}

/// A timer is due. One that was set anew since, or belongs to a member that is one no more, is late
/// and means nothing.
pub(in crate::group) fn timer_due(turn: &mut Turn<'_>, timer: &Timer) {
    let now_ms = turn.now.monotonic_ms;
    let (Timer::Session(member_ref) | Timer::Rebalance(member_ref)) = timer else {
        return;
    };
    let member_id = &member_ref.member_id;
    let Some(member) = turn
        .consumers()
        .and_then(|group| group.members.get(member_id))
    else {
        return;
    };
    let has_link = !matches!(member.link, Link::None);
    let (due_at, fenced_for, reason) = match timer {
        Timer::Session(_) if has_link => {
            let reason = format!("member {member_id} was silent for too long");
            (member.silent_at_ms, "it was silent for too long", reason)
        }
        Timer::Session(_) => {
            let reason = format!("member {member_id} was gone and did not come back");
            (member.silent_at_ms, "it was gone for too long", reason)
        }
        Timer::Rebalance(_) | Timer::Join(_) | Timer::Sync(_) if member.classic().is_some() => {
            let reason = format!("member {member_id} did not join or sync in time");
            (
                member.revoke_by_ms,
                "it did not join or sync in time",
                reason,
            )
        }
        Timer::Rebalance(_) | Timer::Join(_) | Timer::Sync(_) => {
            let reason = format!("member {member_id} did not give up its partitions in time");
            let fenced_for = "it did not give up its partitions in time";
            (member.revoke_by_ms, fenced_for, reason)
        }
    };
    if due_at.is_some_and(|at| at <= now_ms) {
        evict(turn, member_ref, fenced_for, reason);
    }
}

fn evict(turn: &mut Turn<'_>, member: &MemberRef, fenced_for: &'static str, reason: String) {
    close_stream(turn, &member.member_id, fenced_for);
    remove(turn, &member.member_id);
    go_on(turn, reason);
}

/// Closes the member's stream, if it has one.
pub(super) fn close_stream(turn: &mut Turn<'_>, member_id: &Arc<str>, reason: &'static str) {
    let member_ref = turn.member_ref(member_id);
    let found = turn.consumers().and_then(|g| g.members.get(member_id));
    if let Some(Link::Stream(stream)) = found.map(|found| &found.link) {
        let close = Action::CloseStream {
            member: member_ref,
            stream: stream.id,
            refusal: Refusal::Fenced {
                member_id: Arc::clone(member_id),
                reason,
            },
        };
        turn.act(close);
    }
}

/// Gives what is free by now to the others, or leaves it to them if all speak the classic protocol.
pub(super) fn go_on(turn: &mut Turn<'_>, reason: String) {
    if let Err(reason) = migration::downgrade(turn, reason) {
        settle(turn, Some(reason), None);
    }
}

/// Forgets a member; what it held is free.
pub(in crate::group) fn remove(turn: &mut Turn<'_>, member_id: &Arc<str>) {
    let member_ref = turn.member_ref(member_id);
    stop_clocks(turn, &member_ref);
    let regex = turn
        .consumers()
        .and_then(|group| group.members.get(member_id))
        .and_then(|member| member.regex().map(str::to_owned));
    let key = turn.member_key(member_id);
    turn.write(GroupRecord::CurrentMember(key.clone(), None));
    turn.write(GroupRecord::TargetMember(key.clone(), None));
    turn.write(GroupRecord::Member(key, None));
    if let Some(regex) = regex {
        regex::forget_unused(turn, &regex);
    }
}
