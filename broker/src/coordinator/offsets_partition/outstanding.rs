//! [`Outstanding`]: records that are not appended yet, and deliveries that wait for the high watermark.
//!
//! ```text
//!   unappended ── an append takes all of it ──► in flight ── appended ──► unflushed, by end
//!     records, deliveries                        deliveries                  │ high watermark
//!                                                                            ▼ reaches the end
//!                                                                         delivered, in order
//! ```
//!
//! A delivery without a record of its own tells of everything before it, so it waits in line, too.

use std::collections::VecDeque;

use millstream_proto::{Offset, group_record::GroupRecord};

use crate::coordinator::{CoordinatorError, delivery::Delivery};

/// What a coordinator has done and may not tell yet.
#[derive(Debug)]
pub(super) struct Outstanding {
    records: Vec<GroupRecord>,
    unappended: Vec<Delivery>,
    in_flight: Vec<Delivery>,
    is_appending: bool,
    /// By the end that the high watermark has to reach.
    unflushed: VecDeque<(Offset, Vec<Delivery>)>,
    /// Of what is appended.
    end: Offset,
}

impl Outstanding {
    /// Nothing, on top of a log that ends at `end`.
    pub(super) fn new(end: Offset) -> Self {
        Self {
            records: Vec::new(),
            unappended: Vec::new(),
            in_flight: Vec::new(),
            is_appending: false,
            unflushed: VecDeque::new(),
            end,
        }
    }

    /// Takes in what came of one event.
    pub(super) fn push(&mut self, records: Vec<GroupRecord>, deliveries: Vec<Delivery>) {
        self.records.extend(records);
        if self.is_appending || !self.records.is_empty() {
            self.unappended.extend(deliveries);
        } else if !deliveries.is_empty() {
            self.wait_for_flush(deliveries);
        }
    }

    fn wait_for_flush(&mut self, deliveries: Vec<Delivery>) {
        match self.unflushed.back_mut() {
            Some((end, waiting)) if *end == self.end => waiting.extend(deliveries),
            _ => self.unflushed.push_back((self.end, deliveries)),
        }
    }

    /// Whether the caller is to append now, until [`Outstanding::take_records`] gives it nothing more.
    pub(super) fn begin_append(&mut self) -> bool {
        let begins = !self.is_appending && !self.records.is_empty();
        self.is_appending |= begins;
        begins
    }

    /// The records of the next batch; `None` ends the turn of who appends.
    pub(super) fn take_records(&mut self) -> Option<Vec<GroupRecord>> {
        let deliveries = std::mem::take(&mut self.unappended);
        if self.records.is_empty() {
            self.is_appending = false;
            if !deliveries.is_empty() {
                self.wait_for_flush(deliveries);
            }
            return None;
        }
        self.in_flight = deliveries;
        Some(std::mem::take(&mut self.records))
    }

    /// The batch is in the log, which ends at `end` now.
    pub(super) fn appended(&mut self, end: Offset) {
        self.end = end;
        let deliveries = std::mem::take(&mut self.in_flight);
        self.unflushed.push_back((end, deliveries));
    }

