//! Tests of the assignors against their definitions.

use std::collections::{BTreeMap, BTreeSet};

use millstream_proto::TopicId;
use proptest::prelude::*;

use super::*;
use crate::group::{PartitionId, Topic};

const RACKS: [&str; 3] = ["east", "north", "west"];

fn topic_id(number: usize) -> TopicId {
    TopicId::from_bytes([u8::try_from(number).expect("few topics") + 1; 16])
}

fn name(number: usize) -> Arc<str> {
    Arc::from(format!("topic-{number}"))
}

/// Topics with these numbers of partitions; partition `p` has its replica in rack `p % racks`.
fn topics(partitions: &[usize], racks: usize) -> Topics {
    let topics = partitions.iter().enumerate().map(|(number, count)| {
        let mut topic = Topic::without_racks(topic_id(number), *count);
        for (at, partition) in topic.partition_racks.iter_mut().enumerate() {
            let rack = RACKS[..racks].get(at % racks.max(1));
            partition.extend(rack.map(|rack| Arc::from(*rack)));
        }
        (name(number), topic)
    });
    Topics::new(1, topics)
}

fn member(number: usize, subscription: &[usize], rack: Option<&str>) -> AssignorMember {
    AssignorMember {
        id: Arc::from(format!("member-{number:03}")),
        rack: rack.map(Arc::from),
        topics: subscription.iter().map(|topic| name(*topic)).collect(),
        previous: Assignment::new(),
    }
}

fn members(count: usize, subscription: &[usize]) -> Vec<AssignorMember> {
    (0..count)
        .map(|number| member(number, subscription, None))
        .collect()
}

/// The members as the next assignment finds them.
fn after(
    members: &[AssignorMember],
    target: &BTreeMap<Arc<str>, Assignment>,
) -> Vec<AssignorMember> {
    let mut members = members.to_vec();
    for member in &mut members {
        member.previous = target.get(&member.id).cloned().unwrap_or_default();
    }
    members
}

fn loads(target: &BTreeMap<Arc<str>, Assignment>) -> Vec<usize> {
    let mut loads: Vec<usize> = target.values().map(BTreeSet::len).collect();
    loads.sort_unstable();
    loads
}

/// How many partitions somebody else has than before.
fn moved(before: &[AssignorMember], target: &BTreeMap<Arc<str>, Assignment>) -> usize {
    let stayed =
        |member: &AssignorMember| member.previous.intersection(&target[&member.id]).count();
    let had: usize = before.iter().map(|member| member.previous.len()).sum();
    had - before.iter().map(stayed).sum::<usize>()
}

fn is_near(member: &AssignorMember, partition: &PartitionId, topics: &Topics) -> bool {
    let (_, topic) = topics.by_id(partition.topic_id).expect("exists");
    let at = usize::try_from(partition.partition).expect("positive");
    let rack = member.rack.as_ref();
    rack.is_some_and(|rack| topic.partition_racks[at].contains(rack))
}

fn wants(member: &AssignorMember, partition: &PartitionId, topics: &Topics) -> bool {
    let (name, _) = topics.by_id(partition.topic_id).expect("exists");
    member.topics.contains(name)
}

/// The partition is far from its member: nobody near it has less, or can give something in exchange
/// of which both have no disadvantage.
fn check_no_better_place(
    case: &Case,
    target: &BTreeMap<Arc<str>, Assignment>,
    from: &AssignorMember,
    partition: &PartitionId,
) {
    let topics = &case.topics;
    for to in &case.members {
        if !wants(to, partition, topics) || !is_near(to, partition, topics) {
            continue;
        }
        assert!(
            target[&to.id].len() >= target[&from.id].len(),
            "{} has less",
            to.id
        );
        let mut back = target[&to.id]
            .iter()
            .filter(|back| wants(from, back, topics));
        let better = back.find(|back| is_near(from, back, topics) || !is_near(to, back, topics));
        assert_eq!(
            better, None,
            "{} of {} would do",
            partition.partition, to.id
        );
    }
}

