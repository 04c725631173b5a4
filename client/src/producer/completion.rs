//! [`Completion`]: what became of a batch, shared by the deliveries of all its records.
//!
//! A batch that the broker finds too large is split, and its parts may end differently; the
//! completion is done once every record has its answer.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll, Waker},
};

use super::Durability;
use crate::error::{Error, Result};

/// The answer to one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchAck {
    /// `None` where the broker does not say.
    pub(crate) base_offset: Option<i64>,
    /// Set by the broker, where the topic wants that.
    pub(crate) log_append_time_ms: Option<i64>,
    pub(crate) durability: Durability,
    pub(crate) replicas: u32,
}

/// The answer to a run of records of the batch.
#[derive(Debug)]
pub(crate) struct Part {
    /// Position of the first record in the batch as it was queued.
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) result: Result<BatchAck>,
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) partition: i32,
    done: OnceLock<Vec<Part>>,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    parts: Vec<Part>,
    wakers: Vec<Waker>,
}

impl Completion {
    pub(crate) fn new(partition: i32) -> Self {
        Self {
            partition,
            done: OnceLock::new(),
            pending: Mutex::default(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the answer to some of the batch's `total` records; after the last wakes everybody and
    /// returns `true`.
    pub(crate) fn complete(&self, part: Part, total: u32) -> bool {
        let wakers = {
            let mut pending = self.pending();
            pending.parts.push(part);
            if pending.parts.iter().map(|part| part.count).sum::<u32>() < total {
                return false;
            }
            let parts = std::mem::take(&mut pending.parts);
            // A second answer to the same records cannot change the first.
            let _ = self.done.set(parts);
            std::mem::take(&mut pending.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
        true
    }

    /// Waits for the answer. `slot` remembers where the caller's waker is.
    pub(crate) fn poll(&self, slot: &mut Option<usize>, context: &Context<'_>) -> Poll<&[Part]> {
        if let Some(parts) = self.done.get() {
            return Poll::Ready(parts);
        }
        let mut pending = self.pending();
        if let Some(parts) = self.done.get() {
            return Poll::Ready(parts);
        }
        match slot.and_then(|slot| pending.wakers.get_mut(slot)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                *slot = Some(pending.wakers.len());
                pending.wakers.push(context.waker().clone());
            }
        }
        Poll::Pending
    }

    /// Waits until every record has its answer, whatever it is.
    pub(crate) async fn wait(&self) {
        let mut slot = None;
        std::future::poll_fn(|context| self.poll(&mut slot, context).map(drop)).await;
    }
}

/// The answer to the record at `index` of a batch.
pub(crate) fn answer_of(parts: &[Part], index: u32) -> Result<(Option<i64>, BatchAck)> {
    let part = parts
        .iter()
        .find(|part| (part.first..part.first + part.count).contains(&index));
    let Some(part) = part else {
        return Err(Error::Closed {
            what: "producer",
            may_have_been_written: true,
        });
    };
    let ack = part.result.clone()?;
    Ok((
        ack.base_offset
            .map(|base| base + i64::from(index - part.first)),
        ack,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(base_offset: i64) -> BatchAck {
        BatchAck {
            base_offset: Some(base_offset),
            log_append_time_ms: None,
            durability: Durability::Flushed,
            replicas: 1,
        }
    }

    #[test]
    fn parts_of_a_split_batch_have_their_own_answers() {
        let completion = Completion::new(0);
        let mut slot = None;
        let context = Context::from_waker(Waker::noop());
        completion.complete(
            Part {
                first: 2,
                count: 1,
                result: Ok(ack(90)),
            },
            3,
        );
        assert!(completion.poll(&mut slot, &context).is_pending());
        completion.complete(
            Part {
                first: 0,
                count: 2,
                result: Ok(ack(50)),
            },
            3,
        );
        let Poll::Ready(parts) = completion.poll(&mut slot, &context) else {
            panic!("not done")
        };
        let offsets: Vec<_> = (0..3)
            .map(|index| answer_of(parts, index).unwrap().0)
            .collect();
        assert_eq!(offsets, [Some(50), Some(51), Some(90)]);
    }

    #[test]
    fn a_waiter_that_polls_again_keeps_one_waker() {
        let completion = Completion::new(0);
        let mut slot = None;
        let context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(completion.poll(&mut slot, &context).is_pending());
        }
        assert_eq!(completion.pending().wakers.len(), 1);
    }
}
