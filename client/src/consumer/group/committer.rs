//! [`Committer`]: offsets to be committed, and the task that sends them.
//!
//! At most one request is on its way. What is asked for meanwhile is collected, the latest offset of
//! a partition replacing earlier ones, and goes with the next: so commits of a partition take effect
//! in the order they were asked for, also where one has to be sent again, and many callers share one
//! round trip. What waits is bounded by the number of partitions.

use std::{
    collections::BTreeMap,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};

use crate::{
    admin::CommitOffset,
    consumer::state::{Committable, Shared},
    error::{Error, Result},
};

/// Offsets by the assignment of their partition.
pub(super) type Offsets = BTreeMap<u64, Committable>;

/// What became of a batch: the offsets that were refused, or why none was committed.
pub(super) type Outcome = Arc<Result<BTreeMap<u64, Error>>>;

/// Takes offsets to be committed. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Committer {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    batch: Option<Batch>,
    closed: bool,
}

/// Offsets that go with one request.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) offsets: Offsets,
    done: watch::Sender<Option<Outcome>>,
}

impl Batch {
    pub(super) fn answer(self, outcome: Result<BTreeMap<u64, Error>>) {
        self.done.send_replace(Some(Arc::new(outcome)));
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Committer {
    /// Puts offsets in line.
    pub(crate) fn enqueue(&self, offsets: Vec<Committable>) -> CommitHandle {
        let slots = offsets.iter().map(|offset| offset.slot).collect();
        if offsets.is_empty() {
            return CommitHandle::done(Ok(BTreeMap::new()));
        }
        let mut waiting = self.queue.waiting();
        if waiting.closed {
            return CommitHandle::done(Err(closed()));
        }
        let batch = waiting.batch.get_or_insert_with(|| Batch {
            offsets: Offsets::new(),
            done: watch::Sender::new(None),
        });
        batch
            .offsets
            .extend(offsets.into_iter().map(|offset| (offset.slot, offset)));
        let outcome = batch.done.subscribe();
        drop(waiting);
        self.queue.wake.notify_one();
        CommitHandle { outcome, slots }
    }

    /// Puts offsets of assigned partitions in line.
    ///
    /// # Errors
    /// [`Error::NotAssigned`]; then nothing is committed.
    pub(crate) fn commit(
        &self,
        shared: &Shared,
        offsets: Vec<CommitOffset>,
    ) -> Result<CommitHandle> {
        let state = shared.state();
        let mut committables = Vec::with_capacity(offsets.len());
        for offset in offsets {
            if offset.offset < 0 {
                let found = offset.offset.to_string();
                return Err(Error::config("offset", found, "0 or more"));
            }
            let mut committable =
                state.committable_at(&offset.topic, offset.partition, offset.offset)?;
            committable.metadata = offset.metadata;
            committables.push(committable);
        }
        drop(state);
        Ok(self.enqueue(committables))
    }

    /// Takes nothing more; what is in line is still sent.
    pub(crate) fn close(&self) {
        self.queue.waiting().closed = true;
        self.queue.wake.notify_one();
    }

    /// The next batch; `None` once closed and empty.
    pub(super) async fn next(&self) -> Option<Batch> {
        loop {
            {
                let mut waiting = self.queue.waiting();
                if let Some(batch) = waiting.batch.take() {
                    return Some(batch);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.queue.wake.notified().await;
        }
    }
}

fn closed() -> Error {
    Error::Closed {
        what: "consumer",
        may_have_been_written: false,
    }
}

/// A commit under way. Await it for its outcome; dropping it cancels nothing.
#[derive(Debug)]
#[must_use = "await it for the outcome, or drop it on purpose"]
pub struct CommitHandle {
    outcome: watch::Receiver<Option<Outcome>>,
    slots: Vec<u64>,
}

impl CommitHandle {
    fn done(outcome: Result<BTreeMap<u64, Error>>) -> Self {
        Self {
            outcome: watch::Sender::new(Some(Arc::new(outcome))).subscribe(),
            slots: Vec::new(),
        }
    }

    /// Waits until everything is committed, or something was refused.
    ///
    /// # Errors
    /// The first refusal of one of the offsets, or what kept all of them from being committed.
    ///
    /// # Cancel safety
    /// Dropping the future cancels nothing.
    pub(crate) async fn wait(mut self) -> Result<()> {
        let outcome = self.outcome.wait_for(Option::is_some).await;
        let Some(outcome) = outcome.ok().and_then(|outcome| outcome.clone()) else {
            return Err(closed());
        };
        match outcome.as_ref() {
            Ok(refused) => {
                let mut refusals = self.slots.iter().filter_map(|slot| refused.get(slot));
                refusals.next().map_or(Ok(()), |error| Err(error.clone()))
            }
            Err(error) => Err(error.clone()),
        }
    }
}

impl IntoFuture for CommitHandle {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.wait())
    }
}
