//! [`Scene`]: what all members of a run have in common.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use millstream_proto::{PartitionIndex, TopicName, TopicPartition};
use tokio::sync::watch;

use super::Recorder;
use crate::Daemon;

/// Session of a member that is not to fall silent: much longer than any machine is busy.
pub(super) const LONG_SESSION: Duration = Duration::from_secs(10);
/// Session of a member that cannot say one, and of all for a start after the daemon's restart: so long
/// members may take to be back, and so long one that crashed before holds its partitions.
pub(super) const BROKERS_SESSION: Duration = Duration::from_secs(5);
/// How often members commit what they read.
pub(super) const COMMIT_INTERVAL: Duration = Duration::from_millis(50);
/// How long the daemon may be away.
pub(super) const AWAY_MAX: Duration = Duration::from_secs(30);
/// Pause between two attempts to reach it.
pub(super) const RETRY: Duration = Duration::from_millis(20);
/// How long the broker waits for a member whose stream broke: its default.
const RECONNECT_GRACE: Duration = Duration::from_secs(1);

/// One group and those who take part in it.
#[derive(Debug)]
pub struct Scene {
    /// Where the daemon serves the native API.
    pub native: SocketAddr,
    /// Where it serves clients of Kafka.
    pub kafka: SocketAddr,
    /// The group.
    pub group: String,
    /// What its members subscribe to, all of them.
    pub topics: Vec<String>,
    /// Takes what they see.
    pub recorder: Recorder,
    tally: Mutex<BTreeMap<&'static str, usize>>,
    is_over: watch::Sender<bool>,
}

impl Scene {
    /// A group without members.
    #[must_use]
    pub fn new(daemon: &Daemon, group: &str, topics: &[&str]) -> Self {
        Self {
            native: daemon.native(),
            kafka: daemon.kafka(),
            group: group.to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            recorder: Recorder::default(),
            tally: Mutex::default(),
            is_over: watch::Sender::new(false),
        }
    }

    /// Ends the run: members that stay until its end leave.
    pub fn end(&self) {
        self.is_over.send_replace(true);
    }

    /// Waits for the end of the run.
    pub async fn over(&self) {
        // The sender is in `self`.
        let _ = self.is_over.subscribe().wait_for(|is_over| *is_over).await;
    }

    /// Whether the run is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        *self.is_over.borrow()
    }

    /// Counts something that happened.
    pub fn count(&self, what: &'static str) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        *tally.entry(what).or_default() += 1;
    }

    /// What happened, and how often.
    #[must_use]
    pub fn tally(&self) -> BTreeMap<&'static str, usize> {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// When a member whose stream breaks now is to be evicted, from now on.
pub(super) fn eviction_after(session: Duration) -> Duration {
    session.min(RECONNECT_GRACE)
}

/// A partition by name.
///
/// # Panics
/// For a name that no topic has: members subscribe to topics that exist.
pub(super) fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicName::new(topic).expect("a topic's name"),
        partition: PartitionIndex(partition),
    }
}
