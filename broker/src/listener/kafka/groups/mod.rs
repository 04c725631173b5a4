//! Groups: who coordinates them, members, and committed offsets.

mod admin;
mod classic;
mod committed;
mod coordinator;
mod members;

pub(super) use admin::{
    consumer_group_describe, delete_groups, describe_groups, list_groups, offset_delete,
};
pub(super) use classic::{heartbeat, join_group, leave_group, sync_group};
pub(super) use committed::{offset_commit, offset_fetch};
pub(super) use coordinator::find_coordinator;
pub(super) use members::consumer_group_heartbeat;
