//! [`History`]: the last rebalances of a group, when and why.

use std::collections::BTreeMap;

use millstream_proto::group_record::{RebalanceKey, RebalanceValue};

use super::Rebalance;

/// The last rebalances of a group, by their place in a ring.
#[derive(Debug, Default)]
pub(super) struct History {
    by_slot: BTreeMap<i32, Rebalance>,
}

impl History {
    /// Applies a record.
    pub(super) fn replay(&mut self, key: &RebalanceKey, value: Option<&RebalanceValue>) {
        match value {
            Some(value) => {
                self.by_slot.insert(key.slot, Rebalance::from(value));
            }
            None => {
                self.by_slot.remove(&key.slot);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }

    /// All that are remembered, the newest last.
    pub(super) fn all(&self) -> Vec<Rebalance> {
        let mut rebalances: Vec<Rebalance> = self.by_slot.values().cloned().collect();
        rebalances.sort_by_key(|rebalance| rebalance.group_epoch);
        rebalances
    }

    /// The last one.
    pub(super) fn newest(&self) -> Option<&Rebalance> {
        self.by_slot.values().max_by_key(|r| r.group_epoch)
    }

    /// Places in the ring that are in use.
    pub(super) fn slots(&self) -> Vec<i32> {
        self.by_slot.keys().copied().collect()
    }
}

impl From<&RebalanceValue> for Rebalance {
    fn from(value: &RebalanceValue) -> Self {
        Self {
            group_epoch: value.group_epoch,
            timestamp_ms: value.timestamp_ms,
            members: value.members,
            reason: std::sync::Arc::from(&*value.reason),
        }
    }
}
