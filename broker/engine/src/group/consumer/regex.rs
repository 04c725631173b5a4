//! Regular expressions of subscriptions. The engine has them resolved by its surroundings, which know
//! the syntax, and remembers what they matched (KIP-848, "regular expressions").

use std::{collections::BTreeSet, sync::Arc};

use millstream_proto::group_record::{GroupRecord, RegularExpressionKey, RegularExpressionValue};

use super::rebalance::settle;
use crate::group::{Action, turn::Turn};

/// Has the regular expression of a member resolved, where that was not done yet.
pub(super) fn resolve_missing(turn: &mut Turn<'_>, member_id: &Arc<str>) {
    let Some(group) = turn.consumers() else {
        return;
    };
    let regex = group
        .members
        .get(member_id)
        .and_then(|member| member.regex());
    let missing = regex
        .filter(|regex| !group.regexes.contains_key(*regex) && !group.resolving.contains(*regex));
    if let Some(regex) = missing.map(Arc::<str>::from) {
        ask(turn, regex);
    }
}

/// Has every regular expression of the group resolved, since topics came or went.
pub(super) fn resolve_all(turn: &mut Turn<'_>) {
    let Some(group) = turn.consumers() else {
        return;
    };
    let used = group.members.values().filter_map(|member| member.regex());
    let used: BTreeSet<Arc<str>> = used.map(Arc::from).collect();
    for regex in used {
        ask(turn, regex);
    }
}

fn ask(turn: &mut Turn<'_>, regex: Arc<str>) {
    let group_id = Arc::clone(&turn.group_id);
    if let Some(group) = turn.consumers() {
        group.resolving.insert(Arc::clone(&regex));
        turn.act(Action::ResolveRegex { group_id, regex });
    }
}

/// Takes in what a regular expression matches now.
pub(in crate::group) fn regex_resolved(
    turn: &mut Turn<'_>,
    regex: &Arc<str>,
    topics: Vec<String>,
    version: i64,
) {
    let newest = turn.topics.version();
    let key = RegularExpressionKey {
        group_id: turn.group_id.to_string(),
        regular_expression: regex.to_string(),
    };
    let timestamp_ms = turn.now.timestamp_ms;
    let Some(group) = turn.consumers() else {
        return;
    };
    group.resolving.remove(regex);
    if !group.uses(regex) {
        return;
    }
    let matched: BTreeSet<Arc<str>> = topics.iter().map(|topic| Arc::from(&**topic)).collect();
    // Answers may overtake each other: only a newer one counts.
    let is_other = match group.regexes.get_mut(regex) {
        Some(known) if version <= known.version => false,
        Some(known) => {
            known.version = version;
            known.topics != matched
        }
        None => true,
    };
    if is_other {
        let value = RegularExpressionValue {
            topics,
            version,
            timestamp_ms,
        };
        turn.write(GroupRecord::RegularExpression(key, Some(value)));
        settle(
            turn,
            Some(format!("topics that match {regex} changed")),
            None,
        );
    }
    if version < newest {
        ask(turn, Arc::clone(regex));
    }
}

/// Forgets what a regular expression matched that no member uses any more.
pub(super) fn forget_unused(turn: &mut Turn<'_>, regex: &str) {
    let group_id = turn.group_id.to_string();
    let Some(group) = turn.consumers() else {
        return;
    };
    if group.regexes.contains_key(regex) && !group.uses(regex) {
        let key = RegularExpressionKey {
            group_id,
            regular_expression: regex.to_owned(),
        };
        turn.write(GroupRecord::RegularExpression(key, None));
    }
}

impl super::ConsumerGroup {
    fn uses(&self, regex: &str) -> bool {
        self.members
            .values()
            .any(|member| member.regex() == Some(regex))
    }
}
