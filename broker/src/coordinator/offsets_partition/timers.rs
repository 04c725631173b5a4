//! [`Timers`]: what a coordinator wants to be told of when, on the monotonic clock.

use std::collections::{BTreeSet, HashMap};

use millstream_engine::group::Timer;

/// Timers by their time. Setting one again replaces it.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(u64, Timer)>,
    at_ms: HashMap<Timer, u64>,
}

impl Timers {
    /// Sets a timer.
    pub(super) fn schedule(&mut self, timer: Timer, at_ms: u64) {
        if let Some(before_ms) = self.at_ms.insert(timer.clone(), at_ms) {
            let entry = (before_ms, timer);
            self.due.remove(&entry);
            self.due.insert((at_ms, entry.1));
        } else {
            self.due.insert((at_ms, timer));
        }
    }

    /// Forgets a timer.
    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at_ms) = self.at_ms.remove(&timer) {
            self.due.remove(&(at_ms, timer));
        }
    }

    /// When the next one is due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes out the earliest one that is due.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Option<Timer> {
        if self.next_ms()? > now_ms {
            return None;
        }
        let (_, timer) = self.due.pop_first()?;
        self.at_ms.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millstream_engine::group::MemberRef;

    use super::*;

    fn session(member: &str) -> Timer {
        Timer::Session(MemberRef {
            group_id: Arc::from("g"),
            member_id: Arc::from(member),
        })
    }

    #[test]
    fn timers_come_in_the_order_of_their_time_and_once() {
        let mut timers = Timers::default();
        timers.schedule(session("b"), 20);
        timers.schedule(session("a"), 10);
        timers.schedule(session("c"), 10);
        assert_eq!(timers.next_ms(), Some(10));
        assert_eq!(timers.take_due(9), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.take_due(20)).collect();
        assert_eq!(due, [session("a"), session("c"), session("b")]);
        assert_eq!(timers.next_ms(), None);
    }

    #[test]
    fn a_timer_set_again_or_cancelled_is_not_due_at_its_old_time() {
        let mut timers = Timers::default();
        timers.schedule(session("a"), 10);
        timers.schedule(session("a"), 30);
        timers.schedule(session("b"), 10);
        timers.cancel(session("b"));
        timers.cancel(session("unknown"));
        assert_eq!(timers.take_due(29), None);
        assert_eq!(timers.take_due(30), Some(session("a")));
    }
}
