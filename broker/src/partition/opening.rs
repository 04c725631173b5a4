//! Opening a data directory's partitions when the broker starts.
//!
//! What the metadata names and the disk has is opened, in parallel, as recovery reads where the last
//! stop was not clean; what the metadata names and the disk never had is created; what the metadata
//! does not name goes to quarantine (quarantine.rs). A partition that cannot be opened, or that is not
//! there although something of it was durable, holds its place as offline, with the reason: never is an
//! empty log served for one that was lost, nor an offset used twice. After a clean stop nothing of a
//! partition is read until its first use.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use millstream_log::{
    ClosedLog, Offline, PartitionLog, StorageError,
    recovery::{RecoveryError, RecoveryReport},
};
use millstream_proto::{Offset, TopicPartition};

use super::{Partitions, Replica, ReplicaConfig, quarantine::quarantine};
use crate::quorum::{MetadataImage, PartitionImage, TopicImage};

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Partitions that serve.
    pub serving: usize,
    /// Partitions that do not.
    pub offline: usize,
    /// Of those that serve, partitions that the last run did not come to create.
    pub created: usize,
    /// Directories that were moved to quarantine.
    pub quarantined: usize,
    /// Bytes of the batches that recovery read whole.
    pub scanned_bytes: u64,
    /// Bytes that recovery cut off.
    pub truncated_bytes: u64,
}

/// One partition to open.
struct Task<'a> {
    topic: &'a TopicImage,
    registration: &'a PartitionImage,
    config: Arc<ReplicaConfig>,
    exists: bool,
}

