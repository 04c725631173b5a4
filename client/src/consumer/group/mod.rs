//! A consumer in a group: its membership, and its commits.
//!
//! ```text
//!   Consumer ── recv, safe points ──► State ◄── adds, revokes ── Member ◄─ stream ─► broker
//!      │                                ▲                          │ drives
//!      │                                └─ is it still ours? ┐     ▼
//!      └── commit ──► Committer ──► CommitSender ────────────┘  Reconciliation (pure)
//!                                       └── stream ─► broker
//! ```
//!
//! A safe point is a moment at which the application has come back for more records, and so is done
//! with every one handed out before. Auto commits and revocations wait for one: what is committed
//! was worked on, and nobody works on a partition that was given up.

mod assigned_partition;
mod commit_sender;
mod committer;
mod config;
mod listener;
mod member;
mod membership;
mod reconciliation;
mod starting;
mod stream;
mod subscription;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

pub(crate) use assigned_partition::AssignedPartition;
pub use committer::CommitHandle;
pub(crate) use committer::Committer;
pub(crate) use config::GroupConfig;
pub use listener::{RebalanceListener, Revocation, RevokedFuture, RevokedPartition};
pub(crate) use member::no_group;
pub use subscription::Subscription;

use super::state::Shared;
use crate::{
    admin::NO_MEMBER_EPOCH,
    connection::{Broker, Connection},
    error::{Error, Result},
};
use commit_sender::CommitSender;
use member::Member;

/// Commands that may wait for the member's task.
const COMMANDS_MAX: usize = 16;

/// What a consumer asks of its member task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Join, or change what is wanted. Answered once the broker took the member in, or refused it.
    Subscribe(Subscription, oneshot::Sender<Result<()>>),
    /// Revoke everything, commit, leave. Answered when that is done.
    Leave(oneshot::Sender<()>),
}

/// What the parts of a consumer in a group have in common.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) config: GroupConfig,
    pub(crate) committer: Committer,
    identity: Mutex<Identity>,
}

/// Who the member is.
#[derive(Debug, Clone)]
struct Identity {
    member_id: String,
    /// 0 without a membership.
    epoch: i32,
    is_subscribed: bool,
    is_settled: bool,
    /// The last reason for which it is not in the group.
    last_error: Option<Error>,
}

/// A consumer's place in its group, as of now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MembershipStatus {
    /// The id that the group knows the member by.
    pub member_id: String,
    /// The epoch it has reached; 0 while it is not in the group.
    pub member_epoch: i32,
    /// It reads just what the group last assigned to it.
    pub is_settled: bool,
}

/// A consumer's end of its group.
#[derive(Debug)]
pub(crate) struct GroupHandle {
    pub(crate) group: Arc<Group>,
    pub(crate) commands: mpsc::Sender<Command>,
    /// Ends once the committer is closed and everything in line was sent.
    pub(crate) commits: JoinHandle<()>,
}

impl Group {
    fn identity(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the consumer is in the group, or on its way into it.
    fn is_member(&self) -> bool {
        self.identity().is_subscribed
    }

    /// Member id and epoch that commits carry.
    fn commits_as(&self) -> (String, i32) {
        let identity = self.identity();
        if identity.is_subscribed {
            (identity.member_id.clone(), identity.epoch)
        } else {
            (String::new(), NO_MEMBER_EPOCH)
        }
    }

    /// The consumer's place in the group; `None` while it subscribes to nothing.
    pub(crate) fn status(&self) -> Option<MembershipStatus> {
        let identity = self.identity();
        identity.is_subscribed.then(|| MembershipStatus {
            member_id: identity.member_id.clone(),
            member_epoch: identity.epoch,
            is_settled: identity.is_settled,
        })
    }

    /// The last reason for which the member is not in the group.
    pub(crate) fn last_error(&self) -> Option<Error> {
        self.identity().last_error.clone()
    }

    /// The broker to ask at the given attempt.
    fn broker(&self, connection: &Connection, attempt: usize) -> Result<Arc<Broker>> {
        let address = connection.address_of_attempt(attempt);
        let address = address.ok_or_else(|| Error::Address {
            found: String::new(),
        })?;
        connection.broker(&address)
    }
}

impl GroupHandle {
    /// Starts the tasks of a consumer in a group.
    pub(crate) fn start(
        runtime: &tokio::runtime::Handle,
        shared: &Arc<Shared>,
        config: GroupConfig,
    ) -> Self {
        let group = Arc::new(Group {
            config,
            committer: Committer::default(),
            identity: Mutex::new(Identity {
                member_id: random_uuid(rand::random()),
                epoch: 0,
                is_subscribed: false,
                is_settled: false,
                last_error: None,
            }),
        });
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let member = Member::new(Arc::clone(shared), Arc::clone(&group), receiver);
        runtime.spawn(member.run());
        let sender = CommitSender::new(Arc::clone(shared), Arc::clone(&group));
        let commits = runtime.spawn(sender.run());
        Self {
            group,
            commands,
            commits,
        }
    }
}

/// A random UUID (version 4) as text.
fn random_uuid(random: u128) -> String {
    let bits = random & !(0xf << 76) | (4 << 76);
    let bits = bits & !(0b11 << 62) | (0b10 << 62);
    let digits = format!("{bits:032x}");
    let mut text = String::with_capacity(36);
    for (position, digit) in digits.chars().enumerate() {
        if matches!(position, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_uuid_says_that_it_is_one() {
        assert_eq!(
            random_uuid(u128::MAX),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(random_uuid(0), "00000000-0000-4000-8000-000000000000");
    }
}
