//! What a [`Consumer`] does in a group: subscribe, commit, ask what is committed, leave.
//!
//! The calls only say what is wanted; the membership's own task (`group/membership.rs`) talks to the
//! coordinator, and the committer (`group/committer.rs`) sends the offsets. What may be committed is
//! what was handed out before the last call for more.

use std::time::Duration;

use tokio::{sync::oneshot, time::timeout};

use super::{
    CommitHandle, Consumer, MembershipStatus, Subscription,
    group::{Command, Group, no_group},
};
use crate::{
    admin::{Admin, CommitOffset, CommittedOffset},
    error::{Error, Result},
};

impl Consumer {
    fn group(&self) -> Result<&Group> {
        let handle = self.group.as_ref().ok_or_else(no_group)?;
        Ok(&handle.group)
    }

    /// Joins the consumer's group for these topics, or changes what it wants of it. Returns once the
    /// group took the member in; partitions come soon after, see [`crate::RebalanceListener`] and
    /// [`Consumer::assignment`].
    ///
    /// ```no_run
    /// # async fn run(client: millstream::Client) -> millstream::Result<()> {
    /// use std::time::Duration;
    /// use millstream::OffsetReset;
    ///
    /// let consumer = client.consumer().group("readers").offset_reset(OffsetReset::Earliest);
    /// let mut consumer = consumer.build()?;
    /// consumer.subscribe("flights").await?;
    /// while let Some(record) = consumer.recv().await? {
    ///     println!("{}-{} {}", record.topic, record.partition, record.offset);
    ///     # break;
    /// }
    /// consumer.close(Duration::from_secs(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A consumer without a group or with partitions assigned by hand, an empty subscription, a
    /// refusal by the group (a bad name or regular expression, too many members), or a broker that
    /// could not be reached within the client's request timeout. Nothing is subscribed to then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the subscription made: the consumer goes on joining.
    pub async fn subscribe(&mut self, subscription: impl Into<Subscription>) -> Result<()> {
        let subscription = subscription.into();
        let handle = self.group.as_ref().ok_or_else(no_group)?;
        if subscription.is_empty() {
            let expected = "a topic or a regular expression";
            return Err(Error::config("subscription", "nothing", expected));
        }
        {
            let state = self.shared.state();
            if !state.is_subscribed && !state.partitions.is_empty() {
                let expected = "no partitions assigned by hand";
                return Err(Error::config("subscription", "an assignment", expected));
            }
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::Subscribe(subscription, reply);
        let after = self.shared.connection.config.request_timeout;
        let joining = async {
            handle.commands.send(command).await.map_err(|_| closed())?;
            answer.await.map_err(|_| closed())?
        };
        match timeout(after, joining).await {
            Ok(result) => result,
            Err(_) => {
                let cause = handle.group.last_error().map(std::sync::Arc::new);
                let (reply, _) = oneshot::channel();
                let _ = handle.commands.try_send(Command::Leave(reply));
                Err(Error::TimedOut {
                    operation: "joining a group",
                    after,
                    may_have_been_written: false,
                    cause,
                })
            }
        }
    }

    /// Gives up all partitions, as [`Consumer::close`] does, and leaves the group. The consumer can
    /// subscribe again, or be assigned partitions by hand.
    ///
    /// # Errors
    /// A consumer without a group.
    ///
    /// # Cancel safety
    /// Dropping the future cancels nothing: the consumer leaves.
    pub async fn unsubscribe(&mut self) -> Result<()> {
        self.pass_safe_point();
        self.leave().await?;
        self.reading = None;
        Ok(())
    }

    async fn leave(&self) -> Result<()> {
        let handle = self.group.as_ref().ok_or_else(no_group)?;
        let (reply, answer) = oneshot::channel();
        let sent = handle.commands.send(Command::Leave(reply)).await;
        sent.map_err(|_| closed())?;
        let _ = answer.await;
        Ok(())
    }

    /// The consumer's place in its group; `None` while it subscribes to nothing.
    #[must_use]
    pub fn membership(&self) -> Option<MembershipStatus> {
        self.group.as_ref()?.group.status()
    }

    /// Commits the position of every assigned partition: everything handed out counts as done with.
    ///
    /// # Errors
    /// A consumer without a group, a refusal by the group, or a broker that could not be reached
    /// within the client's request timeout. [`Error::NotAssigned`] for partitions that the group took
    /// back meanwhile: their records go to another member.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it committed or not committed.
    pub async fn commit(&mut self) -> Result<()> {
        self.commit_async()?.await
    }

    /// Starts [`Consumer::commit`], and does not wait for it.
    ///
    /// ```no_run
    /// # async fn run(mut consumer: millstream::Consumer) -> millstream::Result<()> {
    /// let commit = consumer.commit_async()?;
    /// let next = consumer.recv().await?;
    /// commit.await?;
    /// # drop(next); Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A consumer without a group; the handle has the others.
    pub fn commit_async(&mut self) -> Result<CommitHandle> {
        self.group()?;
        self.pass_safe_point();
        let committables = {
            let state = self.shared.state();
            let slots = state.assigned_slots();
            slots
                .into_iter()
                .filter_map(|slot| state.committable(slot))
                .collect()
        };
        Ok(self.group()?.committer.enqueue(committables))
    }

    /// Commits these offsets of assigned partitions, with their metadata.
    ///
    /// ```no_run
    /// # async fn run(consumer: &millstream::Consumer) -> millstream::Result<()> {
    /// use millstream::CommitOffset;
    ///
    /// let done = CommitOffset::new("flights", 3, 1_000).metadata("checkpoint 17");
    /// consumer.commit_offsets([done]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Consumer::commit`]; [`Error::NotAssigned`] before anything is sent.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it committed or not committed.
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = CommitOffset>,
    ) -> Result<()> {
        self.commit_offsets_async(offsets)?.await
    }