impl Partitions {
    /// Opens every partition that the image places on this broker. Call it once, before anything is
    /// served. Waits for the disk; uses `threads` of them.
    ///
    /// # Errors
    /// The data directory cannot be listed, or a directory cannot be moved to quarantine.
    pub fn open_all(
        &self,
        image: &MetadataImage,
        threads: usize,
        now_ms: i64,
    ) -> Result<OpenReport, StorageError> {
        let found = self.partition_directories()?;
        let mut report = OpenReport::default();
        let known = self.known_directories(image);
        for name in found.difference(&known) {
            let moved = quarantine(self.directory.io().as_ref(), self.directory.path(), name);
            moved.map_err(|error| self.io_error("quarantine", name, error))?;
            report.quarantined += 1;
        }
        self.take_topic_defaults(image);
        let tasks = Mutex::new(self.tasks(image, &found).into_iter());
        let shared = Mutex::new(report);
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| self.work_off(&tasks, &shared, now_ms));
            }
        });
        Ok(shared.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn work_off<'a>(
        &self,
        tasks: &Mutex<impl Iterator<Item = Task<'a>>>,
        report: &Mutex<OpenReport>,
        now_ms: i64,
    ) {
        let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(task) = next() {
            let mut found = OpenReport::default();
            let replica = self.open_one(&task, now_ms, &mut found);
            if replica.offline_reason().is_some() {
                found.offline += 1;
            } else {
                found.serving += 1;
            }
            self.insert(replica);
            report
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(&found);
        }
    }

    fn open_one(&self, task: &Task<'_>, now_ms: i64, report: &mut OpenReport) -> Arc<Replica> {
        let partition = TopicPartition {
            topic: task.topic.name.clone(),
            partition: task.registration.partition,
        };
        let topic_id = task.topic.topic_id;
        // Whatever is wrong with one partition must not keep the others from serving.
        let open = AssertUnwindSafe(|| self.open_or_create(&partition, task, now_ms, report));
        let opened = catch_unwind(open).unwrap_or_else(|_| {
            Err(Offline {
                reason: "opening it panicked, which the broker's log tells of".into(),
            })
        });
        match opened {
            Ok(log) => Replica::lead(log, topic_id, self.local, task.registration, &task.config),
            Err(reason) => {
                tracing::error!(%partition, reason = %reason.reason, "partition is offline");
                Replica::offline(partition, topic_id, reason)
            }
        }
    }

    fn open_or_create(
        &self,
        partition: &TopicPartition,
        task: &Task<'_>,
        now_ms: i64,
        report: &mut OpenReport,
    ) -> Result<Arc<PartitionLog>, Offline> {
        if task.exists {
            return self.open_log(partition, task, now_ms, report);
        }
        if let Some(loss) = self.loss(partition) {
            return Err(Offline {
                reason: loss.into(),
            });
        }
        tracing::info!(%partition, "partition was not created before the last stop, created now");
        report.created += 1;
        self.create_log(partition, task.topic.topic_id, &task.config)
    }

    /// Where the partition ends, as far as is known apart from its directory and if it has records.
    fn durable_records(&self, partition: &TopicPartition) -> Option<Offset> {
        let end = self.directory.durable_end(partition);
        end.filter(|end| *end > Offset::ZERO)
    }

    /// What is lost with the directory of a partition, and how to go on; `None` where nothing is.
    fn loss(&self, partition: &TopicPartition) -> Option<String> {
        let path = self.directory.partition_path(partition);
        let path = path.display();
        match self.directory.durable_end(partition) {
            Some(Offset::ZERO) => None,
            Some(end) => Some(format!(
                "directory {path} is missing, and all records below offset {end} with it: restore it \
                 from a backup, or create it empty to go on at offset {end} without them"
            )),
            None => Some(format!(
                "directory {path} is missing, and the recovery points that would tell what was in it: \
                 restore both from a backup, or create it empty to begin at offset 0"
            )),
        }
    }

    fn open_log(
        &self,
        partition: &TopicPartition,
        task: &Task<'_>,
        now_ms: i64,
        report: &mut OpenReport,
    ) -> Result<Arc<PartitionLog>, Offline> {
        let opened = PartitionLog::open(
            &self.directory,
            partition.clone(),
            task.topic.topic_id,
            Arc::clone(&task.config.log),
            now_ms,
        );
        match opened {
            Ok((log, recovery)) => {
                log_recovery(partition, &recovery);
                report.scanned_bytes += recovery.scanned_bytes;
                report.truncated_bytes += recovery.truncated_bytes;
                Ok(log)
            }
            Err(error @ RecoveryError::TopicId { .. }) => {
                if let Some(end) = self.durable_records(partition) {
                    return Err(Offline {
                        reason: other_topic(&error, end).into(),
                    });
                }
                // An earlier life of the name, whose end was forgotten when it was deleted, or somebody
                // else's data: kept, but not served.
                report.quarantined += 1;
                report.created += 1;
                self.create_log(partition, task.topic.topic_id, &task.config)
            }
            Err(error) => Err(Offline {
                reason: error.to_string().into(),
            }),
        }
    }

    fn tasks<'a>(&self, image: &'a MetadataImage, found: &BTreeSet<PathBuf>) -> Vec<Task<'a>> {
        let mut tasks = Vec::new();
        for topic in image.topics() {
            let config = Arc::new(ReplicaConfig::new(&self.topic_config(topic)));
            for registration in self.held(topic) {
                tasks.push(Task {
                    topic,
                    registration,
                    config: Arc::clone(&config),
                    exists: found.contains(&directory_name(topic, registration)),
                });
            }
        }
        tasks
    }

    fn held<'a>(&self, topic: &'a TopicImage) -> impl Iterator<Item = &'a PartitionImage> {
        let local = self.local;
        let partitions = topic.partitions.iter();
        partitions.filter(move |registration| registration.replicas.contains(&local))
    }

    fn known_directories(&self, image: &MetadataImage) -> BTreeSet<PathBuf> {
        let of_topic = |topic| {
            self.held(topic)
                .map(|registration| directory_name(topic, registration))
                .collect::<Vec<_>>()
        };
        image.topics().flat_map(|topic| of_topic(topic)).collect()
    }

    /// Names of the directories that are partitions by their name.
    fn partition_directories(&self) -> Result<BTreeSet<PathBuf>, StorageError> {
        let path = self.directory.path();
        let entries = self.directory.io().list_dir(path);
        let entries = entries.map_err(|error| self.io_error("list", Path::new(""), error))?;
        let partitions = entries
            .into_iter()
            .filter(|entry| entry.is_dir && is_partition_name(&entry.name));
        Ok(partitions.map(|entry| entry.name).collect())
    }

    fn io_error(
        &self,
        operation: &'static str,
        name: &Path,
        error: std::io::Error,
    ) -> StorageError {
        StorageError::Io {
            operation,
            path: self.directory.path().join(name),
            source: Arc::new(error),
        }
    }

    /// Closes every partition for a clean stop and returns what the clean-shutdown marker says of
    /// each. What cannot be closed is left out, so that it is recovered at
    /// the next start. Waits for the disk; uses `threads` of them, and counts in `done` as it gets on.
    #[must_use]
    pub fn close_all(
        &self,
        threads: usize,
        done: &AtomicUsize,
    ) -> Vec<(TopicPartition, ClosedLog)> {
        let replicas = Mutex::new(self.all().into_iter());
        let closed = Mutex::new(Vec::new());
        let work_off = || {
            let next = || {
                let mut replicas = replicas.lock().unwrap_or_else(PoisonError::into_inner);
                replicas.next()
            };
            while let Some(replica) = next() {
                let partition = replica.partition();
                match replica.close() {
                    Ok(log) => {
                        let mut closed = closed.lock().unwrap_or_else(PoisonError::into_inner);
                        closed.push((partition.clone(), log));
                    }
                    Err(error) => {
                        tracing::warn!(%partition, %error, "partition was not closed cleanly");
                    }
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(work_off);
            }
        });
        closed.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenReport {
    fn add(&mut self, other: &Self) {
        self.serving += other.serving;
        self.offline += other.offline;
        self.created += other.created;
        self.quarantined += other.quarantined;
        self.scanned_bytes += other.scanned_bytes;
        self.truncated_bytes += other.truncated_bytes;
    }
}

fn directory_name(topic: &TopicImage, registration: &PartitionImage) -> PathBuf {
    PathBuf::from(format!("{}-{}", topic.name, registration.partition))
}

fn is_partition_name(name: &Path) -> bool {
    name.to_str()
        .and_then(TopicPartition::from_directory_name)
        .is_some()
}

/// Says that a directory of the partition's name is another topic's, though the partition has records.
fn other_topic(error: &RecoveryError, end: Offset) -> String {
    format!(
        "{error}, and its records below offset {end} are there or nowhere: restore partition.metadata from a \
         backup, or move the directory away and create it empty to go on at offset {end} without them"
    )
}

fn log_recovery(partition: &TopicPartition, report: &RecoveryReport) {
    for damage in &report.damaged_files {
        tracing::warn!(%partition, damage, "damaged file was rebuilt");
    }
    if report.truncated_bytes > 0 {
        tracing::warn!(
            %partition,
            bytes = report.truncated_bytes,
            valid_batches = report.truncated_batches,
            reason = report.truncation_reason.as_deref().unwrap_or("unknown"),
            "end of the log was cut off"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_topic_name_and_an_index_make_a_partition_directory() {
        for name in ["a-0", "a-b-12", "__consumer_offsets-49", "a.b_c-0"] {
            assert!(is_partition_name(Path::new(name)), "{name}");
        }
        for name in [
            "metadata",
            "quarantine",
            "a-",
            "-0",
            "a-01",
            "a--1x",
            "a-0.x-delete",
            "..-0",
            "a-+1",
        ] {
            assert!(!is_partition_name(Path::new(name)), "{name}");
        }
    }
}
