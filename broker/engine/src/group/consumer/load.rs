//! What follows once every record of a group was replayed, and when topics change.

use std::sync::Arc;

use super::{
    heartbeat::session_timeout,
    rebalance::{settle, watch_revocation, watch_silence},
    regex,
};
use crate::group::turn::Turn;

/// Every record was replayed: each member gets a session in which to come back.
pub(in crate::group) fn loaded(turn: &mut Turn<'_>) {
    let Some(group) = turn.consumers() else {
        return;
    };
    let strangers: Vec<Arc<str>> = group
        .members
        .iter()
        .filter(|(_, member)| member.said.is_none())
        .map(|(id, _)| Arc::clone(id))
        .collect();
    for member_id in strangers {
        // Records of a member that never said anything: nobody can hold anything by them.
        group.forget(&member_id);
    }
    let members: Vec<Arc<str>> = group.members.keys().cloned().collect();
    for member_id in &members {
        let timeout_ms = session_timeout(turn, member_id);
        watch_silence(turn, member_id, timeout_ms);
        watch_revocation(turn, member_id);
    }
    topics_changed(turn);
}

/// Topics may have begun or ceased to exist, or got partitions.
pub(in crate::group) fn topics_changed(turn: &mut Turn<'_>) {
    let topics = turn.topics;
    let Some(group) = turn.consumers() else {
        return;
    };
    if group.members.is_empty() {
        return;
    }
    let is_other = group.hash_of_topics(topics) != group.metadata_hash;
    regex::resolve_all(turn);
    let reason = is_other.then(|| "subscribed topics changed".to_owned());
    settle(turn, reason, None);
}
