//! [`HandOver`]: what happens to printed records when the group takes partitions back, and when the
//! member leaves.

use std::{
    io::Stdout,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use millstream::{CommitOffset, Error, RebalanceListener, Revocation, RevokedFuture};
use tokio::sync::watch;

use super::printer::Printer;
use crate::output;

/// Commits what is printed of partitions that go, and nothing else. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct HandOver {
    printer: Arc<Mutex<Printer<Stdout>>>,
    failure: Arc<Mutex<Option<Error>>>,
    /// Changes when partitions come.
    assigned: watch::Sender<()>,
}

impl HandOver {
    pub(super) fn new(printer: Printer<Stdout>) -> Self {
        Self {
            printer: Arc::new(Mutex::new(printer)),
            failure: Arc::default(),
            assigned: watch::Sender::new(()),
        }
    }

    pub(super) fn printer(&self) -> MutexGuard<'_, Printer<Stdout>> {
        self.printer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn assigned(&self) -> watch::Receiver<()> {
        self.assigned.subscribe()
    }

    /// Why something printed is not committed.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure().take()
    }

    fn failure(&self) -> MutexGuard<'_, Option<Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints what was collected, as far as that works, and says what may be committed.
    fn offsets(&self, revocation: &Revocation) -> Vec<CommitOffset> {
        let mut printer = self.printer();
        // Where it fails the reading side will find that out for itself.
        let _ = printer.flush();
        let partitions = revocation.partitions().iter();
        partitions
            .filter_map(|revoked| {
                let offset = printer.committable(revoked.partition, revoked.position)?;
                let topic = revoked.topic.as_str();
                Some(CommitOffset::new(topic, revoked.partition, offset))
            })
            .collect()
    }
}

impl RebalanceListener for HandOver {
    fn assigned(&self, _: &[(String, i32)]) {
        self.assigned.send_replace(());
    }

    fn revoked<'a>(&'a self, revocation: &'a Revocation) -> RevokedFuture<'a> {
        Box::pin(async move {
            // The reader of our output may take its time.
            let offsets = tokio::task::block_in_place(|| self.offsets(revocation));
            if let Err(error) = revocation.commit_offsets(offsets).await {
                *self.failure() = Some(error);
            }
        })
    }

    fn lost(&self, partitions: &[(String, i32)]) {
        let names: Vec<_> = partitions
            .iter()
            .map(|(topic, partition)| format!("{topic}-{partition}"))
            .collect();
        output::talk(&format!(
            "warning: the group gave {} to others, having not heard of this member in time; records \
             printed since the last commit will be read again",
            names.join(", ")
        ));
    }
}
