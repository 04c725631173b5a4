//! Coordination of groups: membership, assignment of partitions, committed offsets, by the
//! broker (KIP-848) or by the members themselves.
//!
//! ```text
//!   Event ──► Coordinator::handle ──► Outcome: records to append, replies, actions
//!   record ─► Coordinator::replay     (load only)
//! ```

mod action;
mod assignment;
mod assignor;
mod classic;
mod commit;
mod config;
mod consumer;
mod coordinator;
mod describe;
mod dispatch;
mod event;
mod forget;
mod history;
mod migration;
mod offsets;
mod refusal;
mod state;
#[cfg(test)]
mod tests;
mod topics;
mod turn;
mod view;

pub use action::{Action, Alive, Outcome, Push, Reply};
pub use assignment::{Assignment, Holding, PartitionId};
pub use assignor::AssignorName;
pub use classic::{
    ClassicJoin, ClassicLeave, ClassicMemberRef, ClassicSync, Joined, JoinedMember, Leaver, Synced,
    embedded,
};
pub use config::{Config, MigrationPolicy, TimeoutRange};
pub use coordinator::Coordinator;
pub use describe::{
    Committed, GroupDescription, GroupListing, GroupType, MemberDescription, OffsetReader,
    Rebalance,
};
pub use event::{
    Event, Heartbeat, Leave, MemberRef, Now, OffsetCommits, OffsetToCommit, Owned, StreamId,
    StreamReport, Subscription, Ticket, Timer,
};
pub use refusal::Refusal;
pub use topics::{Topic, Topics};
