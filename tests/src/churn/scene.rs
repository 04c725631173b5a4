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

/// How long the broker waits for a member whose stream broke: its default.
const RECONNECT_GRACE: Duration = Duration::from_secs(1);

/// One group and those who take part in it.
#[derive(Debug)]
pub struct Scene {
    /// Where the daemon listens.
    pub daemon: SocketAddr,
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
    pub fn new(daemon: SocketAddr, group: &str, topics: &[&str]) -> Self {
        Self {
            daemon,
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
