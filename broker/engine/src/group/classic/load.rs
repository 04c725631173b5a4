//! What follows once every record of a classic group was replayed.

use std::sync::Arc;

use super::{clock, rebalance};
use crate::group::turn::Turn;

/// Every record was replayed: each member gets a session in which to be heard of. A group that has more
/// members than it may, as the limit was lowered, loses those that join last. One that had become a
/// classic one, and stopped before its members had joined, has them join now.
pub(in crate::group) fn loaded(turn: &mut Turn<'_>) {
    let max = turn.config.classic_members_max;
    let Some(group) = turn.classic() else {
        return;
    };
    let members: Vec<Arc<str>> = group.members.keys().cloned().collect();
    let count = members.len();
    let is_to_settle_in = group.is_to_settle_in();
    for member_id in &members {
        clock::restart_session(turn, member_id);
    }
    if count > max {
        rebalance::go_on(turn, format!("{count} members, at most {max} are allowed"));
    } else if is_to_settle_in {
        rebalance::go_on(turn, "all members speak the classic protocol".to_owned());
    }
}
