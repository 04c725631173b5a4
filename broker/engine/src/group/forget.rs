//! Forgetting: committed offsets on request, by age and with their topic, and whole groups.

use std::{collections::BTreeSet, sync::Arc};

use millstream_proto::group_record::{
    GroupRecord, OffsetCommitValue, RebalanceKey, RegularExpressionKey,
};

use super::{Refusal, Reply, Ticket, commit, offsets::offset_record, state::Kind, turn::Turn};

/// Forgets committed offsets on request, and answers it.
pub(super) fn delete_offsets(turn: &mut Turn<'_>, ticket: Ticket, partitions: &[(Arc<str>, i32)]) {
    if turn.group.is_vacant() {
        let refusal = not_found(turn);
        return turn.reply(ticket, Reply::Refused(refusal));
    }
    if let (Kind::Classic(group), Some(members)) = (&turn.group.kind, commit::names(turn.group))
        && !group.has_consumers()
    {
        // Nobody but its members knows what they read.
        let group_id = Arc::clone(&turn.group_id);
        return turn.reply(
            ticket,
            Reply::Refused(Refusal::NonEmpty { group_id, members }),
        );
    }
    let results = partitions
        .iter()
        .map(|(topic, partition)| delete_offset(turn, topic, *partition))
        .collect();
    turn.reply(ticket, Reply::OffsetsDeleted(results));
}

fn delete_offset(turn: &mut Turn<'_>, topic: &Arc<str>, partition: i32) -> Result<(), Refusal> {
    let group_id = Arc::clone(&turn.group_id);
    match &turn.group.kind {
        Kind::Consumer(group) if group.subscribes(topic) => {
            return Err(Refusal::Subscribed {
                group_id,
                topic: Arc::clone(topic),
            });
        }
        Kind::Classic(group) if !group.members.is_empty() && group.may_subscribe(topic) => {
            return Err(Refusal::Subscribed {
                group_id,
                topic: Arc::clone(topic),
            });
        }
        Kind::Simple | Kind::Classic(_) | Kind::Consumer(_) => {}
    }
    if turn.group.offsets.contains(topic, partition) {
        turn.write(offset_record(&group_id, topic, partition, None));
    }
    Ok(())
}

fn not_found(turn: &Turn<'_>) -> Refusal {
    Refusal::GroupNotFound {
        group_id: Arc::clone(&turn.group_id),
    }
}

/// Forgets a group on request, and answers it.
pub(super) fn delete_group(turn: &mut Turn<'_>, ticket: Ticket) {
    let result = if turn.group.is_vacant() {
        Err(not_found(turn))
    } else if let Some(members) = commit::names(turn.group) {
        Err(Refusal::NonEmpty {
            group_id: Arc::clone(&turn.group_id),
            members,
        })
    } else {
        let every = offsets_where(turn, |_, _| true);
        forget_offsets(turn, &every);
        forget_kind(turn);
        forget_history(turn);
        Ok(Reply::GroupDeleted)
    };
    turn.answer(ticket, result);
}

/// Forgets what was committed for topics that are no more. A commit for a topic that has the name by
/// now stays.
pub(super) fn topics_deleted(turn: &mut Turn<'_>, deleted: &BTreeSet<Arc<str>>) {
    let topics = turn.topics;
    let gone = offsets_where(turn, |topic, value| {
        let heir = topics.get(topic).map(|heir| heir.id);
        deleted.contains(topic) && (heir.is_none() || value.topic_id != heir)
    });
    forget_offsets(turn, &gone);
}

