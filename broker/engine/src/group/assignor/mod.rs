//! Assignors: who is to hold which partitions.
//!
//! All are pure and deterministic: the same members, targets and topics give the same assignment.
//! Every partition of a topic that somebody subscribes to goes to exactly one of those who do.

mod balance;
mod range;
mod seats;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::balance::Preference;
use super::{Assignment, Topics};

/// The assignors, by the names that members use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AssignorName {
    /// As even as possible over all topics; then near the replicas; then as little moved as possible.
    Uniform,
    /// Ranges of neighbouring partitions, the same of every topic.
    Range,
    /// As even as possible over all topics; then as little moved as possible; racks decide only where
    /// a partition moves anyway.
    Sticky,
}

impl AssignorName {
    /// The assignor of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            "sticky" => Some(Self::Sticky),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
            Self::Sticky => "sticky",
        }
    }
}

/// A member as assignors see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AssignorMember {
    pub(super) id: Arc<str>,
    /// Where it runs.
    pub(super) rack: Option<Arc<str>>,
    /// Topics that it subscribes to, and that exist.
    pub(super) topics: BTreeSet<Arc<str>>,
    /// What it was to hold until now.
    pub(super) previous: Assignment,
}

/// What each member is to hold.
pub(super) fn assign(
    name: AssignorName,
    members: &[AssignorMember],
    topics: &Topics,
) -> BTreeMap<Arc<str>, Assignment> {
    match name {
        AssignorName::Uniform => balance::assign(members, topics, Preference::NearReplicas),
        AssignorName::Range => range::assign(members, topics),
        AssignorName::Sticky => balance::assign(members, topics, Preference::Unmoved),
    }
}
