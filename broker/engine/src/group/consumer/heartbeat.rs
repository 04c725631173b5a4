//! Heartbeats, and the first message of a stream: joining, coming back, being alive (KIP-848).
//!
//! ```text
//!   epoch 0        join.rs: a new member, a static one that is back, or the same one once more
//!   epoch > 0      is it the member's? ── no ──► fenced, it joins anew
//!                         │ yes, or an earlier one and all it holds was assigned by then
//!                         ▼
//!   what it said ► its stream ► what it gave up ► (another epoch, target) ► its next step
//! ```

use std::sync::Arc;

use millstream_proto::group_record::{GroupRecord, MemberValue};

use super::{
    join::{self, Entry},
    limits,
    member::{Link, Member, Stream},
    push, rebalance, regex,
};
use crate::group::{
    Action, Alive, Assignment, Heartbeat, Owned, Refusal, Reply, Subscription, Ticket, turn::Turn,
};

/// Takes in a heartbeat, and answers it.
pub(in crate::group) fn heartbeat(turn: &mut Turn<'_>, ticket: Ticket, heartbeat: &Heartbeat) {
    let alive = beat(turn, heartbeat).map(|alive| Reply::Alive(Box::new(alive)));
    turn.answer(ticket, alive);
}

fn beat(turn: &mut Turn<'_>, heartbeat: &Heartbeat) -> Result<Alive, Refusal> {
    limits::check(turn.config, heartbeat)?;
    let entry = if heartbeat.member_epoch == 0 {
        join::enter(turn, heartbeat)?
    } else {
        check_epoch(turn, heartbeat)?;
        Entry::Known
    };
    let member_id = &heartbeat.member.member_id;
    let said = said(turn, heartbeat);
    let changes_subscription = say(turn, member_id, said);
    link(turn, heartbeat);
    // Who joins holds nothing.
    let joins = heartbeat.member_epoch == 0;
    let joined = joins.then(Owned::default);
    if let Some(owned) = heartbeat.owned.as_ref().or(joined.as_ref()) {
        push::acknowledge(turn, member_id, owned);
    }
    regex::resolve_missing(turn, member_id);
    let reason = entry.reason(heartbeat).or_else(|| {
        changes_subscription.then(|| format!("member {member_id} changed its subscription"))
    });
    match &joined {
        Some(owned) => rebalance::settle_joined(turn, reason, member_id, owned),
        None => rebalance::settle(turn, reason, Some(member_id)),
    }
    let session_timeout_ms = session_timeout(turn, member_id);
    rebalance::watch_silence(turn, member_id, session_timeout_ms);
    answer(turn, heartbeat)
}

/// Refuses a heartbeat of somebody who is no member, or who missed so much that it may hold what it
/// was told to give up.
fn check_epoch(turn: &mut Turn<'_>, heartbeat: &Heartbeat) -> Result<(), Refusal> {
    let member_id = &heartbeat.member.member_id;
    let member = turn.known_member(member_id, heartbeat.instance_id.as_deref())?;
    let owned = heartbeat.owned.as_ref().map(|owned| &owned.partitions);
    let is_in_time = heartbeat.member_epoch == member.epoch()
        && owned.is_none_or(|owned| member.current.covers(owned, heartbeat.member_epoch));
    let missed_an_answer = heartbeat.member_epoch < member.epoch()
        && owned.is_some_and(|owned| member.current.covers(owned, heartbeat.member_epoch));
    if is_in_time || missed_an_answer {
        return Ok(());
    }
    Err(Refusal::FencedEpoch {
        member_id: Arc::clone(member_id),
        found: heartbeat.member_epoch,
        expected: member.epoch(),
    })
}

/// What the member says of itself from now on.
fn said(turn: &mut Turn<'_>, heartbeat: &Heartbeat) -> MemberValue {
    let default = turn.config.rebalance_timeout;
    let before = turn
        .consumers()
        .and_then(|group| group.members.get(&heartbeat.member.member_id))
        .and_then(|member| member.said.clone());
    let mut said = before.unwrap_or_else(|| MemberValue {
        instance_id: None,
        rack_id: None,
        client_id: String::new(),
        client_host: String::new(),
        topic_names: Vec::new(),
        topic_regex: None,
        rebalance_timeout_ms: -1,
        assignor: None,
        classic: None,
    });
    if heartbeat.member_epoch == 0 {
        said.classic = None;
    }
    said.client_id.clone_from(&heartbeat.client_id);
    said.client_host.clone_from(&heartbeat.client_host);
    if heartbeat.instance_id.is_some() {
        said.instance_id.clone_from(&heartbeat.instance_id);
    }
    if heartbeat.rack_id.is_some() {
        said.rack_id.clone_from(&heartbeat.rack_id);
    }
    if let Some(assignor) = &heartbeat.assignor {
        said.assignor = (!assignor.is_empty()).then(|| assignor.clone());
    }
    if heartbeat.rebalance_timeout_ms.is_some() || said.rebalance_timeout_ms < 0 {
        let chosen = default.choose(heartbeat.rebalance_timeout_ms);
        said.rebalance_timeout_ms = i32::try_from(chosen).unwrap_or(i32::MAX);
    }
    if let Some(subscription) = &heartbeat.subscription {
        subscribe(&mut said, subscription);
    }
    said
}

