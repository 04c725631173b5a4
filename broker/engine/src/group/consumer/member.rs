//! [`Member`]: one consumer of a group: what it said, what it holds, what it is to hold, and how it
//! can be reached.

use std::sync::Arc;

use millstream_proto::group_record::{
    ClassicMemberMetadata, CurrentMemberValue, MemberState, MemberValue,
};

use crate::group::{
    Assignment, AssignorName, Holding, PartitionId, StreamId, assignment::holding_value,
};

/// The epoch of a static member that left and will be back (KIP-848).
pub(super) const AWAY_EPOCH: i32 = -2;

/// One consumer of a group.
#[derive(Debug, Default)]
pub(in crate::group) struct Member {
    /// What it said of itself; none where only other records of it were read.
    pub(super) said: Option<MemberValue>,
    pub(super) current: Current,
    /// What it is to hold in the end.
    pub(in crate::group) target: Assignment,
    /// How to reach it; not kept through a restart.
    pub(super) link: Link,
    /// How long it may be silent; not kept through a restart.
    pub(super) session_timeout_ms: Option<u32>,
    /// When it will have been silent for too long.
    pub(super) silent_at_ms: Option<u64>,
    /// By when it is to have given up its partitions.
    pub(super) revoke_by_ms: Option<u64>,
}

/// What a member holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Current {
    pub(super) epoch: i32,
    /// The epoch before, which a member that missed an answer still says.
    pub(super) previous_epoch: i32,
    /// It was told to read these.
    pub(super) assigned: Holding,
    /// It was told to give these up, and did not say that it has.
    pub(super) pending_revocation: Holding,
}

/// How a member can be reached.
#[derive(Debug, Default)]
pub(super) enum Link {
    /// Not at all: its stream broke, it is away, or this coordinator was loaded since.
    #[default]
    None,
    /// It asks, with a heartbeat. What the last answer told it to hold.
    Heartbeats { told: Option<Assignment> },
    /// It has a stream.
    Stream(Stream),
    /// It speaks the classic protocol, and is told what to hold when it joins and syncs.
    Classic(Owes),
}

/// What a member of the classic protocol has to do within its rebalance timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owes {
    Nothing,
    /// It was told that the group rebalances.
    Join,
    /// It has joined, and was not told what to hold.
    Sync,
}

/// A member's stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    /// Pushes so far.
    pub(super) sequence: u64,
    /// Epoch and partitions of the last push.
    pub(super) pushed: Option<(i32, Assignment)>,
}

impl Current {
    /// Whether every partition is held since this epoch or longer.
    pub(super) fn covers(&self, owned: &Assignment, epoch: i32) -> bool {
        owned.iter().all(|partition| {
            self.epoch_of(*partition)
                .is_some_and(|assigned_in| assigned_in <= epoch)
        })
    }

    /// The epoch in which the partition was assigned.
    pub(super) fn epoch_of(&self, partition: PartitionId) -> Option<i32> {
        self.assigned
            .get(&partition)
            .or_else(|| self.pending_revocation.get(&partition))
            .copied()
    }

    /// As a record has it.
    pub(super) fn value(&self, target: &Assignment) -> CurrentMemberValue {
        CurrentMemberValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state(target),
            assigned: holding_value(&self.assigned),
            pending_revocation: holding_value(&self.pending_revocation),
        }
    }

    /// How far the member is on its way to its target.
    pub(super) fn state(&self, target: &Assignment) -> MemberState {
        let has_all = || target.iter().all(|p| self.assigned.contains_key(p));
        if !self.pending_revocation.is_empty() {
            MemberState::UnrevokedPartitions
        } else if has_all() {
            MemberState::Stable
        } else {
            MemberState::UnreleasedPartitions
        }
    }
}

impl Member {
    /// Its epoch; [`AWAY_EPOCH`] for a static member that is away.
    pub(in crate::group) const fn epoch(&self) -> i32 {
        self.current.epoch
    }

