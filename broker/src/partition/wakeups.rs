//! [`Wakeups`]: how partitions tell a fetch that something can be read again.
//!
//! A fetch that has nothing to send parks on each of its partitions under a token of its own and then
//! waits in one place. A partition that moves hands the token back, once; the fetch reads it and
//! parks again. A parked partition costs one small entry and no wake-ups.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::Notify;

use super::Replica;

/// Where one fetch waits for any of its partitions.
#[derive(Debug, Default)]
pub struct Wakeups {
    /// Tokens of partitions that moved; at most one per parked partition.
    moved: Mutex<Vec<u64>>,
    notify: Notify,
}

impl Wakeups {
    /// Nothing has moved yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The tokens of partitions that moved since the last call; waits until there is one.
    ///
    /// # Cancel safety
    /// Safe: tokens are handed out or stay.
    pub async fn moved(&self) -> Vec<u64> {
        loop {
            let tokens = self.take();
            if !tokens.is_empty() {
                return tokens;
            }
            self.notify.notified().await;
        }
    }

    /// The tokens of partitions that moved since the last call; may be empty.
    pub fn take(&self) -> Vec<u64> {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *moved)
    }

    fn push(&self, token: u64) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.push(token);
        drop(moved);
        self.notify.notify_one();
    }
}

/// Who is parked on one partition.
#[derive(Debug, Default)]
pub(super) struct ParkedReads {
    next_id: u64,
    waiting: HashMap<u64, (Arc<Wakeups>, u64)>,
}

impl ParkedReads {
    pub(super) fn insert(&mut self, wakeups: &Arc<Wakeups>, token: u64) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.waiting.insert(id, (Arc::clone(wakeups), token));
        id
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.waiting.remove(&id);
    }

    /// Takes everybody out, to be woken once no lock is held.
    pub(super) fn take(&mut self) -> Self {
        Self {
            next_id: self.next_id,
            waiting: std::mem::take(&mut self.waiting),
        }
    }

    pub(super) fn wake(self) {
        for (wakeups, token) in self.waiting.into_values() {
            wakeups.push(token);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// A parked read; dropping it takes it off the partition.
#[derive(Debug)]
pub struct Parked {
    pub(super) replica: Weak<Replica>,
    pub(super) id: u64,
}

impl Drop for Parked {
    fn drop(&mut self) {
        if let Some(replica) = self.replica.upgrade() {
            replica.unpark(self.id);
        }
    }
}
