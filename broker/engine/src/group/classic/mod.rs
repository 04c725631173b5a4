//! [`ClassicGroup`]: a group whose members assign partitions among themselves.
//!
//! ```text
//!            join             everybody joined,          the leader's sync
//!   Empty ──────────► Preparing ──────────► Completing ──────────► Stable
//!     ▲   after a delay  │  ▲   or the timeout   │                    │
//!     └── nobody is left ┘  └── join, leave, silence, no sync in time ┘
//! ```
//!
//! A generation is written when it is stable, or when the group becomes empty; whatever is between two
//! records is forgotten by a restart, and members find their way back from the generation before.
//! Behaves as Kafka 4.3's classic groups, where nothing else is said.
//!
//! Invariants: nobody waits for a join but in Preparing, and nobody for a sync but in Completing; the
//! leader is a member; all members have a protocol in common.

mod answer;
mod clock;
mod commit;
pub mod embedded;
mod heartbeat;
mod join;
mod leave;
mod limits;
mod load;
mod member;
mod rebalance;
mod request;
mod sync;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use millstream_proto::group_record::{ClassicGroupValue, ClassicMember};

use self::member::as_i32;
pub use self::{
    answer::{Joined, JoinedMember, Synced},
    request::{ClassicJoin, ClassicLeave, ClassicMemberRef, ClassicSync, Leaver},
};
pub(super) use self::{
    clock::timer_due,
    commit::check_commit,
    embedded::{Said, find, read_said, read_topics, write_assignment},
    heartbeat::heartbeat,
    join::join,
    leave::leave,
    limits::{check_join, with_words},
    load::loaded,
    member::Member,
    rebalance::{dismiss, settle_in},
    sync::sync,
};

/// The protocol type of consumers, whose metadata and assignments are in a known format.
pub(super) const CONSUMER: &str = "consumer";

/// A group whose members assign partitions among themselves.
#[derive(Debug, Default)]
pub(super) struct ClassicGroup {
    phase: Phase,
    /// Since when it is in its phase, in milliseconds since 1970.
    since_ms: i64,
    /// Grows with every rebalance.
    pub(super) generation: i32,
    pub(super) protocol_type: Arc<str>,
    /// The protocol of the generation.
    protocol: Option<Arc<str>>,
    leader: Option<Arc<str>>,
    /// Why the last rebalance began.
    reason: String,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Member ids that were given out and not joined with yet, and until when each is good.
    pending: BTreeMap<Arc<str>, u64>,
    /// When joining ends, while it goes on.
    join_by_ms: Option<u64>,
    /// When members are to have asked for their assignments.
    sync_by_ms: Option<u64>,
    /// Whether there is a record of the group.
    is_recorded: bool,
}

/// How far the group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// Nobody is a member.
    #[default]
    Empty,
    /// Members join the next generation; the first one after the group was empty waits for more.
    Preparing(Option<InitialDelay>),
    /// The leader is to assign.
    Completing,
    /// Everybody has an assignment.
    Stable,
}

/// How a group that was empty waits for members to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InitialDelay {
    /// The present wait.
    wait_ms: u32,
    /// What further waits may take in all.
    left_ms: u32,
    /// Whether somebody came during the present wait.
    has_newcomer: bool,
}

impl ClassicGroup {
    /// What a record says.
    pub(super) fn read(value: &ClassicGroupValue) -> Self {
        let protocol = value.protocol.as_deref().unwrap_or_default();
        let members = value.members.iter();
        let members: BTreeMap<Arc<str>, Member> = members
            .map(|member| {
                (
                    Arc::from(&*member.member_id),
                    Member::read(member, protocol),
                )
            })
            .collect();
        let leader = value.leader.as_deref().map(Arc::from);
        let leader = leader.filter(|leader| members.contains_key(leader));
        Self {
            phase: if members.is_empty() {
                Phase::Empty
            } else {
                Phase::Stable
            },
            since_ms: value.current_state_timestamp_ms,
            generation: value.generation,
            protocol_type: Arc::from(&*value.protocol_type),
            protocol: value.protocol.as_deref().map(Arc::from),
            leader,
            members,
            is_recorded: true,
            ..Self::default()
        }
    }

    /// A stable group of members that a consumer group had, whose generations go on from its epochs;
    /// `None` where they have no protocol in common. Nobody leads it, by which a coordinator that loads
    /// it knows that its members have yet to join.
    pub(super) fn of_consumers(
        epoch: i32,
        since_ms: i64,
        members: BTreeMap<Arc<str>, Member>,
    ) -> Option<Self> {
        let mut group = Self {
            phase: Phase::Stable,
            protocol_type: Arc::from(CONSUMER),
            members,
            ..Self::empty(epoch, since_ms)
        };
        group.protocol = group.vote();
        group.protocol.is_some().then_some(group)
    }

    /// A group that nobody has joined yet, and that goes on from the epoch of one of another kind.
    pub(super) fn empty(generation: i32, since_ms: i64) -> Self {
        Self {
            since_ms,
            generation,
            ..Self::default()
        }
    }

