//! The range assignor: of every topic, the subscribers in the order of their ids get neighbouring
//! partitions, the first ones one more where they do not divide evenly. Members with equal
//! subscriptions so get the same partitions of topics with equally many, which joins rely on.

use std::{collections::BTreeMap, sync::Arc};

use super::AssignorMember;
use crate::group::{Assignment, PartitionId, Topics};

/// What each member is to hold.
pub(super) fn assign(
    members: &[AssignorMember],
    topics: &Topics,
) -> BTreeMap<Arc<str>, Assignment> {
    let mut assignments: BTreeMap<Arc<str>, Assignment> = members
        .iter()
        .map(|member| (Arc::clone(&member.id), Assignment::new()))
        .collect();
    for (name, topic) in topics.iter() {
        let subscribers = assignments
            .iter_mut()
            .filter(|(id, _)| subscribes(members, id, name))
            .map(|(_, assignment)| assignment);
        let subscribers: Vec<&mut Assignment> = subscribers.collect();
        let mut left = i32::try_from(subscribers.len()).unwrap_or(i32::MAX);
        let mut next = 0;
        for assignment in subscribers {
            // Rounded up: who comes first gets one more.
            let count = (topic.partitions() - next + left - 1) / left;
            assignment.extend((next..next + count).map(|at| PartitionId::new(topic.id, at)));
            next += count;
            left -= 1;
        }
    }
    assignments
}

fn subscribes(members: &[AssignorMember], id: &Arc<str>, topic: &Arc<str>) -> bool {
    members
        .binary_search_by(|member| member.id.cmp(id))
        .is_ok_and(|at| {
            members
                .get(at)
                .is_some_and(|member| member.topics.contains(topic))
        })
}
