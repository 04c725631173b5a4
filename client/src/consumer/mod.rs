//! [`Consumer`]: a stream of the records of partitions that it, or its group, assigned.
//!
//! Here are the calls of one that assigns by hand, and how the next record is found; `grouped.rs` has
//! those of a member of a group. What is assigned and read ahead is in `state.rs`, the task that
//! fetches in `fetcher.rs`, the membership in `group/`.

mod assignment;
mod builder;
mod consumed_record;
mod fetched;
mod fetcher;
mod group;
mod grouped;
mod resolve;
mod state;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

pub use crate::isolation::IsolationLevel;
pub use assignment::{Assignment, OffsetReset, Start};
pub use builder::ConsumerBuilder;
pub use consumed_record::ConsumedRecord;
use futures_util::Stream;
pub use group::{
    CommitHandle, MembershipStatus, RebalanceListener, Revocation, RevokedFuture, RevokedPartition,
    Subscription,
};

use crate::{
    connection::{Backoff, Connection},
    error::{Error, Result},
};
use builder::ConsumerConfig;
use fetched::FetchedReader;
use fetcher::Fetcher;
use group::{GroupConfig, GroupHandle};
use state::{Shared, Turn};

/// Reads records of the partitions assigned to it, ahead of what is asked for.
///
/// Records of one partition come in the order of their offsets; partitions take turns. After an
/// error of one partition (see [`Consumer::recv`]) the others go on.
///
/// ```no_run
/// # async fn run(client: millstream::Client) -> millstream::Result<()> {
/// use millstream::{Assignment, Start};
///
/// let mut consumer = client.consumer().prefetch_bytes(16 << 20).build()?;
/// consumer.assign([Assignment::partition("flights", 3).start(Start::Latest)]).await?;
/// while let Some(record) = consumer.recv().await? {
///     println!("{}-{} {}", record.topic, record.partition, record.offset);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    fetcher: tokio::task::JoinHandle<()>,
    /// The answer that records are being taken from.
    reading: Option<Box<FetchedReader>>,
    group: Option<GroupHandle>,
}

