//! Groups: who coordinates them, members, and committed offsets.

mod committed;
mod coordinator;
mod members;

pub(super) use committed::{offset_commit, offset_fetch};
pub(super) use coordinator::find_coordinator;
pub(super) use members::consumer_group_heartbeat;
