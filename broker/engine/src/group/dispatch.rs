//! Who takes in what groups of both kinds are told: requests of the classic protocol, which members of
//! consumer groups may speak, too, and timers.

use super::{
    ClassicJoin, ClassicLeave, ClassicMemberRef, ClassicSync, Ticket, Timer, classic, consumer,
    state::Kind, turn::Turn,
};

pub(super) fn join(turn: &mut Turn<'_>, ticket: Ticket, join: &ClassicJoin) {
    if has_consumers(turn) {
        consumer::classic_join(turn, ticket, join);
    } else {
        classic::join(turn, ticket, join);
    }
}

pub(super) fn sync(turn: &mut Turn<'_>, ticket: Ticket, sync: &ClassicSync) {
    if has_consumers(turn) {
        consumer::classic_sync(turn, ticket, sync);
    } else {
        classic::sync(turn, ticket, sync);
    }
}

pub(super) fn heartbeat(turn: &mut Turn<'_>, ticket: Ticket, member: &ClassicMemberRef) {
    if has_consumers(turn) {
        consumer::classic_heartbeat(turn, ticket, member);
    } else {
        classic::heartbeat(turn, ticket, member);
    }
}

pub(super) fn leave(turn: &mut Turn<'_>, ticket: Ticket, leave: &ClassicLeave) {
    if has_consumers(turn) {
        consumer::classic_leave(turn, ticket, leave);
    } else {
        classic::leave(turn, ticket, leave);
    }
}

pub(super) fn timer_due(turn: &mut Turn<'_>, timer: &Timer) {
    match turn.group.kind {
        Kind::Classic(_) => classic::timer_due(turn, timer),
        Kind::Simple | Kind::Consumer(_) => consumer::timer_due(turn, timer),
    }
}

/// Whether it is a group of consumers that has members; an empty one may become one of another kind.
fn has_consumers(turn: &Turn<'_>) -> bool {
    matches!(&turn.group.kind, Kind::Consumer(group) if !group.members.is_empty())
}
