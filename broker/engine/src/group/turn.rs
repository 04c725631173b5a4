//! [`Turn`]: one event in one group. Records are applied to the group as they are written, so every
//! later step of the turn sees them; nothing but a record changes what a group will be after a restart.

use std::sync::Arc;

use millstream_proto::group_record::{GroupRecord, MemberKey, RebalanceKey, RebalanceValue};

use super::{
    Action, Config, MemberRef, Now, Outcome, Refusal, Reply, Ticket, Topics,
    classic::ClassicGroup,
    consumer::{ConsumerGroup, Member},
    state::{Group, Kind},
};

/// One event in one group.
pub(super) struct Turn<'a> {
    pub(super) config: &'a Config,
    pub(super) topics: &'a Topics,
    pub(super) now: Now,
    pub(super) group_id: Arc<str>,
    pub(super) group: &'a mut Group,
    /// Whether the coordinator has room for this group; it has for one that exists.
    pub(super) has_room: bool,
    pub(super) outcome: &'a mut Outcome,
}

impl Turn<'_> {
    /// Applies a record, and has it appended.
    pub(super) fn write(&mut self, record: GroupRecord) {
        self.group.replay(&record);
        self.outcome.records.push(record);
    }

    /// Has a record appended that says what the group is already.
    pub(super) fn append(&mut self, record: GroupRecord) {
        self.outcome.records.push(record);
    }

    /// Remembers a rebalance, and why it was.
    pub(super) fn remember(&mut self, group_epoch: i32, members: usize, reason: String) {
        let kept = i32::from(self.config.rebalances_kept.max(1));
        let key = RebalanceKey {
            group_id: self.group_id.to_string(),
            slot: group_epoch.rem_euclid(kept),
        };
        let value = RebalanceValue {
            group_epoch,
            timestamp_ms: self.now.timestamp_ms,
            members: i32::try_from(members).unwrap_or(i32::MAX),
            reason,
        };
        self.write(GroupRecord::Rebalance(key, Some(value)));
    }

    pub(super) fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.outcome.replies.push((ticket, reply));
    }

    pub(super) fn answer(&mut self, ticket: Ticket, result: Result<Reply, Refusal>) {
        self.reply(ticket, result.unwrap_or_else(Reply::Refused));
    }

    pub(super) fn act(&mut self, action: Action) {
        self.outcome.actions.push(action);
    }

    /// The group as one of consumers.
    pub(super) fn consumers(&mut self) -> Option<&mut ConsumerGroup> {
        match &mut self.group.kind {
            Kind::Consumer(group) => Some(group),
            Kind::Simple | Kind::Classic(_) => None,
        }
    }

    /// The group as a classic one.
    pub(super) fn classic(&mut self) -> Option<&mut ClassicGroup> {
        match &mut self.group.kind {
            Kind::Classic(group) => Some(group),
            Kind::Simple | Kind::Consumer(_) => None,
        }
    }

    /// Answers a request that waited, and that the member has repeated.
    pub(super) fn supersede(&mut self, ticket: Ticket, member_id: &Arc<str>) {
        let refusal = Refusal::Superseded {
            member_id: Arc::clone(member_id),
        };
        self.reply(ticket, Reply::Refused(refusal));
    }

    pub(super) fn member_ref(&self, member_id: &Arc<str>) -> MemberRef {
        MemberRef {
            group_id: Arc::clone(&self.group_id),
            member_id: Arc::clone(member_id),
        }
    }

    pub(super) fn member_key(&self, member_id: &str) -> MemberKey {
        MemberKey {
            group_id: self.group_id.to_string(),
            member_id: member_id.to_owned(),
        }
    }

    /// The refusal of a group that cannot be begun or changed, `None` where it can.
    pub(super) fn unfit(&self) -> Option<Refusal> {
        let bytes = self.group_id.len();
        if bytes == 0 || bytes > self.config.id_bytes_max {
            return Some(Refusal::GroupId {
                found: bytes,
                max: self.config.id_bytes_max,
            });
        }
        (!self.has_room).then_some(Refusal::TooManyGroups {
            max: self.config.groups_max,
        })
    }

    /// The member, where it is one and does not say a static name that is another's.
    pub(super) fn known_member(
        &self,
        member_id: &Arc<str>,
        instance_id: Option<&str>,
    ) -> Result<&Member, Refusal> {
        let Kind::Consumer(group) = &self.group.kind else {
            return Err(self.unknown_member(member_id));
        };
        if let Some(instance_id) = instance_id
            && let Some((holder, _)) = group.member_of_instance(instance_id)
            && holder != member_id
        {
            return Err(Refusal::FencedInstance {
                group_id: Arc::clone(&self.group_id),
                instance_id: instance_id.to_owned(),
                member_id: Arc::clone(holder),
            });
        }
        let member = group.members.get(member_id);
        member.ok_or_else(|| self.unknown_member(member_id))
    }

    pub(super) fn unknown_member(&self, member_id: &Arc<str>) -> Refusal {
        Refusal::UnknownMember {
            group_id: Arc::clone(&self.group_id),
            member_id: Arc::clone(member_id),
        }
    }
}
