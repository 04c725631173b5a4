//! [`Health`]: whether the daemon serves, for `/ready` and for the service manager.

use std::sync::Arc;

use tokio::sync::watch;

/// What the daemon is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not all partitions serve yet.
    Starting,
    /// Every partition serves, or is offline with a reason that is counted.
    Ready,
    /// No new work is taken.
    Stopping,
}

/// Cheap-clone view of the daemon's phase.
#[derive(Debug, Clone)]
pub struct Health {
    phase: Arc<watch::Sender<Phase>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            phase: Arc::new(watch::Sender::new(Phase::Starting)),
        }
    }
}

impl Health {
    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Enters a phase; a daemon that stops never becomes ready again.
    pub fn enter(&self, next: Phase) {
        self.phase.send_if_modified(|phase| {
            let changes = *phase != Phase::Stopping && *phase != next;
            if changes {
                *phase = next;
            }
            changes
        });
    }

    /// Returns once the phase is not `Starting` any more.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn started(&self) -> Phase {
        let mut watcher = self.phase.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = watcher.wait_for(|phase| *phase != Phase::Starting).await;
        self.phase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_stops_never_becomes_ready_again() {
        let health = Health::default();
        assert_eq!(health.phase(), Phase::Starting);
        health.enter(Phase::Ready);
        assert_eq!(health.phase(), Phase::Ready);
        health.enter(Phase::Stopping);
        health.enter(Phase::Ready);
        assert_eq!(health.phase(), Phase::Stopping);
    }
}
