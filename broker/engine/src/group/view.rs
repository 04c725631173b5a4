//! Listings and descriptions of groups.

use std::sync::Arc;

use super::{
    AssignorName, GroupDescription, GroupListing, GroupType, MemberDescription,
    consumer::{ConsumerGroup, Member},
    state::{Group, Kind},
};

/// A group in short.
pub(super) fn listing(group_id: &Arc<str>, group: &Group) -> GroupListing {
    let (group_type, state, protocol_type) = match &group.kind {
        Kind::Simple => (GroupType::Simple, "Empty", ""),
        Kind::Classic(value) => {
            let state = if value.members.is_empty() {
                "Empty"
            } else {
                "Stable"
            };
            (GroupType::Classic, state, &*value.protocol_type)
        }
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
) -> GroupDescription {
    let listing = listing(group_id, group);
    match &group.kind {
        Kind::Simple => plain(listing, 0, ""),
        Kind::Classic(value) => {
            let protocol = value.protocol.as_deref().unwrap_or_default();
            let mut description = plain(listing, value.generation, protocol);
            let members = value.members.iter().map(|member| MemberDescription {
                member_id: Arc::from(&*member.member_id),
                instance_id: member.instance_id.clone(),
                rack_id: None,
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                member_epoch: value.generation,
                topics: Vec::new(),
                topic_regex: None,
                holds: Default::default(),
                target: Default::default(),
                state: "Stable",
            });
            description.members = members.collect();
            description
        }
        Kind::Consumer(group) => consumers(listing, group, default),
    }
}

fn plain(listing: GroupListing, epoch: i32, assignor: &str) -> GroupDescription {
    GroupDescription {
        listing,
        group_epoch: epoch,
        assignment_epoch: epoch,
        assignor: Arc::from(assignor),
        members: Vec::new(),
        rebalances: Vec::new(),
    }
}

fn consumers(
    listing: GroupListing,
    group: &ConsumerGroup,
    default: AssignorName,
) -> GroupDescription {
    let assignor = if group.members.is_empty() {
        ""
    } else {
        group.assignor(default).as_str()
    };
    let members = group
        .members
        .iter()
        .map(|(id, member)| describe(id, member));
    GroupDescription {
        listing,
        group_epoch: group.epoch,
        assignment_epoch: group.assignment_epoch,
        assignor: Arc::from(assignor),
        members: members.collect(),
        rebalances: group.rebalances(),
    }
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
        member_epoch: member.epoch(),
        topics: said
            .map(|said| said.topic_names.clone())
            .unwrap_or_default(),
        topic_regex: said.and_then(|said| said.topic_regex.clone()),
        holds: member.holding(),
        target: member.target.clone(),
        state: member.state_name(),
    }
}
