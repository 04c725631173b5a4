//! [`Group`]: what the records of one group say: its kind, its last rebalances, and its committed
//! offsets.
//!
//! Compaction keeps only the newest record of a key, so records may tell of a member before they tell
//! of its group, or of a target before its member: what is named begins to exist with its first record
//! that has a value. A record without one deletes, and creates nothing.

use millstream_proto::group_record::GroupRecord;

use super::{classic::ClassicGroup, consumer::ConsumerGroup, history::History, offsets::Offsets};

/// One group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) kind: Kind,
    pub(super) history: History,
    pub(super) offsets: Offsets,
}

/// What kind of group it is.
#[derive(Debug, Default)]
pub(super) enum Kind {
    /// Offsets only.
    #[default]
    Simple,
    /// Members assign partitions among themselves.
    Classic(Box<ClassicGroup>),
    /// This coordinator assigns partitions.
    Consumer(Box<ConsumerGroup>),
}

impl Group {
    /// Whether nothing is left of the group.
    pub(super) fn is_vacant(&self) -> bool {
        matches!(self.kind, Kind::Simple) && self.offsets.is_empty() && self.history.is_empty()
    }

    /// A classic group that nobody is about to join, and that was never written, is none.
    pub(super) fn shed(&mut self) {
        if matches!(&self.kind, Kind::Classic(group) if group.is_vacant()) {
            self.kind = Kind::Simple;
        }
    }

    /// When the group lost its last member, where it has none and that is known.
    pub(super) fn emptied_at_ms(&self) -> Option<i64> {
        match &self.kind {
            Kind::Simple => None,
            Kind::Classic(group) => group.emptied_at_ms(),
            Kind::Consumer(group) => {
                let newest = self.history.newest()?;
                group.members.is_empty().then_some(newest.timestamp_ms)
            }
        }
    }

    /// Ids of its members.
    pub(super) fn member_ids(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Simple => Vec::new(),
            Kind::Classic(group) => group.members.keys().map(|id| &**id).collect(),
            Kind::Consumer(group) => group.members.keys().map(|id| &**id).collect(),
        }
    }

    /// Applies a record.
    pub(super) fn replay(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::OffsetCommit(key, value) => self.offsets.replay(key, value.as_ref()),
            GroupRecord::Rebalance(key, value) => self.history.replay(key, value.as_ref()),
            GroupRecord::ClassicGroup(_, Some(value)) => {
                self.kind = Kind::Classic(Box::new(ClassicGroup::read(value)));
            }
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
            | GroupRecord::RegularExpression(..) => self.replay_consumers(record),
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
