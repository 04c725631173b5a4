//! Listings and descriptions of groups.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    AssignorName, GroupDescription, GroupListing, GroupType, MemberDescription, Topics,
    classic::{self, ClassicGroup, find, read_topics},
    consumer::{ConsumerGroup, Member},
    state::{Group, Kind},
};

/// A group in short.
pub(super) fn listing(group_id: &Arc<str>, group: &Group) -> GroupListing {
    let (group_type, state, protocol_type) = match &group.kind {
        Kind::Simple => (GroupType::Simple, "Empty", ""),
        Kind::Classic(group) => (GroupType::Classic, group.state(), &*group.protocol_type),
        Kind::Consumer(group) => (GroupType::Consumer, group.state(), "consumer"),
    };
    GroupListing {
        group_id: Arc::clone(group_id),
        group_type,
        state,
        members: group.member_ids().len(),
        protocol_type: Arc::from(protocol_type),
    }
}

/// A group in full.
pub(super) fn description(
    group_id: &Arc<str>,
    group: &Group,
    default: AssignorName,
    topics: &Topics,
) -> GroupDescription {
    let mut description = GroupDescription {
        listing: listing(group_id, group),
        group_epoch: 0,
        assignment_epoch: 0,
        assignor: Arc::default(),
        members: Vec::new(),
        rebalances: group.history.all(),
    };
    match &group.kind {
        Kind::Simple => {}
        Kind::Classic(group) => classic(&mut description, group, topics),
        Kind::Consumer(group) => consumers(&mut description, group, default),
    }
    description
}

fn classic(description: &mut GroupDescription, group: &ClassicGroup, topics: &Topics) {
    description.group_epoch = group.generation;
    description.assignment_epoch = group.generation;
    description.assignor = group.protocol();
    let members = group.members.iter();
    let members = members.map(|(id, member)| describe_classic(id, member, group, topics));
    description.members = members.collect();
}

fn describe_classic(
    member_id: &Arc<str>,
    member: &classic::Member,
    group: &ClassicGroup,
    topics: &Topics,
) -> MemberDescription {
    let metadata = if group.is_stable() {
        group.metadata(member)
    } else {
        Bytes::new()
    };
    let is_known = group.has_consumers() && group.is_stable();
    let subscribed = is_known.then(|| read_topics(&metadata)).flatten();
    let assigned = is_known.then(|| member.read_assigned()).flatten();
    let holds = find(&assigned.unwrap_or_default(), topics);
    MemberDescription {
        member_id: Arc::clone(member_id),
        instance_id: member.instance_id.clone(),
        rack_id: None,
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        is_classic: true,
        member_epoch: group.generation,
        topics: subscribed.unwrap_or_default(),
        topic_regex: None,
        holds: holds.iter().map(|at| (*at, group.generation)).collect(),
        target: holds,
        state: "Stable",
        assignment: group.assignment(member),
        metadata,
    }
}

fn consumers(description: &mut GroupDescription, group: &ConsumerGroup, default: AssignorName) {
    if !group.members.is_empty() {
        description.assignor = Arc::from(group.assignor(default).as_str());
    }
    description.group_epoch = group.epoch;
    description.assignment_epoch = group.assignment_epoch;
    let members = group.members.iter();
    description.members = members.map(|(id, member)| describe(id, member)).collect();
}

fn describe(member_id: &Arc<str>, member: &Member) -> MemberDescription {
    let said = member.said();
    MemberDescription {
        member_id: Arc::clone(member_id),
        instance_id: said.and_then(|said| said.instance_id.clone()),
        rack_id: said.and_then(|said| said.rack_id.clone()),
        client_id: said.map(|said| said.client_id.clone()).unwrap_or_default(),
        client_host: said
            .map(|said| said.client_host.clone())
            .unwrap_or_default(),
        is_classic: member.classic().is_some(),
        member_epoch: member.epoch(),
        topics: said
            .map(|said| said.topic_names.clone())
            .unwrap_or_default(),
        topic_regex: said.and_then(|said| said.topic_regex.clone()),
        holds: member.holding(),
        target: member.target.clone(),
        state: member.state_name(),
        metadata: Bytes::new(),
        assignment: Bytes::new(),
    }
}
