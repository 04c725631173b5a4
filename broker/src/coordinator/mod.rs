//! Coordinators: who keeps the state of groups, on top of the pure engine and a partition each.
//!
//! ```text
//!   service ─► GroupCoordinators ─► OffsetsPartition, one per partition of __consumer_offsets
//!
//!              event                    records               end
//!   request ─────────► engine (lock) ─────────► append ─────────► high watermark ─► answers, pushes
//!                         ▲ state is ahead of the log   one batch at a time    group commit
//!                         └── records of the partition, once, when it is loaded
//! ```
//!
//! Invariants:
//! - The engine's state is that of every record handed to the log so far, in their order. Nothing is
//!   answered before what it tells of is below the high watermark. Only a heartbeat's answer that tells
//!   a member nothing but the epoch that it was told already waits for nothing.
//! - No lock of a coordinator is held over an append or a flush. Appends of one partition are in turn:
//!   what comes meanwhile goes with the next batch.
//! - If an append or a flush fails, the state is dropped, everybody who waits is refused in a way that
//!   tells them to try again, and the partition is loaded anew.

mod counts;
mod delivery;
mod engine_config;
mod error;
mod group_coordinators;
mod lag;
mod offsets_partition;
mod offsets_topic;
mod surroundings;
mod timekeeper;
mod topic_regex;
mod topics;

pub use counts::CountsNow;
pub use delivery::{MemberMessage, Outbox, member_channel};
pub use error::CoordinatorError;
pub use group_coordinators::{Dependencies, GroupCoordinators};
pub use lag::Behind;
pub use offsets_partition::{OffsetsPartition, Replying, Settling};
pub use offsets_topic::{OFFSETS_TOPIC, fixed_config};