    /// Starts [`Consumer::commit_offsets`], and does not wait for it.
    ///
    /// # Errors
    /// A consumer without a group, or [`Error::NotAssigned`]; the handle has the others.
    pub fn commit_offsets_async(
        &self,
        offsets: impl IntoIterator<Item = CommitOffset>,
    ) -> Result<CommitHandle> {
        let offsets = offsets.into_iter().collect();
        self.group()?.committer.commit(&self.shared, offsets)
    }

    /// What the consumer's group has committed for each (topic, partition), in order; `None` where
    /// that is nothing.
    ///
    /// # Errors
    /// A consumer without a group, a refusal by the group, or a broker that could not be reached
    /// within the client's request timeout.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn committed(
        &self,
        partitions: &[(&str, i32)],
    ) -> Result<Vec<Option<CommittedOffset>>> {
        let group = self.group()?;
        let admin = Admin::new(std::sync::Arc::clone(&self.shared.connection));
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let listed = admin
            .list_group_offsets(&group.config.group_id, partitions)
            .await?;
        listed.into_iter().map(|(_, result)| result).collect()
    }

    /// Ends the consumer: gives up its partitions (see [`crate::RebalanceListener::revoked`]), commits
    /// what was handed out unless auto commit is off, sends what was asked to be committed before, and
    /// leaves the group. A consumer without a group just ends.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when that took longer than `timeout`; the broker then finds out by itself.
    /// Without a subscription, what kept the positions from being committed.
    ///
    /// # Cancel safety
    /// Dropping the future drops the consumer: it leaves the group, and what was not committed by then
    /// may not be.
    pub async fn close(mut self, timeout: Duration) -> Result<()> {
        if self.group.is_none() {
            return Ok(());
        }
        self.pass_safe_point();
        self.shared.pass_all_safe_points();
        match tokio::time::timeout(timeout, self.finish()).await {
            Ok(result) => result,
            Err(_) => Err(Error::TimedOut {
                operation: "closing a consumer",
                after: timeout,
                may_have_been_written: true,
                cause: None,
            }),
        }
    }

    async fn finish(&mut self) -> Result<()> {
        let is_subscribed = self.shared.state().is_subscribed;
        let mut result = Ok(());
        if is_subscribed {
            self.leave().await?;
        } else if self.group()?.config.auto_commit_interval.is_some() {
            let uncommitted = self.shared.state().uncommitted();
            result = self.group()?.committer.enqueue(uncommitted).await;
        }
        if let Some(handle) = &mut self.group {
            handle.group.committer.close();
            let _ = (&mut handle.commits).await;
        }
        result
    }
}

fn closed() -> Error {
    Error::Closed {
        what: "consumer",
        may_have_been_written: false,
    }
}
