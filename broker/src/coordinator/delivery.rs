//! [`Delivery`]: an answer or push, and who gets it.

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

/// The way to one member's stream. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    messages: mpsc::Sender<MemberMessage>,
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
    (Outbox { messages }, inbox)
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
        // Full after an overflow, or closed: in both cases the stream is over.
        let _ = self.messages.try_send(message);
    }

    /// Returns when nobody reads the messages any more.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn closed(&self) {
        self.messages.closed().await;
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
