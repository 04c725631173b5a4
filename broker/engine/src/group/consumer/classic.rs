//! Members of a consumer group that speak the classic protocol (KIP-848, "online migration").
//!
//! ```text
//!   heartbeat: the group rebalances ► join ► its next step ► sync: what it is to hold ► heartbeats
//! ```
//!
//! The broker assigns, so that nobody waits for others and nobody leads. A member's generation is its
//! member epoch. It moves one step with each join, which says what it holds, and is told of it by the
//! sync.

use std::sync::Arc;

use millstream_proto::group_record::{ClassicMemberMetadata, MemberValue};

use super::{
    heartbeat::{say, session_timeout},
    join::{self, Entry},
    leave::{close_stream, go_on, remove},
    member::{Link, Member, Owes},
    push, rebalance,
};
use crate::group::{
    ClassicJoin, ClassicLeave, ClassicMemberRef, ClassicSync, Joined, Leaver, Owned, PartitionId,
    Refusal, Reply, Synced, Ticket,
    classic::{CONSUMER, Said, check_join, find, read_said, with_words, write_assignment},
    commit::some_of,
    migration,
    turn::Turn,
};

/// Takes in a join, and answers it.
pub(in crate::group) fn join(turn: &mut Turn<'_>, ticket: Ticket, join: &ClassicJoin) {
    let joined = enter(turn, join);
    turn.answer(ticket, joined);
}

fn enter(turn: &mut Turn<'_>, join: &ClassicJoin) -> Result<Reply, Refusal> {
    check_join(turn, join)?;
    let predecessor = predecessor(turn, join)?;
    let named = predecessor.as_ref().unwrap_or(&join.member.member_id);
    let (protocol, said) = check_protocols(turn, join, named)?;
    let is_anonymous = join.member.member_id.is_empty();
    if is_anonymous && join.requires_member_id && join.instance_id.is_none() {
        let member_id = Arc::clone(&join.fresh_member_id);
        return Ok(Reply::MemberIdRequired { member_id });
    }
    let member_id = if is_anonymous {
        &join.fresh_member_id
    } else {
        &join.member.member_id
    };
    if predecessor.is_none() && !is_anonymous {
        check_claim(turn, join)?;
    }
    let entry = admit(turn, member_id, predecessor.as_ref())?;
    let changes = say(turn, member_id, value(join, &said));
    let reason = match (entry, changes) {
        (Entry::New, _) => Some(format!("member {member_id} joined")),
        (Entry::Known, true) => Some(format!("member {member_id} changed its subscription")),
        (Entry::Known, false) => None,
    };
    let reason = reason.map(|reason| with_words(reason, &join.reason));
    owe(turn, member_id, Owes::Sync);
    let owned = Owned {
        partitions: find(&said.owned, turn.topics),
        sequence: None,
    };
    push::acknowledge(turn, member_id, &owned);
    rebalance::settle_joined(turn, reason, member_id, &owned);
    restart_session(turn, member_id);
    let joined = joined(turn, member_id, protocol)?;
    if predecessor.is_some() {
        // It may have been the last one of the consumer protocol.
        let reason = format!("member {member_id} is back with the classic protocol");
        let _ = migration::downgrade(turn, reason);
    }
    Ok(Reply::Joined(Box::new(joined)))
}