/// Puts a subscription into what a member says of itself.
pub(super) fn subscribe(said: &mut MemberValue, subscription: &Subscription) {
    let mut topics = subscription.topics.clone();
    topics.sort();
    topics.dedup();
    said.topic_names = topics;
    let regex = subscription.topic_regex.clone();
    said.topic_regex = regex.filter(|regex| !regex.is_empty());
}

/// Notes what a member says of itself. Returns whether it subscribes to something else than before;
/// a new member does not.
pub(super) fn say(turn: &mut Turn<'_>, member_id: &Arc<str>, said: MemberValue) -> bool {
    let key = turn.member_key(member_id);
    let before = turn
        .consumers()
        .and_then(|group| group.members.get(member_id))
        .and_then(|member| member.said.as_ref());
    if before == Some(&said) {
        return false;
    }
    let changes = before.is_some_and(|before| {
        before.topic_names != said.topic_names
            || before.topic_regex != said.topic_regex
            || before.assignor != said.assignor
            || before.rack_id != said.rack_id
    });
    let dropped = before.and_then(|before| before.topic_regex.clone());
    turn.write(GroupRecord::Member(key, Some(said)));
    if let Some(dropped) = dropped {
        regex::forget_unused(turn, &dropped);
    }
    changes
}

/// Notes how the member is reached from now on, and for how long it may be silent.
fn link(turn: &mut Turn<'_>, heartbeat: &Heartbeat) {
    let member_ref = turn.member_ref(&heartbeat.member.member_id);
    let default = turn.config.session_timeout;
    let found = turn
        .consumers()
        .and_then(|group| group.members.get_mut(&member_ref.member_id));
    let Some(member) = found else {
        return;
    };
    if heartbeat.session_timeout_ms.is_some() || member.session_timeout_ms.is_none() {
        member.session_timeout_ms = Some(default.choose(heartbeat.session_timeout_ms));
    }
    let link = match (heartbeat.stream, &member.link) {
        (Some(id), _) => Link::Stream(Stream {
            id,
            sequence: 0,
            pushed: None,
        }),
        (None, Link::Heartbeats { .. }) => return,
        (None, Link::None | Link::Stream(_) | Link::Classic(_)) => Link::Heartbeats { told: None },
    };
    let before = std::mem::replace(&mut member.link, link);
    if let Link::Stream(stream) = before {
        let refusal = Refusal::StreamReplaced {
            member_id: Arc::clone(&member_ref.member_id),
        };
        turn.act(Action::CloseStream {
            member: member_ref,
            stream: stream.id,
            refusal,
        });
    }
}

/// How long the member may be silent.
pub(super) fn session_timeout(turn: &mut Turn<'_>, member_id: &Arc<str>) -> u32 {
    let default = turn.config.session_timeout.default_ms;
    turn.consumers()
        .and_then(|group| group.members.get(member_id))
        .and_then(Member::session_timeout_ms)
        .unwrap_or(default)
}

fn answer(turn: &mut Turn<'_>, heartbeat: &Heartbeat) -> Result<Alive, Refusal> {
    let unknown = turn.unknown_member(&heartbeat.member.member_id);
    let is_full = heartbeat.member_epoch == 0
        || (heartbeat.subscription.is_some() && heartbeat.owned.is_some());
    let mut alive = alive(turn, &heartbeat.member.member_id).ok_or(unknown)?;
    let found = turn
        .consumers()
        .and_then(|group| group.members.get_mut(&heartbeat.member.member_id));
    if let Some(member) = found {
        alive.assignment = tell(member, is_full);
    }
    Ok(alive)
}

/// What to tell a member without a stream.
fn tell(member: &mut Member, is_full: bool) -> Option<Assignment> {
    let assigned = member.assigned();
    let Link::Heartbeats { told } = &mut member.link else {
        return None;
    };
    let is_news = is_full || told.as_ref() != Some(&assigned);
    *told = Some(assigned.clone());
    is_news.then_some(assigned)
}

/// The answer to a member that is alive and has nothing to be told.
pub(super) fn alive(turn: &mut Turn<'_>, member_id: &Arc<str>) -> Option<Alive> {
    let session_timeout_ms = session_timeout(turn, member_id);
    let heartbeat_interval_ms = turn.config.heartbeat_interval_for_ms(session_timeout_ms);
    let default = turn.config.rebalance_timeout.default_ms;
    let member = turn.consumers()?.members.get(member_id)?;
    let said = member.said.as_ref().map(|said| said.rebalance_timeout_ms);
    let rebalance_timeout_ms = said.and_then(|ms| u32::try_from(ms).ok());
    Some(Alive {
        member_id: Arc::clone(member_id),
        member_epoch: member.epoch(),
        heartbeat_interval_ms,
        session_timeout_ms,
        rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(default),
        assignment: None,
    })
}
