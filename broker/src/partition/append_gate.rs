//! [`AppendGate`]: decides whether appends to a data directory may run on the async workers.
//!
//! An append is a `pwritev` into the page cache, microseconds as long as the disk keeps up. When the
//! kernel makes writers wait, one append may take a worker of the runtime with it; from then on the
//! directory's appends go to the blocking pool, until a run of them was quick again.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Quick appends in a row after which appends run on the async workers again.
const QUICK_APPENDS_TO_RECOVER: u32 = 64;

/// Watches the append latency of one data directory.
#[derive(Debug)]
pub struct AppendGate {
    stall: Duration,
    /// Quick appends still needed until the gate opens; 0 while it is open.
    quick_needed: AtomicU32,
}

impl AppendGate {
    /// An open gate; an append longer than `stall` (`log.append_stall`) closes it.
    #[must_use]
    pub fn new(stall: Duration) -> Self {
        Self {
            stall,
            quick_needed: AtomicU32::new(0),
        }
    }

    /// Whether appends belong on the blocking pool.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.quick_needed.load(Ordering::Relaxed) > 0
    }

    /// Takes note of an append that had records to decode: a quick one counts, a slow one says nothing of
    /// the disk.
    pub fn record_decoding(&self, took: Duration) {
        if took <= self.stall {
            self.record(took);
        }
    }

    /// Takes note of an append; returns whether it was the one that closed the gate.
    pub fn record(&self, took: Duration) -> bool {
        if took > self.stall {
            let before = self
                .quick_needed
                .swap(QUICK_APPENDS_TO_RECOVER, Ordering::Relaxed);
            return before == 0;
        }
        if self.is_stalled() {
            // Racing appends may each count; being off by a few does not matter.
            let _ =
                self.quick_needed
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |needed| {
                        needed.checked_sub(1)
                    });
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(10);
    const STALL: Duration = Duration::from_millis(50);

    #[test]
    fn one_slow_append_closes_it_and_a_run_of_quick_ones_opens_it() {
        let gate = AppendGate::new(STALL);
        assert!(!gate.record(QUICK) && !gate.is_stalled());
        assert!(gate.record(STALL * 2), "the first slow one is told");
        assert!(!gate.record(STALL * 2), "the second is no news");
        for _ in 1..QUICK_APPENDS_TO_RECOVER {
            gate.record(QUICK);
            assert!(gate.is_stalled());
        }
        gate.record(QUICK);
        assert!(!gate.is_stalled());
    }

    #[test]
    fn decoding_opens_it_and_never_closes_it() {
        let gate = AppendGate::new(STALL);
        gate.record_decoding(STALL * 2);
        assert!(!gate.is_stalled());
        gate.record(STALL * 2);
        for _ in 0..QUICK_APPENDS_TO_RECOVER {
            gate.record_decoding(STALL * 2);
            assert!(gate.is_stalled());
            gate.record_decoding(QUICK);
        }
        assert!(!gate.is_stalled());
    }

    #[test]
    fn a_slow_append_starts_the_run_anew() {
        let gate = AppendGate::new(STALL);
        gate.record(STALL * 2);
        for _ in 1..QUICK_APPENDS_TO_RECOVER {
            gate.record(QUICK);
        }
        gate.record(STALL * 2);
        gate.record(QUICK);
        assert!(gate.is_stalled());
    }
}
