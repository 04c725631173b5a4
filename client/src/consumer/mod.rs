//! [`Consumer`]: a stream of the records of assigned partitions.

mod assignment;
mod builder;
mod consumed_record;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

pub use assignment::{Assignment, IsolationLevel, OffsetReset, Start};
pub use builder::ConsumerBuilder;
pub use consumed_record::ConsumedRecord;
use futures_util::Stream;

use crate::{connection::Connection, error::Result};
use builder::ConsumerConfig;

/// Reads records of the partitions assigned to it, ahead of what is asked for.
///
/// Records of one partition come in the order of their offsets; partitions take turns. After an
/// error of one partition (see [`Consumer::recv`]) the others go on.
#[derive(Debug)]
pub struct Consumer {}

impl Consumer {
    pub(crate) fn start(_connection: Arc<Connection>, _config: ConsumerConfig) -> Result<Self> {
        todo!()
    }

    /// Replaces what is assigned. Returns once topics, partitions and offsets are known to exist;
    /// reading has begun then.
    ///
    /// # Errors
    /// A refused topic, [`crate::Error::UnknownPartition`], or what kept the offsets from being
    /// looked up. The assignment is then as it was.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the assignment as it was.
    pub async fn assign(
        &mut self,
        _assignments: impl IntoIterator<Item = Assignment>,
    ) -> Result<()> {
        todo!()
    }

    /// The next record; `None` once every assigned partition has been read up to its end, which
    /// only happens where [`Assignment::until_end`] or [`Assignment::until_offset`] set one for all
    /// of them (or nothing is assigned).
    ///
    /// # Errors
    /// What stopped one partition: [`crate::Error::Corrupt`], [`crate::Error::OffsetOutOfRange`]
    /// with [`OffsetReset::Fail`], or a refusal by the broker that is not retriable. That partition
    /// stays where it is until [`Consumer::seek`]; further calls go on with the others, and return
    /// the error again when no other is left. Broken connections are not errors here: they are made
    /// again.
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
        todo!()
    }

    fn poll_recv(&mut self, _context: &mut Context<'_>) -> Poll<Result<Option<ConsumedRecord>>> {
        todo!()
    }

    /// Moves a partition; what was read ahead of it is dropped. Clears what stopped it.
    ///
    /// # Errors
    /// [`crate::Error::NotAssigned`], or what kept the offset from being looked up.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the partition where it was.
    pub async fn seek(&mut self, _topic: &str, _partition: i32, _to: Start) -> Result<()> {
        todo!()
    }

    /// Hands out nothing more of a partition until [`Consumer::resume`]. What is read ahead is kept.
    ///
    /// # Errors
    /// [`crate::Error::NotAssigned`].
    pub fn pause(&mut self, _topic: &str, _partition: i32) -> Result<()> {
        todo!()
    }

    /// Undoes [`Consumer::pause`].
    ///
    /// # Errors
    /// [`crate::Error::NotAssigned`].
    pub fn resume(&mut self, _topic: &str, _partition: i32) -> Result<()> {
        todo!()
    }

    /// Offset of the record that comes next from a partition.
    ///
    /// # Errors
    /// [`crate::Error::NotAssigned`].
    pub fn position(&self, _topic: &str, _partition: i32) -> Result<i64> {
        todo!()
    }

    /// Records between the position and the end of the partition as last heard from the broker;
    /// `None` before it was heard of.
    ///
    /// # Errors
    /// [`crate::Error::NotAssigned`].
    pub fn lag(&self, _topic: &str, _partition: i32) -> Result<Option<i64>> {
        todo!()
    }

    /// What is assigned: (topic, partition), sorted.
    #[must_use]
    pub fn assignment(&self) -> Vec<(String, i32)> {
        todo!()
    }
}

impl Stream for Consumer {
    type Item = Result<ConsumedRecord>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context).map(Result::transpose)
    }
}
