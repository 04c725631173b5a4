//! [`Group`]: what the records of one group say: its kind, and its committed offsets.
//!
//! Compaction keeps only the newest record of a key, so records may tell of a member before they tell
//! of its group, or of a target before its member: what is named begins to exist with its first record
//! that has a value. A record without one deletes, and creates nothing.

use millstream_proto::group_record::{ClassicGroupValue, GroupRecord};

use super::{consumer::ConsumerGroup, offsets::Offsets};

/// One group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) kind: Kind,
    pub(super) offsets: Offsets,
}

/// What kind of group it is.
#[derive(Debug, Default)]
pub(super) enum Kind {
    /// Offsets only.
    #[default]
    Simple,
    /// Members assign partitions among themselves.
    Classic(ClassicGroupValue),
    /// This coordinator assigns partitions.
    Consumer(Box<ConsumerGroup>),
}

impl Group {
    /// Whether nothing is left of the group.
    pub(super) fn is_vacant(&self) -> bool {
        matches!(self.kind, Kind::Simple) && self.offsets.is_empty()
    }

    /// Ids of its members.
    pub(super) fn member_ids(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Simple => Vec::new(),
            Kind::Classic(value) => value.members.iter().map(|m| &*m.member_id).collect(),
            Kind::Consumer(group) => group.members.keys().map(|id| &**id).collect(),
        }
    }

    /// Applies a record.
    pub(super) fn replay(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::OffsetCommit(key, value) => self.offsets.replay(key, value.as_ref()),
            GroupRecord::ClassicGroup(_, Some(value)) => self.kind = Kind::Classic(value.clone()),
            GroupRecord::ClassicGroup(_, None) => {
                if matches!(self.kind, Kind::Classic(_)) {
                    self.kind = Kind::Simple;
                }
            }
            GroupRecord::ConsumerGroup(_, None) => {
                if matches!(self.kind, Kind::Consumer(_)) {
                    self.kind = Kind::Simple;
                }
            }
            GroupRecord::PartitionMetadata(..) => {}
            GroupRecord::ConsumerGroup(..)
            | GroupRecord::Member(..)
            | GroupRecord::TargetAssignment(..)
            | GroupRecord::TargetMember(..)
            | GroupRecord::CurrentMember(..)
            | GroupRecord::RegularExpression(..)
            | GroupRecord::Rebalance(..) => self.replay_consumers(record),
        }
    }

    fn replay_consumers(&mut self, record: &GroupRecord) {
        if deletes(record) {
            if let Kind::Consumer(group) = &mut self.kind {
                group.replay(record);
            }
            return;
        }
        match &mut self.kind {
            Kind::Consumer(group) => group.replay(record),
            Kind::Simple | Kind::Classic(_) => {
                let mut group = Box::<ConsumerGroup>::default();
                group.replay(record);
                self.kind = Kind::Consumer(group);
            }
        }
    }
}

fn deletes(record: &GroupRecord) -> bool {
    match record {
        GroupRecord::OffsetCommit(_, value) => value.is_none(),
        GroupRecord::ClassicGroup(_, value) => value.is_none(),
        GroupRecord::ConsumerGroup(_, value) => value.is_none(),
        GroupRecord::PartitionMetadata(_, value) => value.is_none(),
        GroupRecord::Member(_, value) => value.is_none(),
        GroupRecord::TargetAssignment(_, value) => value.is_none(),
        GroupRecord::TargetMember(_, value) => value.is_none(),
        GroupRecord::CurrentMember(_, value) => value.is_none(),
        GroupRecord::RegularExpression(_, value) => value.is_none(),
        GroupRecord::Rebalance(_, value) => value.is_none(),
    }
}
