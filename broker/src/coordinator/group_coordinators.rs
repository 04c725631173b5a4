//! [`GroupCoordinators`]: the partitions of the offsets topic on this broker, and the tasks that tell
//! them of time and topics.

use std::sync::{Arc, OnceLock, atomic::AtomicU64};

use millstream_engine::group::Event;
use millstream_proto::{Offset, PartitionIndex, TopicId, group_record::partition_of};
use tokio::{
    runtime,
    sync::{Mutex, Semaphore},
    time::{MissedTickBehavior, interval},
};

use super::{
    CoordinatorError, CountsNow, OffsetsPartition,
    counts::Counts,
    engine_config::engine_config,
    lag::{Behind, LagRings},
    offsets_topic::{self, partition_count},
    surroundings::Surroundings,
    timekeeper::Alarm,
    topics::{self, TopicsView},
};
use crate::{
    clock::Clock,
    config::Config,
    partition::{Partitions, Replica},
    quorum::{MetadataChange, MetadataQuorum, PartitionImage},
    shutdown::Shutdown,
};

/// What coordinators stand on.
#[derive(Debug)]
pub struct Dependencies {
    /// The daemon's time.
    pub clock: Clock,
    /// The authority on topics.
    pub quorum: Arc<dyn MetadataQuorum>,
    /// The replicas of this broker.
    pub partitions: Arc<Partitions>,
    /// Where timers and loads run.
    pub control: runtime::Handle,
}

/// The coordinators of this broker.
#[derive(Debug)]
pub struct GroupCoordinators {
    surroundings: Arc<Surroundings>,
    /// Set once the offsets topic is there, which is never deleted and never grows.
    partitions: OnceLock<Vec<Arc<OffsetsPartition>>>,
    /// Held while the topic is created.
    creating: Mutex<()>,
}

impl GroupCoordinators {
    /// No coordinator yet; nothing is read or created before somebody asks, or
    /// [`GroupCoordinators::run`] does.
    #[must_use]
    pub fn new(config: &Config, dependencies: Dependencies) -> Arc<Self> {
        let Dependencies {
            clock,
            quorum,
            partitions,
            control,
        } = dependencies;
        let groups = config.groups.clone();
        let surroundings = Surroundings {
            engine_config: engine_config(&groups),
            clock,
            quorum,
            partitions,
            control,
            topics: TopicsView::default(),
            lag: LagRings::new(groups.lag_samples_max),
            counts: Counts::default(),
            alarm: Alarm::default(),
            loads: Arc::new(Semaphore::new(usize::from(groups.load_threads).max(1))),
            next_stream: AtomicU64::new(0),
            config: groups,
        };
        Arc::new(Self {
            surroundings: Arc::new(surroundings),
            partitions: OnceLock::new(),
            creating: Mutex::new(()),
        })
    }

