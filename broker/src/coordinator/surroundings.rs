//! [`Surroundings`]: what the coordinators of a broker share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use millstream_engine::group::{self, Now, StreamId, Topics};
use tokio::{runtime, sync::Semaphore};

use super::{counts::Counts, lag::LagRings, timekeeper::Alarm, topics::TopicsView};
use crate::{clock::Clock, config::Groups, partition::Partitions, quorum::MetadataQuorum};

/// What the coordinators of a broker share.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) config: Groups,
    pub(super) engine_config: group::Config,
    pub(super) clock: Clock,
    pub(super) quorum: Arc<dyn MetadataQuorum>,
    pub(super) partitions: Arc<Partitions>,
    /// Where timers, loads, and appends that must not block their caller run.
    pub(super) control: runtime::Handle,
    pub(super) topics: TopicsView,
    pub(super) lag: LagRings,
    pub(super) counts: Counts,
    pub(super) alarm: Alarm,
    /// Loads that may run at once.
    pub(super) loads: Arc<Semaphore>,
    pub(super) next_stream: AtomicU64,
}

impl Surroundings {
    /// Both clocks.
    pub(super) fn now(&self) -> Now {
        Now {
            monotonic_ms: self.monotonic_ms(),
            timestamp_ms: self.clock.wall_ms(),
        }
    }

    /// Milliseconds of the monotonic clock.
    pub(super) fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// All topics as of now.
    pub(super) fn topics_now(&self) -> Arc<Topics> {
        self.topics.take(&self.quorum.image())
    }

    /// A name for a member's stream that no other has.
    pub(super) fn next_stream(&self) -> StreamId {
        StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed))
    }

    /// Bytes of a compiled regular expression at most.
    pub(super) fn regex_program_bytes_max(&self) -> usize {
        self.config.regex_program_bytes_max.as_usize()
    }
}
