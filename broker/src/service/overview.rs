//! The broker at a glance: disk, traffic, topics, groups, what is offline. For the first page.
//!
//! Nothing is kept for it beyond [`super::throughput`]; each look reads what the partitions say now.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use millstream_proto::{BrokerId, TopicId, TopicName, TopicPartition};

use super::{ServiceError, Services, groups::overview::GroupOverview};
use crate::{
    partition::{Replica, TrafficCounts, traffic::span},
    quorum::TopicImage,
    version,
};

/// Topics, groups and offline partitions that one look shows at most.
pub const ROWS_MAX: usize = 200;

/// Partitions without use since the start that one look opens at most to learn their size, so that it
/// takes a fraction of a second however many there are. Further looks open the others.
const OPENED_MAX: usize = 500;

/// The broker at one moment.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The broker's clock, ms since 1970.
    pub now_ms: i64,
    /// Who answers.
    pub broker: BrokerOverview,
    /// Its data directory.
    pub disk: DiskOverview,
    /// Partitions of this broker.
    pub partitions: usize,
    /// Those of them that serve nothing.
    pub offline: Listing<OfflinePartition>,
    /// Traffic per second, the newest sample last.
    pub throughput: Vec<TrafficCounts>,
    /// Topics in order of name, the broker's own last.
    pub topics: Listing<TopicOverview>,
    /// Groups in order of id.
    pub groups: Listing<GroupOverview>,
    /// Coordinators whose groups are missing, as they are being loaded.
    pub coordinators_loading: usize,
}

/// The first rows of something, and how many there are.
#[derive(Debug, Clone)]
pub struct Listing<T> {
    /// At most [`ROWS_MAX`].
    pub rows: Vec<T>,
    /// Rows that answer the question, shown or not.
    pub found: usize,
    /// All there are.
    pub total: usize,
}

/// Who answers.
#[derive(Debug, Clone)]
pub struct BrokerOverview {
    /// Its id.
    pub broker_id: BrokerId,
    /// Where clients reach its native API.
    pub address: Option<(String, u16)>,
    /// Its cluster.
    pub cluster_id: String,
    /// Version and commit.
    pub version: &'static str,
    /// How long it has been up.
    pub uptime_ms: u64,
}

/// The file system of the data directory.
#[derive(Debug, Clone)]
pub struct DiskOverview {
    /// The data directory.
    pub path: PathBuf,
    /// Size of its file system.
    pub total_bytes: u64,
    /// Bytes that may still be written.
    pub available_bytes: u64,
    /// Bytes of all segments, as far as partitions are open.
    pub log_bytes: u64,
    /// Produce is refused for want of room.
    pub is_full: bool,
}

/// A partition that serves nothing.
#[derive(Debug, Clone)]
pub struct OfflinePartition {
    /// Which.
    pub partition: TopicPartition,
    /// Why.
    pub reason: Arc<str>,
}

/// A topic at a glance: sums over its partitions.
#[derive(Debug, Clone)]
pub struct TopicOverview {
    /// Its name.
    pub name: TopicName,
    /// Partitions.
    pub partitions: usize,
    /// Of these, those that serve nothing here.
    pub offline_partitions: usize,
    /// Offsets from the log starts to the high watermarks.
    pub records: u64,
    /// Log end offsets.
    pub log_end: u64,
    /// Bytes of the segments; `None` until all of its partitions are open.
    pub size_bytes: Option<u64>,
    /// `millstream.durability`.
    pub durability: String,
    /// Whether it is the broker's own.
    pub is_internal: bool,
    /// `cleanup.policy`.
    pub cleanup_policy: String,
    /// What clients produced and fetched.
    pub traffic: TrafficCounts,
}

/// Sums over the partitions of a topic.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    offline_partitions: usize,
    records: u64,
    log_end: u64,
    size_bytes: u64,
    unopened_partitions: usize,
    traffic: TrafficCounts,
}

