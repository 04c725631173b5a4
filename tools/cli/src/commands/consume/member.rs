//! `consume` as a member of a group.
//!
//! Every few seconds, before partitions go to others, and at the end, what was collected is printed
//! and then committed, in this order: a record that is committed was printed.

use std::{
    io,
    time::{Duration, Instant},
};

use millstream::{
    ConsumedRecord, Consumer, Error, OffsetReset, Start,
    admin::{GroupDescription, TopicDescription},
};
use tokio::sync::watch;

use super::{
    Options,
    ends::{Ends, Progress, Rest},
    hand_over::HandOver,
    printer::Printer,
};
use crate::{
    failure::{Failure, Result},
    interrupts::Interrupts,
    output,
    session::Session,
    start,
};

/// How often what is printed is committed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// How often a member that has nothing to read looks whether it is at the end.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// How long a member that is done waits for others that are not. A member that dies meanwhile is given
/// up within a second, and its partitions then come here.
const OTHERS_WAIT: Duration = Duration::from_secs(2);

/// How long the last commit and the leave may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Prints records until the end, the limit or an interrupt; commits and leaves.
pub(super) async fn run(
    options: &Options,
    group: &str,
    topic: &TopicDescription,
    session: &Session,
) -> Result<()> {
    let found = session.find_group(group).await?;
    if let (Some(from), Some(found)) = (options.from, &found) {
        check_from(from, found, &topic.name)?;
    }
    let isolation = options.isolation.into();
    let ends = if options.follow {
        None
    } else {
        Some(Ends::of(topic, isolation)?)
    };
    let hand_over = HandOver::new(Printer::new(io::stdout(), options.format(session.output)));
    let consumer = session
        .client
        .consumer()
        .group(group)
        .client_id(format!("consume-{}", std::process::id()))
        .isolation(isolation)
        .offset_reset(OffsetReset::Fail)
        .initial_offset(options.from.unwrap_or(Start::Earliest))
        .auto_commit(None)
        .rebalance_listener(hand_over.clone())
        .build()?;
    let mut interrupts = Interrupts::listen()?;
    let noted = interrupts.clone();
    let mut member = Member {
        session,
        group,
        topic: &topic.name,
        ends,
        left: options.limit.unwrap_or(u64::MAX),
        consumer,
        assigned: hand_over.assigned(),
        hand_over,
        uncommitted_since: None,
        done_since: None,
    };
    let result = tokio::select! {
        result = member.read(&noted) => result,
        () = interrupts.wait() => Ok(()),
    };
    member.finish(result).await
}

/// Refuses a place to start at where the group has one already. While it has members others may have
/// made that place just now, from the same command line.
fn check_from(from: Start, group: &GroupDescription, topic: &str) -> Result<()> {
    let mut partitions = group.partitions.iter();
    let has_committed = partitions.any(|it| it.topic == topic && it.committed_offset.is_some());
    if !has_committed {
        return Ok(());
    }
    let name = &group.group;
    if !group.members.is_empty() {
        output::talk(&format!(
            "group {name} has members and committed offsets; --from counts where it has none"
        ));
        return Ok(());
    }
    Err(Failure::new(
        format!("group {name} has committed offsets of topic {topic}, so --from does not apply"),
        format!(
            "leave it out to go on from them, or move them with: millstream offsets reset {name} \
             --topic {topic} --to {}",
            start::text(from)
        ),
    ))
}

/// A member at work.
struct Member<'a> {
    session: &'a Session,
    group: &'a str,
    topic: &'a str,
    /// `None` to go on for ever.
    ends: Option<Ends>,
    /// Records to print before the limit.
    left: u64,
    consumer: Consumer,
    hand_over: HandOver,
    assigned: watch::Receiver<()>,
    uncommitted_since: Option<Instant>,
    /// Since when only others have something to read.
    done_since: Option<Instant>,
}

