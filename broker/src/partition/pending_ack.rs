//! [`PendingAck`]: the acknowledgement of one append, due once its records are safe enough.

use std::{
    future::Future,
    pin::Pin,
    sync::Weak,
    task::{Context, Poll},
};

use millstream_engine::replication::{Claim, Ticket};
use tokio::sync::oneshot;

use super::{AckLost, Replica};

/// What an acknowledgement claims, or why there will be none.
pub(super) type AckResult = Result<Claim, AckLost>;

/// Resolves once the records of an append are as safe as was asked, or never will be.
///
/// # Cancel safety
/// Dropping it gives up the wait; the records stay in the log.
#[derive(Debug)]
pub struct PendingAck {
    state: State,
}

#[derive(Debug)]
enum State {
    Ready(AckResult),
    Waiting {
        answer: oneshot::Receiver<AckResult>,
        ticket: Ticket,
        replica: Weak<Replica>,
    },
    Done,
}

impl PendingAck {
    pub(super) fn ready(result: AckResult) -> Self {
        Self {
            state: State::Ready(result),
        }
    }

    pub(super) fn waiting(
        answer: oneshot::Receiver<AckResult>,
        ticket: Ticket,
        replica: Weak<Replica>,
    ) -> Self {
        Self {
            state: State::Waiting {
                answer,
                ticket,
                replica,
            },
        }
    }
}

impl Future for PendingAck {
    type Output = AckResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<AckResult> {
        if let State::Waiting { answer, .. } = &mut self.state {
            let Poll::Ready(result) = Pin::new(answer).poll(context) else {
                return Poll::Pending;
            };
            self.state = State::Done;
            return Poll::Ready(result.unwrap_or(Err(AckLost::Closed)));
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Ready(result) => Poll::Ready(result),
            State::Waiting { .. } | State::Done => Poll::Ready(Err(AckLost::Closed)),
        }
    }
}

impl Drop for PendingAck {
    fn drop(&mut self) {
        if let State::Waiting {
            ticket, replica, ..
        } = &self.state
            && let Some(replica) = replica.upgrade()
        {
            replica.forget(*ticket);
        }
    }
}
