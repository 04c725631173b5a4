//! The uniform and the sticky assignor: loads as even as the subscriptions allow.
//!
//! 1. Every member keeps what it had.
//! 2. What nobody has goes to the subscriber with the least.
//! 3. While some member has at least two partitions more than another one that a chain of hand-overs
//!    leads to, one partition moves along the chain. When no such chain is left the loads are optimal:
//!    an assignment of partitions to members is a semi-matching, and one without a cost-reducing path
//!    is optimal for every convex measure of imbalance (Harvey, Ladner, Lovász, Tamir: "Semi-matchings
//!    for bipartite graphs and load balancing", 2003, theorem 3.1).
//! 4. Uniform only: partitions that are not near a replica are exchanged for such that are, as long as
//!    that helps and leaves the loads as even as they are.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use millstream_proto::TopicId;

use super::{AssignorMember, seats::Seats};
use crate::group::{Assignment, PartitionId, Topics};

/// What counts among assignments that are equally even.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preference {
    /// That members are near replicas, more than that partitions stay.
    NearReplicas,
    /// That partitions stay where they are.
    Unmoved,
}

/// What each member is to hold.
pub(super) fn assign(
    members: &[AssignorMember],
    topics: &Topics,
    preference: Preference,
) -> BTreeMap<Arc<str>, Assignment> {
    let mut seats = Seats::new(members, topics);
    for member in members {
        for partition in &member.previous {
            seats.claim(&member.id, *partition);
        }
    }
    for topic in seats.topics() {
        fill(&mut seats, topic);
    }
    even_out(&mut seats, preference);
    if preference == Preference::NearReplicas {
        while bring_near(&mut seats) {}
    }
    seats.into_assignments()
}

/// Gives what nobody has to the subscribers with the least, to one near a replica among equals.
fn fill(seats: &mut Seats<'_>, topic: TopicId) {
    let subscribers = seats.subscribers(topic).iter();
    let mut queue: BTreeSet<(usize, &Arc<str>)> = subscribers
        .map(|member| (seats.load(member), *member))
        .collect();
    for partition in seats.vacant(topic) {
        let Some(&first) = queue.first() else {
            return;
        };
        let mut least = queue.iter().take_while(|(load, _)| *load == first.0);
        let near = least.find(|(_, member)| seats.is_near(member, partition));
        let (load, member) = near.copied().unwrap_or(first);
        queue.remove(&(load, member));
        queue.insert((load + 1, member));
        seats.give(partition, member);
    }
}

fn even_out(seats: &mut Seats<'_>, preference: Preference) {
    while let Some(chain) = seats
        .by_load()
        .into_iter()
        .find_map(|from| chain(seats, from))
    {
        for (from, topic, to) in chain {
            if let Some(partition) = choose(seats, from, topic, to, preference) {
                seats.give(partition, to);
            }
        }
    }
}

/// One hand-over: from whom, of which topic, to whom.
type HandOver<'a> = (&'a Arc<str>, TopicId, &'a Arc<str>);

/// The shortest chain of hand-overs from a member to one with at least two partitions less; the
/// hand-over at its end comes first, so that nobody ever hands over what it does not have.
fn chain<'a>(seats: &Seats<'a>, from: &'a Arc<str>) -> Option<Vec<HandOver<'a>>> {
    let limit = seats.load(from).checked_sub(2)?;
    let mut reached_by: BTreeMap<&Arc<str>, Option<(&'a Arc<str>, TopicId)>> =
        BTreeMap::from([(from, None)]);
    let mut expanded = BTreeSet::new();
    let mut queue = VecDeque::from([from]);
    while let Some(member) = queue.pop_front() {
        if seats.load(member) <= limit {
            return Some(walk_back(&reached_by, member));
        }
        for topic in seats.topics_of(member) {
            if !expanded.insert(topic) {
                continue;
            }
            for next in seats.subscribers(topic) {
                if !reached_by.contains_key(*next) {
                    reached_by.insert(next, Some((member, topic)));
                    queue.push_back(next);
                }
            }
        }
    }
    None
}

fn walk_back<'a>(
    reached_by: &BTreeMap<&'a Arc<str>, Option<(&'a Arc<str>, TopicId)>>,
    end: &'a Arc<str>,
) -> Vec<HandOver<'a>> {
    let mut chain = Vec::new();
    let mut to = end;
    while let Some(Some((from, topic))) = reached_by.get(to) {
        chain.push((*from, *topic, to));
        to = from;
    }
    chain
}

/// Which partition to hand over: the last one of those whose move costs least.
fn choose(
    seats: &Seats<'_>,
    from: &Arc<str>,
    topic: TopicId,
    to: &Arc<str>,
    preference: Preference,
) -> Option<PartitionId> {
    let cost = |partition: &PartitionId| {
        let distance = match (
            seats.is_near(from, *partition),
            seats.is_near(to, *partition),
        ) {
            (false, true) => 0,
            (true, false) => 2,
            (false, false) | (true, true) => 1,
        };
        let leaves_home = seats.had(from, *partition) && !seats.had(to, *partition);
        match preference {
            Preference::NearReplicas => (distance, u8::from(leaves_home)),
            Preference::Unmoved => (u8::from(leaves_home), distance),
        }
    };
    seats
        .of_topic(from, topic)
        .max_by_key(|partition| Reverse(cost(partition)))
}

/// Brings partitions near their members by moves and exchanges that leave the loads as they are.
/// Returns whether any was found; each lowers the number of far partitions, so that this ends.
fn bring_near(seats: &mut Seats<'_>) -> bool {
    let mut has_moved = false;
    for (partition, from) in seats.far() {
        if seats.owner(partition) != Some(from) {
            // It went elsewhere in an exchange for another one of the list.
            continue;
        }
        let near: Vec<&Arc<str>> = seats
            .subscribers(partition.topic_id)
            .iter()
            .filter(|member| seats.is_near(member, partition))
            .copied()
            .collect();
        for to in near {
            if seats.load(to) < seats.load(from) {
                seats.give(partition, to);
            } else if let Some(back) = exchange(seats, from, to) {
                seats.give(partition, to);
                seats.give(back, from);
            } else {
                continue;
            }
            has_moved = true;
            break;
        }
    }
    has_moved
}

/// What `to` can give `from` in exchange for a partition that it is near to, so that more partitions
/// are near than before.
fn exchange<'a>(seats: &Seats<'a>, from: &'a Arc<str>, to: &'a Arc<str>) -> Option<PartitionId> {
    let mut candidates = seats.of_member(to).filter(|back| {
        seats.may_have(from, *back) && (seats.is_near(from, *back) || !seats.is_near(to, *back))
    });
    candidates.next()
}
