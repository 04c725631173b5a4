//! How somebody becomes a member of a classic group, and a member one of its next generation.
//!
//! ```text
//!   no member id  static name  ► takes the place of the member that has it, or is a new member
//!                 none         ► is told an id to join with (KIP-394), or is a new member
//!   member id     just given   ► is a new member
//!                 a member's   ► says the same as before: is told of the generation once more
//!                                says something else, or leads: rebalance
//! ```

use std::sync::Arc;

use super::{
    ClassicGroup, Joined, Member, Phase, clock, leave,
    limits::{check_join, with_words},
    rebalance,
};
use crate::group::{
    ClassicJoin, Refusal, Reply, Ticket, forget::forget_kind, state::Kind, turn::Turn,
};

/// Takes in a join, and answers it, at once or when the generation begins.
pub(in crate::group) fn join(turn: &mut Turn<'_>, ticket: Ticket, join: &ClassicJoin) {
    if let Err(refusal) = enter(turn, ticket, join) {
        turn.reply(ticket, Reply::Refused(refusal));
    }
}

fn enter(turn: &mut Turn<'_>, ticket: Ticket, join: &ClassicJoin) -> Result<(), Refusal> {
    check_join(turn, join)?;
    make_classic(turn, join)?;
    let predecessor = predecessor(turn, join)?;
    let named = predecessor.as_ref().unwrap_or(&join.member.member_id);
    make_room(turn, named)?;
    let inconsistent = Refusal::InconsistentProtocol {
        group_id: Arc::clone(&turn.group_id),
    };
    let unknown = turn.unknown_member(&join.member.member_id);
    let Some(group) = turn.classic() else {
        return Err(unknown);
    };
    if !group.supports(join, named) {
        return Err(inconsistent);
    }
    let member_id = &join.member.member_id;
    if let Some(predecessor) = predecessor {
        succeed(turn, ticket, join, &predecessor);
    } else if group.members.contains_key(member_id) {
        rejoin(turn, ticket, join);
    } else if group.pending.contains_key(member_id) {
        add(turn, ticket, join, member_id);
    } else if !member_id.is_empty() {
        return Err(unknown);
    } else if join.requires_member_id && join.instance_id.is_none() {
        clock::watch_pending(turn, &join.fresh_member_id, join.session_timeout_ms);
        let member_id = Arc::clone(&join.fresh_member_id);
        turn.reply(ticket, Reply::MemberIdRequired { member_id });
    } else {
        add(turn, ticket, join, &join.fresh_member_id);
    }
    Ok(())
}

/// Makes a group that has no members a classic one, for somebody who may become its first.
fn make_classic(turn: &mut Turn<'_>, join: &ClassicJoin) -> Result<(), Refusal> {
    let generation = match &turn.group.kind {
        Kind::Classic(_) => return Ok(()),
        Kind::Consumer(group) => Some(group.epoch),
        Kind::Simple => None,
    };
    let member_id = &join.member.member_id;
    // Who believes to hold something is told that it is no member, and gives up.
    let may_be_told = generation.is_some() && join.instance_id.is_none() && !join.claims();
    if !member_id.is_empty() && !may_be_told {
        return Err(turn.unknown_member(member_id));
    }
    if !ClassicGroup::default().supports(join, "") {
        return Err(Refusal::InconsistentProtocol {
            group_id: Arc::clone(&turn.group_id),
        });
    }
    forget_kind(turn);
    let group = ClassicGroup::empty(generation.unwrap_or(0), turn.now.timestamp_ms);
    turn.group.kind = Kind::Classic(Box::new(group));
    if generation.is_some() {
        rebalance::write(turn);
    }
    if !member_id.is_empty() {
        // It was told its id while the group had members, who keep no list of such ids.
        clock::watch_pending(turn, member_id, join.session_timeout_ms);
    }
    Ok(())
}

/// Refuses somebody for whom there is no room. While members join, those who were first stay, so that
/// a group that has more members than it may have loses the last ones.
fn make_room(turn: &mut Turn<'_>, member_id: &Arc<str>) -> Result<(), Refusal> {
    let max = turn.config.classic_members_max;
    let Some(group) = turn.classic() else {
        return Ok(());
    };
    let member = group.members.get(member_id);
    let has_room = match group.phase {
        Phase::Empty => true,
        Phase::Preparing(_) => {
            let joining = group.members.values().filter(|m| m.joining.is_some());
            member.is_some_and(|member| member.joining.is_some()) || joining.count() < max
        }
        Phase::Completing | Phase::Stable => member.is_some() || group.members.len() < max,
    };
    if has_room {
        return Ok(());
    }
    leave::forget_pending(turn, member_id);
    leave::remove(turn, member_id);
    rebalance::complete_if_ready(turn);
    Err(Refusal::TooManyMembers {
        group_id: Arc::clone(&turn.group_id),
        max,
    })
}

/// The member whose place a static member takes: it has the same name, and the request does not know
/// its id.
fn predecessor(turn: &mut Turn<'_>, join: &ClassicJoin) -> Result<Option<Arc<str>>, Refusal> {
    let group_id = Arc::clone(&turn.group_id);
    let (Some(instance_id), Some(group)) = (&join.instance_id, turn.classic()) else {
        return Ok(None);
    };
    let member_id = &join.member.member_id;
    match group.member_of_instance(instance_id) {
        Some(holder) if member_id.is_empty() => Ok(Some(Arc::clone(holder))),
        Some(holder) if holder != member_id => Err(Refusal::FencedInstance {
            group_id,
            instance_id: instance_id.clone(),
            member_id: Arc::clone(holder),
        }),
        Some(_) | None => Ok(None),
    }
}