fn near(
    members: &[AssignorMember],
    topics: &Topics,
    target: &BTreeMap<Arc<str>, Assignment>,
) -> usize {
    let count = |member: &AssignorMember| {
        let has = target[&member.id].iter();
        has.filter(|partition| is_near(member, partition, topics))
            .count()
    };
    members.iter().map(count).sum()
}

/// The most even loads that there are, by trying every assignment.
fn best_loads(members: &[AssignorMember], topics: &Topics) -> Vec<usize> {
    let mut states: BTreeSet<Vec<usize>> = BTreeSet::from([vec![0; members.len()]]);
    for (name, topic) in topics.iter() {
        let able: Vec<usize> = (0..members.len())
            .filter(|at| members[*at].topics.contains(name))
            .collect();
        for _ in 0..topic.partitions() {
            if able.is_empty() {
                continue;
            }
            let with = |state: &Vec<usize>, at: usize| {
                let mut state = state.clone();
                state[at] += 1;
                state
            };
            states = states
                .iter()
                .flat_map(|state| able.iter().map(|at| with(state, *at)))
                .collect();
        }
    }
    let cost = |state: &Vec<usize>| state.iter().map(|load| load * load).sum::<usize>();
    let mut best = states.into_iter().min_by_key(cost).expect("one state");
    best.sort_unstable();
    best
}

#[derive(Debug, Clone)]
struct Case {
    members: Vec<AssignorMember>,
    topics: Topics,
}

/// Members with any subscriptions and racks, whose targets so far are of an earlier set of members.
fn cases() -> impl Strategy<Value = Case> {
    let partitions = prop::collection::vec(1..4_usize, 1..4);
    let subscriptions = prop::collection::vec((any::<[bool; 4]>(), 0..4_usize), 1..5);
    (partitions, subscriptions, 0..5_usize).prop_map(|(partitions, subscriptions, earlier)| {
        let topics = topics(&partitions, 3);
        let member_of = |(number, (wants, rack)): (usize, &([bool; 4], usize))| {
            let subscription: Vec<usize> = (0..partitions.len())
                .filter(|topic| wants[*topic])
                .collect();
            member(number, &subscription, RACKS.get(*rack).copied())
        };
        let members: Vec<AssignorMember> =
            subscriptions.iter().enumerate().map(member_of).collect();
        let earlier = &members[..earlier.min(members.len())];
        let target = assign(AssignorName::Range, earlier, &topics);
        let members = after(&members, &target);
        Case { members, topics }
    })
}

fn check_complete(case: &Case, target: &BTreeMap<Arc<str>, Assignment>) {
    let mut owners: BTreeMap<PartitionId, &Arc<str>> = BTreeMap::new();
    for member in &case.members {
        for partition in &target[&member.id] {
            let (name, topic) = case.topics.by_id(partition.topic_id).expect("exists");
            assert!(member.topics.contains(name), "{} gets {name}", member.id);
            assert!((0..topic.partitions()).contains(&partition.partition));
            assert_eq!(owners.insert(*partition, &member.id), None, "two owners");
        }
    }
    for (name, topic) in case.topics.iter() {
        let is_wanted = case
            .members
            .iter()
            .any(|member| member.topics.contains(name));
        let given = owners
            .keys()
            .filter(|partition| partition.topic_id == topic.id)
            .count();
        let expected = if is_wanted {
            topic.partition_racks.len()
        } else {
            0
        };
        assert_eq!(given, expected, "partitions of {name}");
    }
}

