//! [`ConsumerGroup`]: a group whose partitions this coordinator assigns (KIP-848).
//!
//! ```text
//!  what members say ──► group epoch ──► target assignment ──► what each member holds
//!     (join.rs)        (rebalance.rs)      (assignor/)           (reconcile.rs)
//! ```
//!
//! Invariant: `owners` names for every partition the one member that holds it, from the moment it is
//! told to read it until it said that it stopped, left, or was evicted. A partition is given to nobody
//! while it has an owner.

mod classic;
mod heartbeat;
mod join;
mod leave;
mod limits;
mod load;
mod member;
mod push;
mod rebalance;
mod reconcile;
mod regex;
mod stream;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use millstream_proto::group_record::{ConsumerGroupValue, CurrentMemberValue, GroupRecord};

pub(super) use self::{
    classic::{
        adopt, heartbeat as classic_heartbeat, join as classic_join, leave as classic_leave,
        sync as classic_sync,
    },
    heartbeat::heartbeat,
    leave::{leave, remove, timer_due},
    load::{loaded, topics_changed},
    member::Member,
    regex::regex_resolved,
    stream::{stream_broken, stream_report},
};
use super::{
    Assignment, PartitionId, Topics,
    assignment::{read_assignment, read_holding},
};

/// A group of consumers.
#[derive(Debug, Default)]
pub(super) struct ConsumerGroup {
    /// Grows whenever another target is due.
    pub(super) epoch: i32,
    /// Hash of the subscribed topics for which the epoch was begun.
    pub(super) metadata_hash: i64,
    /// The group epoch that the targets were computed for.
    pub(super) assignment_epoch: i32,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// What regular expressions matched.
    regexes: BTreeMap<Arc<str>, ResolvedRegex>,
    /// Regular expressions that are being resolved.
    resolving: BTreeSet<Arc<str>>,
    owners: BTreeMap<PartitionId, Arc<str>>,
}

/// What a regular expression matched.
#[derive(Debug, Default)]
struct ResolvedRegex {
    topics: BTreeSet<Arc<str>>,
    /// Version of the topics that were looked at.
    version: i64,
}

impl ConsumerGroup {
    /// Applies a record that is neither about offsets nor about a classic group.
    pub(super) fn replay(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::ConsumerGroup(_, Some(value)) => self.begin_epoch(*value),
            GroupRecord::TargetAssignment(_, value) => {
                self.assignment_epoch = value.map_or(0, |value| value.assignment_epoch);
            }
            GroupRecord::Member(key, Some(value)) => {
                self.member_mut(&key.member_id).said = Some(value.clone());
            }
            GroupRecord::Member(key, None) => self.forget(&key.member_id),
            GroupRecord::TargetMember(key, Some(value)) => {
                let target = read_assignment(&value.partitions);
                self.member_mut(&key.member_id).target = target;
            }
            GroupRecord::TargetMember(key, None) => {
                if let Some(member) = self.members.get_mut(&*key.member_id) {
                    member.target = Assignment::new();
                }
            }
            GroupRecord::CurrentMember(key, value) => self.hold(&key.member_id, value.as_ref()),
            GroupRecord::RegularExpression(key, Some(value)) => {
                let topics = value.topics.iter().map(|topic| Arc::from(&**topic));
                let resolved = ResolvedRegex {
                    topics: topics.collect(),
                    version: value.version,
                };
                self.regexes
                    .insert(Arc::from(&*key.regular_expression), resolved);
            }
            GroupRecord::RegularExpression(key, None) => {
                self.regexes.remove(&*key.regular_expression);
            }
            GroupRecord::ConsumerGroup(_, None)
            | GroupRecord::OffsetCommit(..)
            | GroupRecord::ClassicGroup(..)
            | GroupRecord::Rebalance(..)
            | GroupRecord::PartitionMetadata(..) => {}
        }
    }

    fn begin_epoch(&mut self, value: ConsumerGroupValue) {
        self.epoch = value.epoch;
        self.metadata_hash = value.metadata_hash;
    }

    fn member_mut(&mut self, member_id: &str) -> &mut Member {
        if !self.members.contains_key(member_id) {
            self.members.insert(Arc::from(member_id), Member::default());
        }
        self.members
            .get_mut(member_id)
            .expect("is there since the line above")
    }

    fn forget(&mut self, member_id: &str) {
        self.hold(member_id, None);
        self.members.remove(member_id);
    }

    /// Moves the member's partitions to what a record says that it holds.
    fn hold(&mut self, member_id: &str, value: Option<&CurrentMemberValue>) {
        let Some((id, before)) = self.members.get_key_value(member_id) else {
            if value.is_some() {
                self.member_mut(member_id);
                self.hold(member_id, value);
            }
            return;
        };
        let id = Arc::clone(id);
        for partition in before.holds() {
            if self.owners.get(&partition) == Some(&id) {
                self.owners.remove(&partition);
            }
        }
        let member = self.member_mut(member_id);
        member.current = value.map_or_else(Default::default, |value| member::Current {
            epoch: value.member_epoch,
            previous_epoch: value.previous_member_epoch,
            assigned: read_holding(&value.assigned, value.member_epoch),
            pending_revocation: read_holding(&value.pending_revocation, value.member_epoch),
        });
        let holds: Vec<PartitionId> = member.holds().collect();
        for partition in holds {
            self.owners.insert(partition, Arc::clone(&id));
        }
    }

    /// Who holds a partition.
    pub(super) fn owner(&self, partition: PartitionId) -> Option<&Arc<str>> {
        self.owners.get(&partition)
    }

    /// The member that a static name belongs to.
    pub(super) fn member_of_instance(&self, instance_id: &str) -> Option<(&Arc<str>, &Member)> {
        self.members
            .iter()
            .find(|(_, member)| member.instance_id() == Some(instance_id))
    }

    /// Names of the topics that a member subscribes to and that exist.
    fn subscribed<'a>(&'a self, member: &'a Member, topics: &'a Topics) -> BTreeSet<&'a Arc<str>> {
        let by_name = member.topic_names().iter().map(|name| &**name);
        let matched = member
            .regex()
            .and_then(|regex| self.regexes.get(regex))
            .into_iter()
            .flat_map(|resolved| resolved.topics.iter().map(|name| &**name));
        by_name
            .chain(matched)
            .filter_map(|name| topics.get_key(name))
            .collect()
    }

    /// Whether a member subscribes to the topic.
    pub(super) fn subscribes(&self, topic: &str) -> bool {
        self.members.values().any(|member| {
            let is_named = member.topic_names().iter().any(|name| name == topic);
            let matched = member.regex().and_then(|regex| self.regexes.get(regex));
            is_named || matched.is_some_and(|resolved| resolved.topics.contains(topic))
        })
    }

    /// A hash of all topics that members subscribe to.
    fn hash_of_topics(&self, topics: &Topics) -> i64 {
        let all: BTreeSet<&Arc<str>> = self
            .members
            .values()
            .flat_map(|member| self.subscribed(member, topics))
            .collect();
        topics.hash(all.into_iter().map(|name| &**name))
    }

    /// Its state in Kafka's words.
    pub(super) fn state(&self) -> &'static str {
        if self.members.is_empty() {
            return "Empty";
        }
        if self.epoch > self.assignment_epoch {
            return "Assigning";
        }
        let is_settled = |member: &Member| {
            member.is_away() || (member.is_settled() && member.epoch() == self.assignment_epoch)
        };
        if self.members.values().all(is_settled) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Regular expressions that were resolved.
    pub(super) fn regular_expressions(&self) -> Vec<Arc<str>> {
        self.regexes.keys().cloned().collect()
    }
}