/// Refuses somebody who is no consumer, or has no protocol in common with the others of the classic
/// protocol than `but`, which is the one that says so. Returns the protocol that it prefers, and what
/// it says for it.
fn check_protocols<'a>(
    turn: &mut Turn<'_>,
    join: &'a ClassicJoin,
    but: &Arc<str>,
) -> Result<(&'a str, Said), Refusal> {
    let inconsistent = Refusal::InconsistentProtocol {
        group_id: Arc::clone(&turn.group_id),
    };
    let Some(group) = turn.consumers() else {
        return Err(inconsistent);
    };
    let others = group.members.iter().filter(|(id, _)| *id != but);
    let others: Vec<&ClassicMemberMetadata> = others.filter_map(|(_, m)| m.classic()).collect();
    let supports = |classic: &ClassicMemberMetadata, name: &str| {
        let mut protocols = classic.protocols.iter();
        protocols.any(|(other, _)| other == name)
    };
    let is_common = |name: &str| others.iter().all(|classic| supports(classic, name));
    let has_common = join.protocols.iter().any(|(name, _)| is_common(name));
    let preferred = join.protocols.first();
    let preferred = preferred.filter(|_| has_common && join.protocol_type == CONSUMER);
    let (protocol, metadata) = preferred.ok_or_else(|| inconsistent.clone())?;
    let said = read_said(metadata).ok_or(inconsistent)?;
    Ok((protocol, said))
}

/// The member whose place a static member takes: it has the same name, and the request does not know
/// its id.
fn predecessor(turn: &mut Turn<'_>, join: &ClassicJoin) -> Result<Option<Arc<str>>, Refusal> {
    let member_id = &join.member.member_id;
    let unknown = turn.unknown_member(member_id);
    let group_id = Arc::clone(&turn.group_id);
    let (Some(instance_id), Some(group)) = (&join.instance_id, turn.consumers()) else {
        return Ok(None);
    };
    match group.member_of_instance(instance_id) {
        Some((holder, _)) if member_id.is_empty() => Ok(Some(Arc::clone(holder))),
        Some((holder, _)) if holder == member_id => Ok(None),
        Some((holder, _)) => Err(Refusal::FencedInstance {
            group_id,
            instance_id: instance_id.clone(),
            member_id: Arc::clone(holder),
        }),
        None if member_id.is_empty() => Ok(None),
        None => Err(unknown),
    }
}

/// Refuses somebody who is no member any more and believes to hold something: it is told so, and gives
/// up. Who was only told an id, or holds nothing, is as good as new.
fn check_claim(turn: &mut Turn<'_>, join: &ClassicJoin) -> Result<(), Refusal> {
    let member_id = &join.member.member_id;
    let unknown = turn.unknown_member(member_id);
    let is_member = turn
        .consumers()
        .is_some_and(|group| group.members.contains_key(member_id));
    if is_member || !join.claims() {
        return Ok(());
    }
    Err(unknown)
}

fn admit(
    turn: &mut Turn<'_>,
    member_id: &Arc<str>,
    predecessor: Option<&Arc<str>>,
) -> Result<Entry, Refusal> {
    if let Some(predecessor) = predecessor {
        close_stream(turn, predecessor, "another took its place");
        join::succeed(turn, predecessor, member_id);
        return Ok(Entry::Known);
    }
    let max = turn.config.members_max;
    let full = Refusal::TooManyMembers {
        group_id: Arc::clone(&turn.group_id),
        max,
    };
    match turn.consumers() {
        Some(group) if group.members.contains_key(member_id) => Ok(Entry::Known),
        Some(group) if group.members.len() >= max => Err(full),
        Some(_) | None => Ok(Entry::New),
    }
}

/// What the member says, as that of a consumer.
fn value(join: &ClassicJoin, said: &Said) -> MemberValue {
    let as_i32 = |ms: u32| i32::try_from(ms).unwrap_or(i32::MAX);
    let rebalance_timeout_ms = join.rebalance_timeout_ms;
    MemberValue {
        instance_id: join.instance_id.clone(),
        rack_id: said.rack.clone(),
        client_id: join.client_id.clone(),
        client_host: join.client_host.clone(),
        topic_names: said.topic_names(),
        topic_regex: None,
        rebalance_timeout_ms: as_i32(rebalance_timeout_ms.unwrap_or(join.session_timeout_ms)),
        assignor: None,
        classic: Some(ClassicMemberMetadata {
            session_timeout_ms: as_i32(join.session_timeout_ms),
            protocols: join.protocols.clone(),
        }),
    }
}