    /// Whether it is a static member that left and will be back.
    pub(in crate::group) const fn is_away(&self) -> bool {
        self.current.epoch == AWAY_EPOCH
    }

    /// Whether it holds what it is to hold, and nothing else.
    pub(in crate::group) fn is_settled(&self) -> bool {
        self.current.state(&self.target) == MemberState::Stable
    }

    /// Partitions that nobody else may read yet.
    pub(in crate::group) fn holds(&self) -> impl Iterator<Item = PartitionId> + '_ {
        let Current {
            assigned,
            pending_revocation,
            ..
        } = &self.current;
        assigned.keys().chain(pending_revocation.keys()).copied()
    }

    /// Partitions that nobody else may read yet, with the epoch in which each was assigned.
    pub(in crate::group) fn holding(&self) -> Holding {
        let mut holding = self.current.assigned.clone();
        holding.extend(&self.current.pending_revocation);
        holding
    }

    /// The epoch in which the partition was assigned to it.
    pub(in crate::group) fn epoch_of(&self, partition: PartitionId) -> Option<i32> {
        self.current.epoch_of(partition)
    }

    /// What it is to read now.
    pub(in crate::group) fn assigned(&self) -> Assignment {
        self.current.assigned.keys().copied().collect()
    }

    /// How far it is, in the words of the interface.
    pub(in crate::group) fn state_name(&self) -> &'static str {
        match self.current.state(&self.target) {
            MemberState::UnrevokedPartitions => "Unrevoked",
            MemberState::UnreleasedPartitions => "Unreleased",
            MemberState::Stable | MemberState::Unknown(_) => "Stable",
        }
    }

    /// What it said of itself.
    pub(in crate::group) const fn said(&self) -> Option<&MemberValue> {
        self.said.as_ref()
    }

    /// What it said, where it speaks the classic protocol.
    pub(in crate::group) fn classic(&self) -> Option<&ClassicMemberMetadata> {
        self.said.as_ref()?.classic.as_ref()
    }

    /// How long it may be silent, where that is known.
    pub(super) fn session_timeout_ms(&self) -> Option<u32> {
        let classic = self.classic().map(|classic| classic.session_timeout_ms);
        let classic = classic.and_then(|ms| u32::try_from(ms).ok());
        classic.or(self.session_timeout_ms)
    }

    /// Whether it has something to do within its rebalance timeout.
    pub(super) fn is_awaited(&self) -> bool {
        let owes = match self.link {
            Link::Classic(owes) => owes,
            Link::None | Link::Heartbeats { .. } | Link::Stream(_) => Owes::Nothing,
        };
        owes != Owes::Nothing || !self.current.pending_revocation.is_empty()
    }

    /// Name of a static member.
    pub(in crate::group) fn instance_id(&self) -> Option<&str> {
        self.said.as_ref()?.instance_id.as_deref()
    }

    pub(super) fn topic_names(&self) -> &[String] {
        self.said.as_ref().map_or(&[], |said| &said.topic_names)
    }

    /// The regular expression that it subscribes with.
    pub(super) fn regex(&self) -> Option<&str> {
        let regex = self.said.as_ref()?.topic_regex.as_deref()?;
        (!regex.is_empty()).then_some(regex)
    }

    pub(super) fn rack_id(&self) -> Option<Arc<str>> {
        let rack = self.said.as_ref()?.rack_id.as_deref()?;
        (!rack.is_empty()).then(|| Arc::from(rack))
    }

    /// The assignor that it prefers.
    pub(super) fn assignor(&self) -> Option<AssignorName> {
        AssignorName::parse(self.said.as_ref()?.assignor.as_deref()?)
    }

    /// The member's stream, if it is this one.
    pub(super) fn stream_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        match &mut self.link {
            Link::Stream(stream) if stream.id == id => Some(stream),
            Link::None | Link::Heartbeats { .. } | Link::Stream(_) | Link::Classic(_) => None,
        }
    }
}
