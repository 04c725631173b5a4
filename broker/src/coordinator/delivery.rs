//! [`Delivery`]: an answer or push, and who gets it.

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

use millstream_engine::group::{Push, Refusal, Reply};
use tokio::sync::{mpsc, oneshot};

use super::CoordinatorError;

/// What a member's stream is told.
#[derive(Debug, Clone)]
pub enum MemberMessage {
    /// The answer to something that the member said.
    Reply(Reply),
    /// What to hold.
    Assigned(Push),
    /// The membership or this stream of it is over.
    Closed(Refusal),
    /// The coordinator failed; the member may come back with its epoch and partitions.
    Lost(CoordinatorError),
    /// So much waits for the member to read it that the rest is left out.
    Overflow,
}

/// Told to nobody: epochs begin with 0.
const NO_EPOCH: i32 = -1;

/// The way to one member's stream. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    messages: mpsc::Sender<MemberMessage>,
    /// The member's epoch as the stream was told last.
    told_epoch: Arc<AtomicI32>,
}

/// An outbox for a stream, and what the stream reads. At most `messages_max` wait.
#[must_use]
pub fn member_channel(messages_max: u32) -> (Outbox, mpsc::Receiver<MemberMessage>) {
    // One more for the message that says that there are too many.
    let capacity = usize::try_from(messages_max)
        .unwrap_or(usize::MAX)
        .saturating_add(1)
        .min(tokio::sync::Semaphore::MAX_PERMITS);
    let (messages, inbox) = mpsc::channel(capacity);
    let told_epoch = Arc::new(AtomicI32::new(NO_EPOCH));
    (
        Outbox {
            messages,
            told_epoch,
        },
        inbox,
    )
}

impl Outbox {
    /// Never waits; a stream that is gone misses nothing. Called under the coordinator's lock, so
    /// that messages of one stream never overtake each other.
    pub(super) fn send(&self, message: MemberMessage) {
        let message = if self.messages.capacity() <= 1 {
            MemberMessage::Overflow
        } else {
            message
        };
        if let Some(member_epoch) = epoch_in(&message) {
            self.told_epoch.store(member_epoch, Ordering::Relaxed);
        }
        // Full after an overflow, or closed: in both cases the stream is over.
        let _ = self.messages.try_send(message);
    }

    /// Whether an answer tells the stream nothing that it was not told already.
    pub(super) fn knows(&self, reply: &Reply) -> bool {
        match reply {
            Reply::Alive(alive) => alive.member_epoch == self.told_epoch.load(Ordering::Relaxed),
            _ => false,
        }
    }

    /// Returns when nobody reads the messages any more.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn closed(&self) {
        self.messages.closed().await;
    }
}

const fn epoch_in(message: &MemberMessage) -> Option<i32> {
    match message {
        MemberMessage::Reply(Reply::Alive(alive)) => Some(alive.member_epoch),
        MemberMessage::Assigned(push) => Some(push.member_epoch),
        _ => None,
    }
}

/// Who asked.
#[derive(Debug)]
pub(super) enum Asker {
    /// A request that waits for its one answer.
    Once(oneshot::Sender<Result<Reply, CoordinatorError>>),
    /// A member's stream.
    Stream(Outbox),
}

/// What is told once everything it depends on is safe.
#[derive(Debug)]
pub(super) enum Delivery {
    /// An answer.
    Reply(Asker, Reply),
    /// What nobody asked for.
    Message(Outbox, MemberMessage),
    /// What was read may be shown.
    Settled(oneshot::Sender<Result<(), CoordinatorError>>),
}

impl Delivery {
    /// Whoever asked may have gone; what was done stays done.
    pub(super) fn deliver(self) {
        match self {
            Self::Reply(Asker::Once(asker), reply) => drop(asker.send(Ok(reply))),
            Self::Reply(Asker::Stream(outbox), reply) => outbox.send(MemberMessage::Reply(reply)),
            Self::Message(outbox, message) => outbox.send(message),
            Self::Settled(asker) => drop(asker.send(Ok(()))),
        }
    }

    /// Streams hear of it by themselves, once each.
    pub(super) fn fail(self, error: &CoordinatorError) {
        match self {
            Self::Reply(asker, _) => asker.fail(error),
            Self::Message(..) => {}
            Self::Settled(asker) => drop(asker.send(Err(error.clone()))),
        }
    }
}

impl Asker {
    /// Whether the answer is no news, so that it need not wait for anything: a heartbeat is answered
    /// also while the disk is slow.
    pub(super) fn knows(&self, reply: &Reply) -> bool {
        match self {
            Self::Stream(outbox) => outbox.knows(reply),
            Self::Once(_) => false,
        }
    }

    /// As [`Delivery::fail`].
    pub(super) fn fail(self, error: &CoordinatorError) {
        match self {
            Self::Once(asker) => drop(asker.send(Err(error.clone()))),
            Self::Stream(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(member_epoch: i32) -> MemberMessage {
        MemberMessage::Reply(Reply::Left { member_epoch })
    }

    #[tokio::test]
    async fn a_stream_that_nobody_reads_is_told_so_and_gets_no_more() {
        let (outbox, mut inbox) = member_channel(2);
        for epoch in 0..5 {
            outbox.send(left(epoch));
        }
        drop(outbox);
        let mut found = Vec::new();
        while let Some(message) = inbox.recv().await {
            found.push(message);
        }
        assert!(
            matches!(
                found.as_slice(),
                [
                    MemberMessage::Reply(Reply::Left { member_epoch: 0 }),
                    MemberMessage::Reply(Reply::Left { member_epoch: 1 }),
                    MemberMessage::Overflow
                ]
            ),
            "{found:?}"
        );
    }
}