fn joined(turn: &mut Turn<'_>, member_id: &Arc<str>, protocol: &str) -> Result<Joined, Refusal> {
    let member = turn.known_member(member_id, None)?;
    Ok(Joined {
        member_id: Arc::clone(member_id),
        generation: member.epoch(),
        protocol_type: Arc::from(CONSUMER),
        protocol: Arc::from(protocol),
        leader: Arc::default(),
        skips_assignment: false,
        members: Vec::new(),
    })
}

/// A member of a classic group is one of this group from now on.
pub(in crate::group) fn adopt(turn: &mut Turn<'_>, member_id: &Arc<str>) {
    owe(turn, member_id, Owes::Nothing);
    restart_session(turn, member_id);
}

/// Notes that the member is reached by the classic protocol, and what it is to do. Where that is news
/// it has its rebalance timeout for it, from now on.
fn owe(turn: &mut Turn<'_>, member_id: &Arc<str>, owes: Owes) {
    close_stream(turn, member_id, "it speaks the classic protocol now");
    if let Some(member) = turn.consumers().and_then(|g| g.members.get_mut(member_id)) {
        let before = std::mem::replace(&mut member.link, Link::Classic(owes));
        let is_news = !matches!(before, Link::Classic(before) if before == owes);
        if is_news && member.is_awaited() {
            member.revoke_by_ms = None;
        }
    }
    rebalance::watch_revocation(turn, member_id);
}

fn restart_session(turn: &mut Turn<'_>, member_id: &Arc<str>) {
    let timeout_ms = session_timeout(turn, member_id);
    rebalance::watch_silence(turn, member_id, timeout_ms);
}

/// The member, where it is one of the classic protocol and of this generation.
fn check<'a>(turn: &'a Turn<'_>, asked: &ClassicMemberRef) -> Result<&'a Member, Refusal> {
    let member_id = &asked.member.member_id;
    let member = turn.known_member(member_id, asked.instance_id.as_deref())?;
    if member.classic().is_none() {
        return Err(turn.unknown_member(member_id));
    }
    if member.epoch() != asked.generation {
        return Err(Refusal::IllegalGeneration {
            member_id: Arc::clone(member_id),
            found: asked.generation,
            expected: member.epoch(),
        });
    }
    Ok(member)
}

/// Takes in a sync, and answers it.
pub(in crate::group) fn sync(turn: &mut Turn<'_>, ticket: Ticket, sync: &ClassicSync) {
    let synced = take_sync(turn, sync).map(Reply::Synced);
    turn.answer(ticket, synced);
}

fn take_sync(turn: &mut Turn<'_>, sync: &ClassicSync) -> Result<Synced, Refusal> {
    let member = check(turn, &sync.member)?;
    let group_id = Arc::clone(&turn.group_id);
    let preferred = member
        .classic()
        .and_then(|classic| classic.protocols.first());
    let (protocol, version) = preferred.map_or(("", 0), |(name, metadata)| {
        let version = read_said(metadata).map_or(0, |said| said.version);
        (name.as_str(), version)
    });
    let differs = |said: &Option<String>, is: &str| said.as_deref().is_some_and(|said| said != is);
    let is_known = |name: &str| {
        let mut protocols = member.classic().into_iter().flat_map(|it| &it.protocols);
        protocols.any(|(known, _)| known == name)
    };
    let is_foreign = sync.protocol.as_deref().is_some_and(|name| !is_known(name));
    if differs(&sync.protocol_type, CONSUMER) || is_foreign {
        return Err(Refusal::InconsistentProtocol { group_id });
    }
    // It joined while the group was a classic one, which had another protocol.
    let is_of_classic = differs(&sync.protocol, protocol);
    let synced = Synced {
        protocol_type: Arc::from(CONSUMER),
        protocol: Arc::from(protocol),
        assignment: write_assignment(version, &member.assigned(), turn.topics),
    };
    let member_id = &sync.member.member.member_id;
    let is_behind = is_of_classic || is_behind(turn, member_id);
    restart_session(turn, member_id);
    if is_behind {
        owe(turn, member_id, Owes::Join);
        return Err(Refusal::RebalanceInProgress { group_id });
    }
    owe(turn, member_id, Owes::Nothing);
    Ok(synced)
}

