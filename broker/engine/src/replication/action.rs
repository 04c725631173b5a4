//! [`Action`]: what a partition's leadership asks its surroundings to do.

use std::collections::BTreeSet;

use millstream_proto::{BrokerId, Offset};

use super::{Durability, Ticket};

/// How safe acknowledged records are at the moment of the acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// `Fsync` when every replica counted has them on disk.
    pub durability: Durability,
    /// In-sync replicas that have them so, the leader among them.
    pub replicas: u32,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Show records up to here to readers.
    HighWatermark(Offset),
    /// Answer the wait.
    Acknowledge {
        /// The wait.
        ticket: Ticket,
        /// What the answer may claim.
        claim: Claim,
    },
    /// Ask the controller for this in-sync set, if the partition epoch is still this one.
    ProposeInSyncSet {
        /// Version the proposal builds on (compare and set).
        partition_epoch: i32,
        /// Members wanted.
        in_sync: BTreeSet<BrokerId>,
    },
    /// Flush now: the topic asks for more safety than the high watermark has.
    Flush,
}