fn add(turn: &mut Turn<'_>, ticket: Ticket, join: &ClassicJoin, member_id: &Arc<str>) {
    let timeout_ms = turn.config.classic_first_join_timeout_ms;
    let Some(group) = turn.classic() else {
        return;
    };
    group.pending.remove(member_id);
    if let Phase::Preparing(Some(delay)) = &mut group.phase {
        delay.has_newcomer = true;
    }
    if group.members.is_empty() {
        group.protocol_type = Arc::from(&*join.protocol_type);
        group.leader = Some(Arc::clone(member_id));
    }
    let mut member = Member::new(join);
    member.joining = Some(ticket);
    group.members.insert(Arc::clone(member_id), member);
    clock::watch_silence(turn, member_id, timeout_ms);
    let reason = match &join.instance_id {
        Some(instance_id) => format!("static member {instance_id} joined as {member_id}"),
        None => format!("member {member_id} joined"),
    };
    rebalance::go_on(turn, with_words(reason, &join.reason));
}

/// A member joins once more.
fn rejoin(turn: &mut Turn<'_>, ticket: Ticket, join: &ClassicJoin) {
    let member_id = &join.member.member_id;
    let Some(group) = turn.classic() else {
        return;
    };
    let Some(member) = group.members.get(member_id) else {
        return;
    };
    let says_the_same = member.protocols == join.protocols;
    let is_leader = group.is_leader(member_id);
    let is_told = match group.phase {
        Phase::Empty | Phase::Preparing(_) => false,
        // It may have missed the answer to its last join.
        Phase::Completing => says_the_same,
        // A leader joins again where something changed that only it sees, as the partitions of topics.
        Phase::Stable => says_the_same && !is_leader,
    };
    if is_told {
        let joined = group.told(member_id);
        clock::restart_session(turn, member_id);
        return turn.reply(ticket, Reply::Joined(Box::new(joined)));
    }
    wait(turn, ticket, join, member_id);
    let reason = match says_the_same {
        true if is_leader => format!("leader {member_id} joined again"),
        true => format!("member {member_id} joined again"),
        false => format!("member {member_id} changed its metadata"),
    };
    rebalance::go_on(turn, with_words(reason, &join.reason));
}

/// Notes what the member says now, and has it wait for the next generation.
fn wait(turn: &mut Turn<'_>, ticket: Ticket, join: &ClassicJoin, member_id: &Arc<str>) {
    let found = turn
        .classic()
        .and_then(|group| group.members.get_mut(member_id));
    let Some(member) = found else {
        return;
    };
    member.say(join);
    if let Some(before) = member.joining.replace(ticket) {
        turn.supersede(before, member_id);
    }
}

/// Gives a static member's place to the one that came with its name. Where the generation goes on
/// without a rebalance, the successor is told so.
fn succeed(turn: &mut Turn<'_>, ticket: Ticket, join: &ClassicJoin, predecessor: &Arc<str>) {
    let member_id = &join.fresh_member_id;
    rename(turn, join, predecessor);
    wait(turn, ticket, join, member_id);
    clock::restart_session(turn, member_id);
    let Some(group) = turn.classic() else {
        return;
    };
    let is_undisturbed = group.phase == Phase::Stable && group.vote() == group.protocol;
    if !is_undisturbed {
        let name = join.instance_id.as_deref().unwrap_or_default();
        let reason = format!("static member {name} is back as {member_id}");
        return rebalance::go_on(turn, with_words(reason, &join.reason));
    }
    if let Some(member) = group.members.get_mut(member_id) {
        member.joining = None;
    }
    let joined = welcome(group, join, predecessor);
    rebalance::write(turn);
    turn.reply(ticket, Reply::Joined(Box::new(joined)));
}

/// What a static member is told that takes its place in a stable generation. A leader that cannot be
/// told to assign nothing is told that its predecessor leads, so that it does not assign (KIP-345).
fn welcome(group: &ClassicGroup, join: &ClassicJoin, predecessor: &Arc<str>) -> Joined {
    let mut joined = group.told(&join.fresh_member_id);
    if group.is_leader(&join.fresh_member_id) {
        joined.skips_assignment = join.can_skip_assignment;
        if !join.can_skip_assignment {
            joined.leader = Arc::clone(predecessor);
            joined.members.clear();
        }
    }
    joined
}

/// Gives what a static member has to its next id; who still uses the last one is fenced.
fn rename(turn: &mut Turn<'_>, join: &ClassicJoin, predecessor: &Arc<str>) {
    let fenced = Refusal::FencedInstance {
        group_id: Arc::clone(&turn.group_id),
        instance_id: join.instance_id.clone().unwrap_or_default(),
        member_id: Arc::clone(&join.fresh_member_id),
    };
    let successor = Arc::clone(&join.fresh_member_id);
    clock::stop_session(turn, predecessor);
    let Some(group) = turn.classic() else {
        return;
    };
    let Some(mut member) = group.members.remove(predecessor) else {
        return;
    };
    if group.is_leader(predecessor) {
        group.leader = Some(Arc::clone(&successor));
    }
    let waiting = [member.joining.take(), member.syncing.take()];
    group.members.insert(successor, member);
    for ticket in waiting.into_iter().flatten() {
        turn.reply(ticket, Reply::Refused(fenced.clone()));
    }
}