    /// As a record has it; only of a group that is stable or empty.
    fn value(&self) -> ClassicGroupValue {
        let member = |(id, member): (&Arc<str>, &Member)| ClassicMember {
            member_id: id.to_string(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: as_i32(member.rebalance_timeout_ms),
            session_timeout_ms: as_i32(member.session_timeout_ms),
            subscription: self.metadata(member),
            assignment: member.assignment.clone(),
        };
        ClassicGroupValue {
            protocol_type: self.protocol_type.to_string(),
            generation: self.generation,
            protocol: self.protocol.as_deref().map(str::to_owned),
            leader: self.leader.as_deref().map(str::to_owned),
            current_state_timestamp_ms: self.since_ms,
            members: self.members.iter().map(member).collect(),
        }
    }

    /// Whether nothing is left of it, and nothing written that has to be deleted.
    pub(super) fn is_vacant(&self) -> bool {
        !self.is_recorded && self.members.is_empty() && self.pending.is_empty()
    }

    /// Whether there is a record of the group.
    pub(super) const fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// Whether somebody was told a member id and may join with it.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When it lost its last member, where it has none.
    pub(super) fn emptied_at_ms(&self) -> Option<i64> {
        self.members.is_empty().then_some(self.since_ms)
    }

    /// Its state in Kafka's words.
    pub(super) const fn state(&self) -> &'static str {
        match self.phase {
            Phase::Empty => "Empty",
            Phase::Preparing(_) => "PreparingRebalance",
            Phase::Completing => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }

    pub(super) fn is_stable(&self) -> bool {
        self.phase == Phase::Stable
    }

    /// Whether its members have to join before it is what it should be: it was one of consumers.
    pub(super) fn is_to_settle_in(&self) -> bool {
        self.leader.is_none() && !self.members.is_empty()
    }

    /// The protocol of the generation; empty where there is none.
    pub(super) fn protocol(&self) -> Arc<str> {
        self.protocol.clone().unwrap_or_default()
    }

    fn is_leader(&self, member_id: &Arc<str>) -> bool {
        self.leader.as_ref() == Some(member_id)
    }

    /// What a member said for the protocol of the generation.
    pub(super) fn metadata(&self, member: &Member) -> Bytes {
        let protocol = self.protocol.as_deref();
        let metadata = protocol.and_then(|protocol| member.metadata(protocol));
        metadata.cloned().unwrap_or_default()
    }

    /// What a member was assigned, where the group is stable.
    pub(super) fn assignment(&self, member: &Member) -> Bytes {
        if self.is_stable() {
            member.assignment.clone()
        } else {
            Bytes::new()
        }
    }

    /// The member that a static name belongs to.
    fn member_of_instance(&self, instance_id: &str) -> Option<&Arc<str>> {
        let mut members = self.members.iter();
        let found = members.find(|(_, member)| member.instance_id.as_deref() == Some(instance_id));
        found.map(|(id, _)| id)
    }

    /// Whether a member may have this protocol type and these protocols. `but` is not asked: it is the
    /// one that says so.
    fn supports(&self, join: &ClassicJoin, but: &str) -> bool {
        let mut others = self
            .members
            .iter()
            .filter(|(id, _)| &***id != but)
            .peekable();
        if others.peek().is_none() {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        let others: Vec<&Member> = others.map(|(_, member)| member).collect();
        let is_common = |name: &str| others.iter().all(|member| member.metadata(name).is_some());
        *self.protocol_type == *join.protocol_type
            && join.protocols.iter().any(|(name, _)| is_common(name))
    }

    /// The protocol that most members prefer of those that all support; the first by name among
    /// equals.
    fn vote(&self) -> Option<Arc<str>> {
        let first = self.members.values().next()?;
        let is_common = |name: &str| self.members.values().all(|m| m.metadata(name).is_some());
        let names = first.protocols.iter().map(|(name, _)| name.as_str());
        let candidates: BTreeSet<&str> = names.filter(|name| is_common(name)).collect();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let mut names = member.protocols.iter().map(|(name, _)| name.as_str());
            if let Some(vote) = names.find(|name| candidates.contains(name)) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        let winner = votes.iter().find(|(_, count)| **count == most);
        winner.map(|(name, _)| Arc::from(*name))
    }

    /// How long members may take to join, which is as long as the slowest may.
    fn rebalance_timeout_ms(&self) -> u32 {
        let members = self.members.values();
        let timeouts = members.map(|member| member.rebalance_timeout_ms);
        timeouts.max().unwrap_or(0)
    }

    fn has_everybody_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|m| m.joining.is_some())
    }

    /// The generation as a member of it is told.
    fn told(&self, member_id: &Arc<str>) -> Joined {
        let is_leader = self.is_leader(member_id);
        let members = self.members.iter().filter(|_| is_leader);
        let members = members.map(|(id, member)| JoinedMember {
            member_id: Arc::clone(id),
            instance_id: member.instance_id.clone(),
            metadata: self.metadata(member),
        });
        Joined {
            member_id: Arc::clone(member_id),
            generation: self.generation,
            protocol_type: Arc::clone(&self.protocol_type),
            protocol: self.protocol(),
            leader: self.leader.clone().unwrap_or_default(),
            skips_assignment: false,
            members: members.collect(),
        }
    }
}