impl Member<'_> {
    /// # Cancel safety
    /// Dropping the future loses no record: what was received was given to the printer.
    async fn read(&mut self, interrupts: &Interrupts) -> Result<()> {
        self.consumer.subscribe(self.topic).await?;
        while self.left > 0 && !interrupts.came() {
            self.commit_where_due().await?;
            let record = match self.consumer.try_recv() {
                Ok(None) => {
                    self.hand_over.printer().flush()?;
                    if self.is_done().await? {
                        break;
                    }
                    self.wait().await
                }
                received => received,
            };
            if let Some(record) = record.map_err(|error| about(error, self.group))? {
                self.hand_over.printer().print(&record)?;
                self.left -= 1;
                self.done_since = None;
                self.uncommitted_since.get_or_insert_with(Instant::now);
            }
        }
        Ok(())
    }

    /// The next record; `None` when it is time to look around.
    async fn wait(&mut self) -> Result<Option<ConsumedRecord>, Error> {
        let pause = match (&self.ends, self.uncommitted_since) {
            (Some(_), _) => LOOK_INTERVAL,
            (None, Some(since)) => COMMIT_INTERVAL.saturating_sub(since.elapsed()),
            (None, None) => COMMIT_INTERVAL,
        };
        tokio::select! {
            record = self.consumer.recv() => record,
            _ = self.assigned.changed() => {
                self.assigned.mark_changed();
                Ok(None)
            }
            () = tokio::time::sleep(pause) => Ok(None),
        }
    }

    /// Commits what was printed some time ago, and at once where partitions start: a member that takes
    /// them over before the first record must not start at a later end of the log.
    async fn commit_where_due(&mut self) -> Result<()> {
        let is_new = self.assigned.has_changed().unwrap_or(false);
        let is_old = |since: Instant| since.elapsed() >= COMMIT_INTERVAL;
        if !is_new && !self.uncommitted_since.is_some_and(is_old) {
            return Ok(());
        }
        self.assigned.mark_unchanged();
        self.commit().await
    }

    async fn commit(&mut self) -> Result<()> {
        self.hand_over.printer().flush()?;
        self.uncommitted_since = None;
        match self.consumer.commit().await {
            // Partitions that were taken back meanwhile were handed over.
            Ok(()) | Err(Error::NotAssigned { .. }) => Ok(()),
            Err(error) if error.is_retriable() => {
                output::talk(&format!("warning: {error}; it is tried again"));
                self.uncommitted_since = Some(Instant::now());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether this member has read all that it was given, and nothing is left over for it. Others may
    /// still be reading theirs.
    async fn is_done(&mut self) -> Result<bool> {
        let Some(ends) = &self.ends else {
            return Ok(false);
        };
        let membership = self.consumer.membership();
        let Some(membership) = membership.filter(|membership| membership.is_settled) else {
            return Ok(false);
        };
        let assigned = self.consumer.assignment();
        let is_read = |(topic, partition): &(String, i32)| {
            let position = self.consumer.position(topic, *partition);
            position.is_ok_and(|position| ends.is_reached(*partition, position))
        };
        if !assigned.iter().all(is_read) {
            return Ok(false);
        }
        if self.uncommitted_since.is_some() {
            self.commit().await?;
        }
        let group = self.session.describe_group(self.group).await?;
        Ok(self.is_left_to_others(&group, &membership.member_id))
    }

    fn is_left_to_others(&mut self, group: &GroupDescription, member_id: &str) -> bool {
        let of_topic = group.partitions.iter().filter(|it| it.topic == self.topic);
        let progress = of_topic.map(|it| Progress {
            partition: it.partition,
            committed_offset: it.committed_offset,
            member_id: it.member_id.as_deref(),
        });
        let rest = self
            .ends
            .as_ref()
            .map(|ends| ends.rest(progress, member_id));
        let mut members = group.members.iter();
        let gets_more = members
            .find(|member| member.member_id == member_id)
            .is_none_or(|member| member.assigned != member.target);
        match rest {
            Some(Rest::Nothing) => true,
            Some(Rest::OfOthers) if !gets_more => {
                let since = *self.done_since.get_or_insert_with(Instant::now);
                since.elapsed() >= OTHERS_WAIT
            }
            _ => {
                self.done_since = None;
                false
            }
        }
    }

    /// Prints, commits and leaves, whatever came before.
    async fn finish(self, result: Result<()>) -> Result<()> {
        let flushed = self.hand_over.printer().flush();
        let closed = self.consumer.close(CLOSE_TIMEOUT).await;
        let closed = self.hand_over.take_failure().map_or(closed, Err);
        match (result.and(flushed.map_err(Failure::from)), closed) {
            (Err(failure @ Failure::Refused { .. }), _) => Err(failure),
            (_, Err(error)) => Err(uncommitted(&error, self.group)),
            (result, Ok(())) => result,
        }
    }
}

/// The failure to end in good order.
fn uncommitted(error: &Error, group: &str) -> Failure {
    Failure::new(
        format!("cannot commit what was printed last, and leave group {group}: {error}"),
        format!("it will be read again; see how far: millstream groups describe {group}"),
    )
}

/// A failure to read, with what to do about it in a group.
fn about(error: Error, group: &str) -> Failure {
    match &error {
        Error::OffsetOutOfRange {
            topic, partition, ..
        } => Failure::new(
            error.to_string(),
            format!(
                "move the group with: millstream offsets reset {group} --topic {topic}:{partition} \
                 --to earliest"
            ),
        ),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_the_broker_does_not_confirm_says_what_that_means() {
        let error = Error::TimedOut {
            operation: "closing a consumer",
            after: CLOSE_TIMEOUT,
            may_have_been_written: true,
            cause: None,
        };
        assert_eq!(
            uncommitted(&error, "readers").to_string(),
            "error: cannot commit what was printed last, and leave group readers: closing a consumer \
             did not finish within 10s\n\
             hint: it will be read again; see how far: millstream groups describe readers"
        );
    }
}
