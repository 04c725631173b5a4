//! Who held which partition of a group, by the coordinator's own records in `__consumer_offsets`.
//!
//! A record batch is one decision. After each of them no partition may be with two members, those
//! counted in that have yet to give it up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use millstream_log::{inspect::LogScan, io::DiskIo};
use millstream_proto::{
    TopicId,
    group_record::{Decoded, GroupRecord},
};

/// Directories of the offsets topic begin with this.
const OFFSETS_TOPIC: &str = "__consumer_offsets-";
/// Bytes that one batch may decompress to.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// A partition by the id of its topic.
type PartitionId = (TopicId, i32);

/// What the records say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Decisions about members of the group.
    pub decisions: usize,
    /// How often a partition went from one member to another.
    pub moves: usize,
    holdings: BTreeMap<String, BTreeSet<PartitionId>>,
    last_holder: BTreeMap<PartitionId, String>,
}

/// Reads the log files of the offsets topic in a data directory whose daemon is stopped.
///
/// # Errors
/// When a partition of the group was with two members at once, with where the log says so.
pub fn read(data_dir: &Path, group: &str) -> Result<Ownership> {
    let mut ownership = Ownership::default();
    for path in log_files(data_dir)? {
        for batch in LogScan::open(&DiskIo, &path)? {
            let batch = batch?;
            let mut records = Vec::new();
            for record in batch.records(BATCH_BYTES_MAX)? {
                let record = record?;
                match GroupRecord::decode(record.key.as_deref(), record.value.as_deref())? {
                    Decoded::Known(known) => records.push(known),
                    Decoded::Skipped { .. } => {}
                }
            }
            ownership
                .take(&records, group)
                .with_context(|| format!("{} at offset {}", path.display(), batch.base_offset()))?;
        }
    }
    Ok(ownership)
}

/// The log files of all partitions of the offsets topic; those of one partition in order.
///
/// # Errors
/// When a directory cannot be read.
pub fn log_files(data_dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(data_dir)? {
        let entry = entry?;
        if !entry
            .file_name()
            .to_string_lossy()
            .starts_with(OFFSETS_TOPIC)
        {
            continue;
        }
        for file in fs::read_dir(entry.path())? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

impl Ownership {
    fn take(&mut self, records: &[GroupRecord], group: &str) -> Result<()> {
        let mut is_about_members = false;
        for record in records {
            let GroupRecord::CurrentMember(key, value) = record else {
                continue;
            };
            if key.group_id != group {
                continue;
            }
            is_about_members = true;
            match value {
                None => drop(self.holdings.remove(&key.member_id)),
                Some(value) => {
                    let topics = value.assigned.iter().chain(&value.pending_revocation);
                    let partitions = topics.flat_map(|topic| {
                        let id = topic.topic_id;
                        topic
                            .partitions
                            .iter()
                            .map(move |partition| (id, *partition))
                    });
                    self.holdings
                        .insert(key.member_id.clone(), partitions.collect());
                }
            }
        }
        if is_about_members {
            self.decisions += 1;
            self.check()?;
        }
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        let mut holders: BTreeMap<PartitionId, &str> = BTreeMap::new();
        for (member, partitions) in &self.holdings {
            for partition in partitions {
                let other = holders.insert(*partition, member);
                ensure!(
                    other.is_none(),
                    "{partition:?} is with {member} and {other:?}"
                );
            }
        }
        for (partition, holder) in holders {
            let before = self.last_holder.insert(partition, holder.to_owned());
            self.moves += usize::from(before.is_some_and(|before| before != holder));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millstream_proto::group_record::{
        AssignedTopic, CurrentMemberValue, MemberKey, MemberState,
    };

    use super::*;

    fn holds(member: &str, assigned: &[i32], pending: &[i32]) -> GroupRecord {
        let topic = |partitions: &[i32]| {
            vec![AssignedTopic {
                topic_id: TopicId::from_bytes([1; 16]),
                partitions: partitions.to_vec(),
                assignment_epochs: Vec::new(),
            }]
        };
        let value = CurrentMemberValue {
            member_epoch: 1,
            previous_member_epoch: 0,
            state: MemberState::Stable,
            assigned: topic(assigned),
            pending_revocation: topic(pending),
        };
        GroupRecord::CurrentMember(key(member), Some(value))
    }

    fn key(member: &str) -> MemberKey {
        MemberKey {
            group_id: "g".to_owned(),
            member_id: member.to_owned(),
        }
    }

    fn moves(batches: &[Vec<GroupRecord>]) -> Result<usize> {
        let mut ownership = Ownership::default();
        for batch in batches {
            ownership.take(batch, "g")?;
        }
        Ok(ownership.moves)
    }

    #[test]
    fn a_partition_goes_over_in_one_decision_or_after_it_was_given_up() {
        let gone = GroupRecord::CurrentMember(key("a"), None);
        let orderly: [Vec<Vec<GroupRecord>>; 3] = [
            vec![
                vec![holds("a", &[0], &[])],
                vec![holds("a", &[], &[]), holds("b", &[0], &[])],
            ],
            vec![
                vec![holds("a", &[0], &[])],
                vec![holds("b", &[0], &[]), holds("a", &[], &[])],
            ],
            vec![
                vec![holds("a", &[0], &[])],
                vec![gone],
                vec![holds("b", &[0], &[])],
            ],
        ];
        for batches in orderly {
            assert_eq!(moves(&batches).expect("orderly"), 1, "{batches:?}");
        }
    }

    #[test]
    fn a_partition_given_before_it_was_given_up_is_refused() {
        for first in [holds("a", &[0], &[]), holds("a", &[], &[0])] {
            let batches = [vec![first], vec![holds("b", &[0], &[])]];
            assert!(moves(&batches).is_err(), "{batches:?}");
        }
    }
}
