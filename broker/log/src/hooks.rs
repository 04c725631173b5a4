//! Kill points: a test can have the process die at a named phase.
//!
//! With the feature `test-hooks` and `MILLSTREAM_KILL_AT=phase[:nth]` in the environment the
//! process sends itself SIGKILL the nth time (from 1, the default) it reaches that phase. Without
//! the feature [`reached`] is empty and the variable means nothing.

use std::{fmt, str::FromStr};

/// The places where a process may be made to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// An append wrote some or all of its bytes and has not published them.
    Append,
    /// A roll created the next segment's files and has not switched to them.
    Roll,
    /// A flush reached the disk and has not moved `flushed_offset`.
    Flush,
    /// A recovery point was written beside the old one and not renamed over it.
    RecoveryPoint,
    /// Retention persisted the new `log_start` and removed some of its segments.
    Retention,
    /// A topic's creation is recorded and its directories are not all there.
    TopicCreation,
    /// Compaction wrote a segment beside those that it replaces, and has them half replaced or not at
    /// all: reached several times for each.
    Compaction,
}

impl Phase {
    /// Every phase, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Append,
        Self::Roll,
        Self::Flush,
        Self::RecoveryPoint,
        Self::Retention,
        Self::TopicCreation,
        Self::Compaction,
    ];

    /// The name in `MILLSTREAM_KILL_AT`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Roll => "roll",
            Self::Flush => "flush",
            Self::RecoveryPoint => "recovery-point",
            Self::Retention => "retention",
            Self::TopicCreation => "topic-creation",
            Self::Compaction => "compaction",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|phase| phase.name() == text);
        found.ok_or_else(|| UnknownPhase(text.to_owned()))
    }
}

/// No phase has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no phase; append, roll, flush, recovery-point, retention, topic-creation, compaction are"
)]
pub struct UnknownPhase(String);

/// Dies here when armed for this phase; nothing without the feature `test-hooks`.
#[cfg(not(feature = "test-hooks"))]
#[inline(always)]
pub const fn reached(_phase: Phase) {}

#[cfg(feature = "test-hooks")]
pub use armed::reached;

#[cfg(feature = "test-hooks")]
mod armed {
    //! What the feature adds.

    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    use super::Phase;

    /// Environment variable that arms a kill point.
    const KILL_AT: &str = "MILLSTREAM_KILL_AT";

    struct Armed {
        phase: Phase,
        nth: u64,
        seen: AtomicU64,
    }

    /// Dies here when armed for this phase.
    ///
    /// # Panics
    /// When the variable is set and cannot be understood: a test that arms nothing proves nothing.
    pub fn reached(phase: Phase) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let armed = ARMED.get_or_init(|| {
            let text = std::env::var(KILL_AT).ok()?;
            Some(parse(&text).expect("MILLSTREAM_KILL_AT is phase[:nth] with nth from 1"))
        });
        let Some(armed) = armed else { return };
        if armed.phase == phase && armed.seen.fetch_add(1, Ordering::Relaxed) + 1 == armed.nth {
            die();
        }
    }

    fn parse(text: &str) -> Option<Armed> {
        let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
        let nth = nth.parse().ok().filter(|nth| *nth >= 1)?;
        Some(Armed {
            phase: name.parse().ok()?,
            nth,
            seen: AtomicU64::new(0),
        })
    }

    fn die() -> ! {
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::KILL)
            .expect("a process may kill itself");
        loop {
            std::thread::park();
        }
    }

    #[cfg(test)]
    mod tests {
        //! The child of the test below is this test binary itself.

        use super::*;
        use std::{os::unix::process::ExitStatusExt, process::Command};

        #[test]
        fn phases_parse_with_and_without_count() {
            assert_eq!(parse("append").map(|armed| armed.nth), Some(1));
            let armed = parse("recovery-point:7").unwrap();
            assert_eq!((armed.phase, armed.nth), (Phase::RecoveryPoint, 7));
            for wrong in ["", "append:0", "append:x", "apend", "append:1:1"] {
                assert!(parse(wrong).is_none(), "{wrong}");
            }
        }

        /// Reaches two phases three times; alive unless armed.
        #[test]
        fn child_that_reaches_phases() {
            for _ in 0..3 {
                reached(Phase::Roll);
                reached(Phase::Flush);
            }
        }

        #[test]
        fn process_dies_at_the_nth_time_and_not_before() {
            for (armed, dies) in [("flush:3", true), ("flush:4", false), ("append", false)] {
                let status = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "hooks::armed::tests::child_that_reaches_phases"])
                    .env(KILL_AT, armed)
                    .output()
                    .unwrap()
                    .status;
                assert_eq!(status.signal(), dies.then_some(9), "{armed}: {status}");
            }
        }
    }
}