proptest! {
    #[test]
    fn every_partition_goes_to_one_subscriber(case in cases()) {
        for name in [AssignorName::Uniform, AssignorName::Range, AssignorName::Sticky] {
            check_complete(&case, &assign(name, &case.members, &case.topics));
        }
    }

    #[test]
    fn uniform_and_sticky_are_as_even_as_can_be(case in cases()) {
        let best = best_loads(&case.members, &case.topics);
        for name in [AssignorName::Uniform, AssignorName::Sticky] {
            let target = assign(name, &case.members, &case.topics);
            prop_assert_eq!(loads(&target), best.clone(), "{:?}", name);
        }
    }

    #[test]
    fn an_assignment_of_the_same_members_changes_nothing(case in cases()) {
        for name in [AssignorName::Uniform, AssignorName::Range, AssignorName::Sticky] {
            let first = assign(name, &case.members, &case.topics);
            let second = assign(name, &after(&case.members, &first), &case.topics);
            prop_assert_eq!(&second, &first, "{:?}", name);
        }
    }

    #[test]
    fn a_member_that_joins_or_leaves_moves_only_its_own_partitions(
        count in 1..12_usize,
        partitions in prop::collection::vec(1..20_usize, 1..4),
        leaver in any::<prop::sample::Index>(),
    ) {
        let subscription: Vec<usize> = (0..partitions.len()).collect();
        let topics = topics(&partitions, 0);
        let fewer = members(count, &subscription);
        let more = members(count + 1, &subscription);
        for name in [AssignorName::Uniform, AssignorName::Sticky] {
            let before = assign(name, &fewer, &topics);
            let joined = assign(name, &after(&more, &before), &topics);
            let newest = &more[count].id;
            prop_assert_eq!(moved(&after(&fewer, &before), &joined), joined[newest].len());

            let mut rest = after(&more, &joined);
            let gone = rest.remove(leaver.index(rest.len()));
            let left = assign(name, &rest, &topics);
            prop_assert_eq!(moved(&rest, &left), 0, "{} left", gone.id);
        }
    }

    #[test]
    fn no_move_or_exchange_brings_more_near_under_uniform(case in cases()) {
        let target = assign(AssignorName::Uniform, &case.members, &case.topics);
        for from in &case.members {
            for partition in &target[&from.id] {
                if from.rack.is_some() && !is_near(from, partition, &case.topics) {
                    check_no_better_place(&case, &target, from, partition);
                }
            }
        }
    }
}

#[test]
fn uniform_brings_every_partition_near_where_that_is_even() {
    let topics = topics(&[9], 3);
    let mut members: Vec<AssignorMember> =
        (0..3).map(|at| member(at, &[0], Some(RACKS[at]))).collect();
    // All of them far from where they are to be.
    for (at, member) in members.iter_mut().enumerate() {
        let far = (0..9).filter(|p| usize::try_from(*p).expect("small") % 3 == (at + 1) % 3);
        member.previous = far.map(|p| PartitionId::new(topic_id(0), p)).collect();
    }
    let uniform = assign(AssignorName::Uniform, &members, &topics);
    assert_eq!(near(&members, &topics, &uniform), 9);
    let sticky = assign(AssignorName::Sticky, &members, &topics);
    assert_eq!(
        moved(&members, &sticky),
        0,
        "racks move nothing under sticky"
    );
}

#[test]
fn range_gives_neighbours_the_same_of_every_topic() {
    let topics = topics(&[7, 7], 0);
    let target = assign(AssignorName::Range, &members(3, &[0, 1]), &topics);
    let of = |member: &str| {
        let partitions = target[member].iter();
        partitions
            .map(|p| (p.topic_id, p.partition))
            .collect::<Vec<_>>()
    };
    let expected = |range: std::ops::Range<i32>| {
        let topics = [topic_id(0), topic_id(1)].into_iter();
        topics
            .flat_map(|topic| range.clone().map(move |p| (topic, p)))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("member-000"), expected(0..3));
    assert_eq!(of("member-001"), expected(3..5));
    assert_eq!(of("member-002"), expected(5..7));
}

#[test]
fn a_large_group_is_assigned_evenly() {
    let topics = topics(&[2_000, 3_000], 0);
    let mut members = members(500, &[0, 1]);
    for (at, member) in members.iter_mut().enumerate() {
        if at % 2 == 0 {
            member.topics.remove(&name(1));
        }
    }
    let target = assign(AssignorName::Uniform, &members, &topics);
    assert_eq!(
        loads(&target).first(),
        Some(&8),
        "2,000 of topic-0 for 250 members"
    );
    assert_eq!(
        loads(&target).last(),
        Some(&12),
        "3,000 of topic-1 for 250 members"
    );
}