impl Services {
    /// The broker at a glance, with the topics and groups whose name contains `find`, in whatever
    /// case. Waits for the disk.
    ///
    /// # Errors
    /// The broker failed while it looked.
    ///
    /// # Cancel safety
    /// Safe: nothing changes.
    pub async fn overview(self: &Arc<Self>, find: &str) -> Result<Overview, ServiceError> {
        let find = find.to_lowercase();
        let services = Arc::clone(self);
        let turn = Arc::clone(&self.looking).lock_owned().await;
        let look = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            services.look(&find)
        });
        look.await.map_err(|_| ServiceError::panicked())
    }

    fn look(&self, find: &str) -> Overview {
        let mut offline = Vec::new();
        let mut sums: HashMap<TopicId, Sums> = HashMap::new();
        let replicas = self.partitions.all();
        let mut opened_max = OPENED_MAX;
        for replica in &replicas {
            let sums = sums.entry(replica.topic_id()).or_default();
            sums.add(replica, &mut opened_max);
            offline.extend(offline_partition(replica));
        }
        offline.sort_by(|a, b| a.partition.cmp(&b.partition));
        let log_bytes = sums.values().map(|sums| sums.size_bytes).sum();
        Overview {
            now_ms: self.clock.wall_ms(),
            broker: self.broker_overview(),
            disk: self.disk_overview(log_bytes),
            partitions: replicas.len(),
            offline: Listing::of_all(offline),
            throughput: self.throughput.samples(),
            topics: self.topics_overview(find, &sums),
            groups: self.groups_overview(find),
            coordinators_loading: self.coordinators_loading(),
        }
    }

    fn broker_overview(&self) -> BrokerOverview {
        let broker_id = self.partitions.local();
        BrokerOverview {
            broker_id,
            address: self.broker_address(broker_id),
            cluster_id: self.identity.cluster_id.clone(),
            version: version::LONG,
            uptime_ms: u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn disk_overview(&self, log_bytes: u64) -> DiskOverview {
        let directory = self.partitions.directory();
        let space = directory.io().space(directory.path()).ok();
        DiskOverview {
            path: directory.path().to_owned(),
            total_bytes: space.map_or(0, |space| space.total),
            available_bytes: space.map_or(0, |space| space.available),
            log_bytes,
            is_full: directory.is_full(),
        }
    }

    fn topics_overview(&self, find: &str, sums: &HashMap<TopicId, Sums>) -> Listing<TopicOverview> {
        let image = self.quorum.image();
        let found = |topic: &&Arc<TopicImage>| topic.name.as_str().to_lowercase().contains(find);
        let mut topics: Vec<_> = image.topics().filter(found).collect();
        topics.sort_by_key(|topic| topic.name.is_internal());
        let rows = topics.iter().take(ROWS_MAX);
        Listing {
            rows: rows.map(|topic| self.topic_overview(topic, sums)).collect(),
            found: topics.len(),
            total: image.topic_count(),
        }
    }

    fn groups_overview(&self, find: &str) -> Listing<GroupOverview> {
        let mut groups = self.groups_in_short();
        let total = groups.len();
        groups.retain(|group| group.group_id.to_lowercase().contains(find));
        let rows = groups.iter().take(ROWS_MAX);
        Listing {
            rows: rows
                .filter_map(|group| self.group_overview(group))
                .collect(),
            found: groups.len(),
            total,
        }
    }

    fn topic_overview(&self, topic: &TopicImage, sums: &HashMap<TopicId, Sums>) -> TopicOverview {
        let sums = sums.get(&topic.topic_id).copied().unwrap_or_default();
        let config = self.partitions.topic_config(topic);
        let configured = |key| config.value(key).unwrap_or_default().to_owned();
        TopicOverview {
            name: topic.name.clone(),
            is_internal: topic.name.is_internal(),
            partitions: topic.partitions.len(),
            offline_partitions: sums.offline_partitions,
            records: sums.records,
            log_end: sums.log_end,
            size_bytes: (sums.unopened_partitions == 0).then_some(sums.size_bytes),
            durability: configured("millstream.durability"),
            cleanup_policy: configured("cleanup.policy"),
            traffic: sums.traffic,
        }
    }
}

impl<T> Listing<T> {
    /// All rows but those beyond [`ROWS_MAX`].
    fn of_all(mut rows: Vec<T>) -> Self {
        let total = rows.len();
        rows.truncate(ROWS_MAX);
        Self {
            rows,
            found: total,
            total,
        }
    }
}

impl Sums {
    /// Adds a partition; opens it for its size if it must and `opened_max` lets it.
    fn add(&mut self, replica: &Replica, opened_max: &mut usize) {
        self.traffic = self.traffic + replica.traffic().counts();
        let Ok(log) = replica.log() else {
            self.offline_partitions += usize::from(replica.offline_reason().is_some());
            return;
        };
        let positions = log.positions();
        let offsets = replica.offsets_at(&positions);
        self.records += span(offsets.log_start, offsets.high_watermark);
        self.log_end += span(millstream_proto::Offset::ZERO, positions.log_end);
        if !log.is_opened() {
            let Some(left) = opened_max.checked_sub(1) else {
                self.unopened_partitions += 1;
                return;
            };
            *opened_max = left;
        }
        self.size_bytes += log.size_bytes();
    }
}

fn offline_partition(replica: &Arc<Replica>) -> Option<OfflinePartition> {
    Some(OfflinePartition {
        partition: replica.partition().clone(),
        reason: replica.offline_reason()?.reason,
    })
}