/// Whether a member that has nothing to give up is of an earlier epoch than the group.
fn is_behind(turn: &mut Turn<'_>, member_id: &Arc<str>) -> bool {
    let Some(group) = turn.consumers() else {
        return false;
    };
    let member = group.members.get(member_id);
    member.is_some_and(|member| {
        member.epoch() < group.epoch && member.current.pending_revocation.is_empty()
    })
}

/// Takes in a heartbeat, and answers it.
pub(in crate::group) fn heartbeat(turn: &mut Turn<'_>, ticket: Ticket, asked: &ClassicMemberRef) {
    let heard = beat(turn, asked);
    turn.answer(ticket, heard);
}

fn beat(turn: &mut Turn<'_>, asked: &ClassicMemberRef) -> Result<Reply, Refusal> {
    let member = check(turn, asked)?;
    let is_told = matches!(member.link, Link::Classic(Owes::Join | Owes::Sync));
    let member_id = &asked.member.member_id;
    restart_session(turn, member_id);
    let is_rebalancing = has_next_step(turn, member_id);
    if is_rebalancing && !is_told {
        owe(turn, member_id, Owes::Join);
    }
    Ok(Reply::Heard { is_rebalancing })
}

/// Whether the member has to join: for another epoch, to say that it gave up what it is to, or to get
/// all that it waited for.
fn has_next_step(turn: &mut Turn<'_>, member_id: &Arc<str>) -> bool {
    let Some(group) = turn.consumers() else {
        return false;
    };
    let Some(member) = group.members.get(member_id) else {
        return false;
    };
    let current = &member.current;
    let missing = member
        .target
        .iter()
        .filter(|at| !current.assigned.contains_key(at));
    let missing: Vec<&PartitionId> = missing.collect();
    let can_have_all = !missing.is_empty() && missing.iter().all(|at| group.owner(**at).is_none());
    member.epoch() < group.epoch || !current.pending_revocation.is_empty() || can_have_all
}

/// Takes in a leave, and answers it. Members of the consumer protocol can be put out by it, too.
pub(in crate::group) fn leave(turn: &mut Turn<'_>, ticket: Ticket, leave: &ClassicLeave) {
    let mut gone: Vec<Arc<str>> = Vec::new();
    let mut results = Vec::with_capacity(leave.members.len());
    for leaver in &leave.members {
        let result = go(turn, leaver);
        results.push(result.map(|member_id| gone.push(member_id)));
    }
    turn.reply(ticket, Reply::MembersLeft(results));
    if !gone.is_empty() {
        let ids: Vec<&str> = gone.iter().map(|id| &**id).collect();
        let reason = format!("members left: {}", some_of(&ids));
        go_on(turn, with_words(reason, leave.words()));
    }
}

fn go(turn: &mut Turn<'_>, leaver: &Leaver) -> Result<Arc<str>, Refusal> {
    let member_id = match &leaver.instance_id {
        Some(instance_id) if leaver.member_id.is_empty() => {
            let group = turn.consumers();
            let holder = group.and_then(|group| group.member_of_instance(instance_id));
            let holder = holder.map(|(holder, _)| Arc::clone(holder));
            holder.ok_or_else(|| turn.unknown_member(&leaver.member_id))?
        }
        _ => Arc::clone(&leaver.member_id),
    };
    turn.known_member(&member_id, leaver.instance_id.as_deref())?;
    close_stream(turn, &member_id, "it was put out of the group");
    remove(turn, &member_id);
    Ok(member_id)
}