    /// Loads what there is, then tells coordinators of time and topics until the shutdown begins; from
    /// then on they do nothing new.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        if self.find_partitions().is_some() {
            for partition in self.partitions() {
                partition.load_if_needed();
            }
        }
        tokio::select! {
            () = shutdown.begun() => {}
            () = self.keep_time() => {}
            () = self.follow_topics() => {}
            () = self.expire_offsets() => {}
            () = self.sample_lag() => {}
        }
        for partition in self.partitions() {
            partition.stop();
        }
    }

    /// The coordinator of a group; creates the offsets topic if there is none.
    ///
    /// # Errors
    /// The topic cannot be created.
    ///
    /// # Cancel safety
    /// When it is dropped the topic may or may not be created.
    pub async fn coordinator(
        &self,
        group_id: &str,
    ) -> Result<&Arc<OffsetsPartition>, CoordinatorError> {
        if self.find_partitions().is_none() {
            self.create_topic().await?;
        }
        self.find_coordinator(group_id)
            .ok_or(CoordinatorError::Elsewhere)
    }

    /// The coordinator of a group; `None` while there is no offsets topic, and so no group.
    #[must_use]
    pub fn find_coordinator(&self, group_id: &str) -> Option<&Arc<OffsetsPartition>> {
        let partitions = self.find_partitions()?;
        let index = partition_of(group_id, partition_count(partitions.len()));
        let index = usize::try_from(index.0).ok()?;
        partitions.get(index)
    }

    /// All partitions of the offsets topic; none while there is no topic.
    #[must_use]
    pub fn partitions(&self) -> &[Arc<OffsetsPartition>] {
        self.find_partitions().unwrap_or_default()
    }

    /// What coordinators have done so far.
    #[must_use]
    pub fn counts(&self) -> CountsNow {
        self.surroundings.counts.now()
    }

    /// Takes note that commits of so many offsets were refused, or failed.
    pub fn note_refused_commits(&self, offsets: usize) {
        self.surroundings.counts.refused(offsets);
    }

    /// Takes note that somebody commits offsets of a partition, so that its lag is measured.
    pub fn note_commit(&self, topic_id: TopicId, partition: PartitionIndex) {
        self.surroundings.lag.note(topic_id, partition);
    }

    /// For how long the log has been longer than `committed`; `None` before the first look at it.
    #[must_use]
    pub fn behind(
        &self,
        topic_id: TopicId,
        partition: PartitionIndex,
        committed: i64,
        high_watermark: Offset,
    ) -> Option<Behind> {
        let now_ms = self.surroundings.monotonic_ms();
        let lag = &self.surroundings.lag;
        lag.behind(topic_id, partition, committed, high_watermark, now_ms)
    }

    pub(super) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// `None` also while the replicas of a new topic are not there yet.
    fn find_partitions(&self) -> Option<&[Arc<OffsetsPartition>]> {
        if let Some(partitions) = self.partitions.get() {
            return Some(partitions);
        }
        let surroundings = &self.surroundings;
        let topic = offsets_topic::find(&*surroundings.quorum)?;
        let replica = |registration: &PartitionImage| {
            let replicas = &surroundings.partitions;
            replicas.get(topic.topic_id, registration.partition)
        };
        let replicas: Option<Vec<_>> = topic.partitions.iter().map(replica).collect();
        // Made once, as only the first who watches a replica hears of it.
        let on_replicas = |replicas: Vec<Arc<Replica>>| {
            let replicas = replicas.into_iter();
            replicas
                .map(|replica| OffsetsPartition::new(replica, Arc::clone(surroundings)))
                .collect()
        };
        replicas.map(|replicas| &**self.partitions.get_or_init(|| on_replicas(replicas)))
    }

    async fn create_topic(&self) -> Result<(), CoordinatorError> {
        let _creating = self.creating.lock().await;
        if self.find_partitions().is_some() {
            return Ok(());
        }
        let Surroundings {
            config,
            quorum,
            partitions,
            ..
        } = &*self.surroundings;
        let count = config.offsets_topic_partitions;
        let created = offsets_topic::create(&**quorum, partitions.local(), count).await?;
        let index = created.map_or_else(|| quorum.image().index(), |committed| committed.index);
        partitions.applied(index).await;
        tracing::info!(
            topic = offsets_topic::OFFSETS_TOPIC,
            partitions = count,
            "created the topic of groups and their offsets"
        );
        Ok(())
    }

    /// Tells loaded coordinators of topics that come, grow or go.
    async fn follow_topics(&self) {
        let mut changes = self.surroundings.quorum.subscribe();
        while let Some(change) = changes.next().await {
            let is_relevant = match change {
                MetadataChange::Delta(delta) => topics::is_relevant(&delta),
                MetadataChange::Image(_) => true,
            };
            if is_relevant && !self.partitions().is_empty() {
                let topics = self.surroundings.topics_now();
                for partition in self.partitions() {
                    partition.take_topics(&topics);
                }
            }
        }
        // The quorum is closed: the broker shuts down.
        std::future::pending().await
    }

    async fn expire_offsets(&self) {
        let period = self.surroundings.config.offsets_expiry_check_interval;
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, when nothing is loaded yet.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            for partition in self.partitions() {
                partition.tell(Event::ExpireOffsets);
            }
        }
    }

    async fn sample_lag(&self) {
        let surroundings = &self.surroundings;
        let mut ticks = interval(surroundings.config.lag_sample_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            surroundings.lag.begun().await;
            ticks.tick().await;
            let now_ms = surroundings.monotonic_ms();
            surroundings.lag.sample(&surroundings.partitions, now_ms);
        }
    }
}