    /// Delivers what the high watermark has reached.
    pub(super) fn deliver_due(&mut self, high_watermark: Offset) {
        while let Some((end, _)) = self.unflushed.front()
            && *end <= high_watermark
            && let Some((_, deliveries)) = self.unflushed.pop_front()
        {
            deliveries.into_iter().for_each(Delivery::deliver);
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        let unflushed = self.unflushed.iter().map(|(_, waiting)| waiting.len());
        self.unappended.len() + self.in_flight.len() + unflushed.sum::<usize>()
    }

    /// Tells everybody that it will not be.
    pub(super) fn fail(self, error: &CoordinatorError) {
        let unflushed = self.unflushed.into_iter().flat_map(|(_, waiting)| waiting);
        unflushed
            .chain(self.in_flight)
            .chain(self.unappended)
            .for_each(|delivery| delivery.fail(error));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    type Heard = oneshot::Receiver<Result<(), CoordinatorError>>;

    fn offset(value: i64) -> Offset {
        Offset::new(value).expect("not negative")
    }

    fn record() -> GroupRecord {
        GroupRecord::ConsumerGroup("g".into(), None)
    }

    fn push(outstanding: &mut Outstanding, records: usize) -> Heard {
        let (asker, heard) = oneshot::channel();
        outstanding.push(vec![record(); records], vec![Delivery::Settled(asker)]);
        heard
    }

    /// Whether nothing waits.
    fn is_empty(outstanding: &Outstanding) -> bool {
        !outstanding.is_appending
            && outstanding.records.is_empty()
            && outstanding.unappended.is_empty()
            && outstanding.in_flight.is_empty()
            && outstanding.unflushed.is_empty()
    }

    fn is_delivered(heard: &mut Heard) -> bool {
        matches!(heard.try_recv(), Ok(Ok(())))
    }

    #[test]
    fn without_anything_outstanding_a_delivery_is_due_at_once() {
        let mut outstanding = Outstanding::new(offset(7));
        let mut read = push(&mut outstanding, 0);
        outstanding.deliver_due(offset(7));
        assert!(is_delivered(&mut read) && is_empty(&outstanding));
        assert!(!outstanding.begin_append(), "there is nothing to append");
    }

    #[test]
    fn a_delivery_waits_for_everything_before_it() {
        let mut outstanding = Outstanding::new(offset(7));
        let mut written = push(&mut outstanding, 2);
        let mut read = push(&mut outstanding, 0);
        outstanding.deliver_due(offset(7));
        assert!(!is_delivered(&mut written) && !is_delivered(&mut read));
        assert!(outstanding.begin_append() && !outstanding.begin_append());
        assert_eq!(
            outstanding.take_records().map(|records| records.len()),
            Some(2)
        );
        let mut during = push(&mut outstanding, 0);
        outstanding.appended(offset(9));
        assert_eq!(outstanding.take_records(), None);
        outstanding.deliver_due(offset(8));
        assert!(!is_delivered(&mut written) && !is_delivered(&mut during));
        outstanding.deliver_due(offset(9));
        assert!(is_delivered(&mut written) && is_delivered(&mut read));
        assert!(is_delivered(&mut during) && is_empty(&outstanding));
    }

    #[test]
    fn what_comes_during_an_append_goes_with_the_next() {
        let mut outstanding = Outstanding::new(offset(0));
        let mut first = push(&mut outstanding, 1);
        assert!(outstanding.begin_append());
        assert!(outstanding.take_records().is_some());
        let mut second = push(&mut outstanding, 1);
        assert!(!outstanding.begin_append(), "one append at a time");
        outstanding.appended(offset(1));
        assert!(outstanding.take_records().is_some());
        outstanding.deliver_due(offset(1));
        assert!(is_delivered(&mut first) && !is_delivered(&mut second));
        outstanding.appended(offset(2));
        assert!(outstanding.take_records().is_none());
        outstanding.deliver_due(offset(2));
        assert!(is_delivered(&mut second) && is_empty(&outstanding));
    }

    #[test]
    fn a_failure_reaches_everybody_wherever_they_wait() {
        let mut outstanding = Outstanding::new(offset(0));
        let unflushed = push(&mut outstanding, 1);
        outstanding.begin_append();
        outstanding.take_records();
        outstanding.appended(offset(1));
        let in_flight = push(&mut outstanding, 1);
        outstanding.take_records();
        let unappended = push(&mut outstanding, 1);
        assert_eq!(outstanding.waiting(), 3);
        outstanding.fail(&CoordinatorError::Stopping);
        for mut heard in [unflushed, in_flight, unappended] {
            assert!(matches!(
                heard.try_recv(),
                Ok(Err(CoordinatorError::Stopping))
            ));
        }
    }
}
