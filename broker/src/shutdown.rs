//! [`Shutdown`]: the one signal that ends the daemon, with the deadline by which it must be over.
//!
//! Phases: `Running` -> `Draining` (refuse new work, answer parked fetches, finish what was
//! appended) -> `Closing` (flush, snapshots, marker). Each component watches and ends by itself;
//! a second SIGTERM or SIGINT exits the process at once, whatever the phase.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// Cheap-clone view of whether and until when the daemon ends.
#[derive(Debug, Clone)]
pub struct Shutdown {
    state: Arc<watch::Sender<Option<Instant>>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A daemon that runs.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Begins the end; it must be over within `timeout`. Only the first call counts.
    pub fn begin(&self, timeout: Duration) {
        self.state.send_if_modified(|deadline| {
            let first = deadline.is_none();
            if first {
                *deadline = Some(Instant::now() + timeout);
            }
            first
        });
    }

    /// Whether the end has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.state.borrow().is_some()
    }

    /// By when everything must be over; `None` while running.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        *self.state.borrow()
    }

    /// Returns once the end has begun, at once if it has.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost when it is dropped.
    pub async fn begun(&self) {
        let mut watcher = self.state.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = watcher.wait_for(Option::is_some).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_first_begin_sets_the_deadline() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.has_begun());
        let waiter = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.begun().await }
        });
        shutdown.begin(Duration::from_secs(5));
        let first = shutdown.deadline();
        shutdown.begin(Duration::from_secs(500));
        assert_eq!(shutdown.deadline(), first);
        waiter.await.expect("the waiter ends");
    }
}