/// Forgets offsets that expired, at most `room` of them, and then the group if nothing is left of it.
/// Returns how many records that took, and whether more have expired.
pub(super) fn expire(turn: &mut Turn<'_>, room: usize) -> (usize, bool) {
    let before = turn.outcome.records.len();
    let (now_ms, retention_ms) = (turn.now.timestamp_ms, turn.config.offsets_retention_ms);
    let mut expired = match &turn.group.kind {
        Kind::Classic(group) => {
            let since = group.emptied_at_ms().unwrap_or(i64::MIN);
            let subscribed = group.subscribed_topics();
            // While members join, what they will subscribe to is not known.
            let is_known = group.is_stable() && subscribed.is_some();
            let is_known = is_known || group.members.is_empty();
            let is_used = |topic: &str| subscribed.as_ref().is_some_and(|all| all.contains(topic));
            offsets_where(turn, |topic, value| {
                is_known && !is_used(topic) && is_expired(value, since, now_ms, retention_ms)
            })
        }
        Kind::Simple => offsets_where(turn, |_, value| {
            is_expired(value, i64::MIN, now_ms, retention_ms)
        }),
        Kind::Consumer(group) => {
            let since = turn.group.emptied_at_ms().unwrap_or(i64::MIN);
            offsets_where(turn, |topic, value| {
                !group.subscribes(topic) && is_expired(value, since, now_ms, retention_ms)
            })
        }
    };
    let more = expired.len() > room;
    expired.truncate(room);
    forget_offsets(turn, &expired);
    let is_empty = turn.group.offsets.is_empty() && turn.group.member_ids().is_empty();
    if is_empty && is_old(turn) {
        forget_kind(turn);
        forget_history(turn);
    }
    (turn.outcome.records.len() - before, more)
}

/// Offsets outlive the last use of their group by the retention: the commit, or the time at which the
/// last member went.
fn is_expired(value: &OffsetCommitValue, used_ms: i64, now_ms: i64, retention_ms: i64) -> bool {
    let last_use_ms = value.commit_timestamp_ms.max(used_ms);
    let expires_ms = last_use_ms.saturating_add(retention_ms);
    now_ms >= value.expire_timestamp_ms.unwrap_or(expires_ms)
}

/// Whether a group without members and offsets was left for as long as offsets are kept.
fn is_old(turn: &Turn<'_>) -> bool {
    let since_ms = match &turn.group.kind {
        Kind::Simple => return false,
        Kind::Classic(group) if group.has_pending() => return false,
        Kind::Classic(_) | Kind::Consumer(_) => turn.group.emptied_at_ms().unwrap_or(i64::MIN),
    };
    turn.now.timestamp_ms >= since_ms.saturating_add(turn.config.offsets_retention_ms)
}

fn offsets_where(
    turn: &Turn<'_>,
    mut choose: impl FnMut(&Arc<str>, &OffsetCommitValue) -> bool,
) -> Vec<(Arc<str>, i32)> {
    let entries = turn.group.offsets.iter();
    let chosen = entries.filter(|(topic, _, value)| choose(topic, value));
    chosen
        .map(|(topic, at, _)| (Arc::clone(topic), at))
        .collect()
}

fn forget_offsets(turn: &mut Turn<'_>, partitions: &[(Arc<str>, i32)]) {
    for (topic, partition) in partitions {
        let record = offset_record(&turn.group_id, topic, *partition, None);
        turn.write(record);
    }
}

/// Forgets a group without members, but for its offsets and its last rebalances.
pub(super) fn forget_kind(turn: &mut Turn<'_>) {
    let group_id = turn.group_id.to_string();
    let regexes = match &turn.group.kind {
        Kind::Simple => return,
        Kind::Classic(group) if !group.is_recorded() => {
            turn.group.kind = Kind::Simple;
            return;
        }
        Kind::Classic(_) => return turn.write(GroupRecord::ClassicGroup(group_id, None)),
        Kind::Consumer(group) => group.regular_expressions(),
    };
    for regex in regexes {
        let key = RegularExpressionKey {
            group_id: group_id.clone(),
            regular_expression: regex.to_string(),
        };
        turn.write(GroupRecord::RegularExpression(key, None));
    }
    turn.write(GroupRecord::TargetAssignment(group_id.clone(), None));
    turn.write(GroupRecord::ConsumerGroup(group_id, None));
}

fn forget_history(turn: &mut Turn<'_>) {
    for slot in turn.group.history.slots() {
        let key = RebalanceKey {
            group_id: turn.group_id.to_string(),
            slot,
        };
        turn.write(GroupRecord::Rebalance(key, None));
    }
}