impl Consumer {
    pub(crate) fn start(
        connection: Arc<Connection>,
        config: ConsumerConfig,
        group: Option<GroupConfig>,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| Error::config("runtime", "none", "a tokio runtime around build()"))?;
        let shared = Arc::new(Shared::new(connection, config));
        let fetcher = runtime.spawn(Fetcher::new(Arc::clone(&shared)).run());
        let group = group.map(|group| GroupHandle::start(&runtime, &shared, group));
        Ok(Self {
            shared,
            fetcher,
            reading: None,
            group,
        })
    }

    /// Replaces what is assigned. Returns once topics, partitions and offsets are known; reading has
    /// begun then.
    ///
    /// # Errors
    /// A refused topic, [`Error::UnknownPartition`], [`Error::NoCommittedOffset`], a consumer that
    /// subscribes, or what kept the offsets from being looked up. The assignment is then as it was.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the assignment as it was.
    pub async fn assign(
        &mut self,
        assignments: impl IntoIterator<Item = Assignment>,
    ) -> Result<()> {
        if self.shared.state().is_subscribed {
            let expected = "unsubscribe before anything is assigned by hand";
            return Err(Error::config("assignment", "a subscription", expected));
        }
        let (connection, isolation) = (&self.shared.connection, self.shared.config.isolation);
        let assignments = assignments.into_iter().collect();
        let group = self.group.as_ref().map(|handle| &handle.group.config);
        let resolved = resolve::resolve(connection, isolation, group, assignments).await?;
        let backoff = Backoff::new(connection.config.reconnect_backoff);
        self.shared.state().assign(resolved, &backoff);
        self.reading = None;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// The next record. With a subscription it waits for as long as the consumer is in its group;
    /// else `None` once every assigned partition has been read up to its end, which
    /// only happens where [`Assignment::until_end`] or [`Assignment::until_offset`] set one for all
    /// of them (or nothing is assigned).
    ///
    /// # Errors
    /// What stopped one partition: [`Error::Corrupt`], [`Error::OffsetOutOfRange`] with
    /// [`OffsetReset::Fail`], or a refusal by the broker that is not retriable. That partition stays
    /// where it is until [`Consumer::seek`]; further calls go on with the others, and return the
    /// error again when no other is left. Broken connections are not errors here: they are made
    /// again, and a member that its group gave up joins anew. A group that refuses the member for
    /// good is an error, of every call until [`Consumer::subscribe`].
    ///
    /// Calling it says that the records handed out before are done with: they may be committed, and
    /// partitions of theirs given up.
    ///
    /// # Cancel safety
    /// Dropping the future loses no record.
    pub async fn recv(&mut self) -> Result<Option<ConsumedRecord>> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// [`Consumer::recv`] without waiting: `Ok(None)` where it would wait or end.
    ///
    /// # Errors
    /// As [`Consumer::recv`].
    pub fn try_recv(&mut self) -> Result<Option<ConsumedRecord>> {
        match self.poll_recv(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(None),
        }
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<ConsumedRecord>>> {
        if self.shared.wants_safe_point() {
            self.pass_safe_point();
        }
        loop {
            if let Some(reader) = &mut self.reading {
                match reader.next(&self.shared.config) {
                    Some(Ok(record)) => return Poll::Ready(Ok(Some(record))),
                    Some(Err(error)) => {
                        let (slot, position) = (reader.wanted.slot, reader.wanted.position);
                        self.reading = None;
                        self.shared.state().halt_told(slot, position, error.clone());
                        return Poll::Ready(Err(error));
                    }
                    None => self.finish_reading(),
                }
            }
            let mut state = self.shared.state();
            match state.next_turn() {
                Turn::Read(reader) => self.reading = Some(reader),
                Turn::Failed(error) => return Poll::Ready(Err(error)),
                Turn::Finished => return Poll::Ready(Ok(None)),
                Turn::Wait => {
                    state.consumer = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    /// Says that everything handed out is done with.
    fn pass_safe_point(&mut self) {
        if !self.shared.pass_safe_point(self.reading.as_deref()) {
            self.reading = None;
        }
    }

    fn finish_reading(&mut self) {
        if let Some(reader) = self.reading.take()
            && !self.shared.state().finish_reading(&reader)
        {
            self.shared.wake.notify_one();
        }
    }

    /// Moves a partition; what was read ahead of it is dropped. Clears what stopped it.
    ///
    /// # Errors
    /// [`Error::NotAssigned`], or what kept the offset from being looked up.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the partition where it was.
    pub async fn seek(&mut self, topic: &str, partition: i32, to: Start) -> Result<()> {
        let slot = self.shared.state().partition(topic, partition)?.0;
        let position = match to {
            Start::Offset(offset) if offset >= 0 => offset,
            _ => {
                let wanted = vec![Assignment::partition(topic, partition).start(to)];
                let (connection, isolation) =
                    (&self.shared.connection, self.shared.config.isolation);
                let group = self.group.as_ref().map(|handle| &handle.group.config);
                let resolved = resolve::resolve(connection, isolation, group, wanted).await?;
                resolved.first().map_or(0, |resolved| resolved.position)
            }
        };
        self.reading.take_if(|reader| reader.wanted.slot == slot);
        self.shared.state().seek(slot, position);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Hands out nothing more of a partition until [`Consumer::resume`]. What is read ahead is kept.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn pause(&mut self, topic: &str, partition: i32) -> Result<()> {
        let mut state = self.shared.state();
        let (slot, paused) = state.partition_mut(topic, partition)?;
        paused.paused = true;
        if let Some(reader) = self.reading.take_if(|reader| reader.wanted.slot == slot) {
            state.stash(reader);
        }
        Ok(())
    }

    /// Undoes [`Consumer::pause`].
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn resume(&mut self, topic: &str, partition: i32) -> Result<()> {
        let mut state = self.shared.state();
        let slot = state.partition(topic, partition)?.0;
        state.resume(slot);
        Ok(())
    }

    /// Offset of the record that comes next from a partition.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn position(&self, topic: &str, partition: i32) -> Result<i64> {
        let state = self.shared.state();
        let (slot, partition) = state.partition(topic, partition)?;
        let reading = self
            .reading
            .as_ref()
            .filter(|reader| reader.wanted.slot == slot);
        Ok(reading.map_or(partition.position, |reader| reader.wanted.position))
    }

    /// Records between the position and the end of the partition as last heard from the broker (the
    /// last stable offset with [`IsolationLevel::ReadCommitted`]); `None` before it was heard of.
    ///
    /// # Errors
    /// [`Error::NotAssigned`].
    pub fn lag(&self, topic: &str, partition: i32) -> Result<Option<i64>> {
        let position = self.position(topic, partition)?;
        let end_offset = self
            .shared
            .state()
            .partition(topic, partition)?
            .1
            .end_offset;
        Ok(end_offset.map(|end_offset| end_offset.saturating_sub(position).max(0)))
    }

    /// What is assigned: (topic, partition), sorted.
    #[must_use]
    pub fn assignment(&self) -> Vec<(String, i32)> {
        let state = self.shared.state();
        let slots = state.assigned_slots();
        let partitions = slots.iter().filter_map(|slot| state.partitions.get(slot));
        let mut assigned: Vec<_> = partitions
            .map(|state| (state.topic.to_string(), state.partition))
            .collect();
        assigned.sort_unstable();
        assigned
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.fetcher.abort();
        let mut state = self.shared.state();
        state.closed = true;
        state.routes.clear();
    }
}

impl Stream for Consumer {
    type Item = Result<ConsumedRecord>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context).map(Result::transpose)
    }
}
