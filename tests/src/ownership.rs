//! Who held which partition of a group, by the coordinator's own records in `__consumer_offsets`.
//!
//! A record batch is one decision. After each of them no partition may be with two members, those
//! counted in that have yet to give it up. Of a classic group each generation that was written is one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, Bytes};
use kafka_protocol::{messages::ConsumerProtocolAssignment, protocol::Decodable as _};
use millstream_log::{inspect::LogScan, io::DiskIo};
use millstream_proto::{
    TopicId,
    group_record::{ClassicGroupValue, CurrentMemberValue, Decoded, GroupRecord},
};

/// Directories of the offsets topic begin with this.
const OFFSETS_TOPIC: &str = "__consumer_offsets-";
/// Bytes that one batch may decompress to.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// A partition.
type Place = (TopicKey, i32);

/// A topic, by its id in a group of consumers, and by its name in a classic one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum TopicKey {
    Id(TopicId),
    Name(String),
}

/// What the records say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Decisions about members of the group.
    pub decisions: usize,
    /// How often a partition went from one member to another.
    pub moves: usize,
    holdings: BTreeMap<String, BTreeSet<Place>>,
    last_holder: BTreeMap<Place, String>,
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
            match record {
                GroupRecord::CurrentMember(key, value) if key.group_id == group => {
                    let held = value.as_ref().map(held);
                    let holdings = &mut self.holdings;
                    match held {
                        None => drop(holdings.remove(&key.member_id)),
                        Some(held) => drop(holdings.insert(key.member_id.clone(), held)),
                    }
                }
                GroupRecord::ClassicGroup(id, value) if id == group => {
                    self.holdings = match value {
                        None => BTreeMap::new(),
                        Some(generation) => assigned(generation)?,
                    };
                }
                _ => continue,
            }
            is_about_members = true;
        }
        if is_about_members {
            self.decisions += 1;
            self.check()?;
        }
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        let mut holders: BTreeMap<Place, &str> = BTreeMap::new();
        for (member, partitions) in &self.holdings {
            for partition in partitions {
                let other = holders.insert(partition.clone(), member);
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

/// What a member of a group of consumers may not have given up yet.
fn held(value: &CurrentMemberValue) -> BTreeSet<Place> {
    let topics = value.assigned.iter().chain(&value.pending_revocation);
    let partitions = topics.flat_map(|topic| {
        let id = TopicKey::Id(topic.topic_id);
        let partitions = topic.partitions.iter();
        partitions.map(move |partition| (id.clone(), *partition))
    });
    partitions.collect()
}

/// What the members of a generation are assigned.
fn assigned(generation: &ClassicGroupValue) -> Result<BTreeMap<String, BTreeSet<Place>>> {
    let members = generation.members.iter().map(|member| {
        let partitions = read_assignment(member.assignment.clone())?;
        Ok((member.member_id.clone(), partitions))
    });
    members.collect()
}

fn read_assignment(mut bytes: Bytes) -> Result<BTreeSet<Place>> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let version = bytes.try_get_i16()?;
    let assignment = ConsumerProtocolAssignment::decode(&mut bytes, version)?;
    let partitions = assignment.assigned_partitions.iter().flat_map(|topic| {
        let name = TopicKey::Name(topic.topic.to_string());
        let partitions = topic.partitions.iter();
        partitions.map(move |partition| (name.clone(), *partition))
    });
    Ok(partitions.collect())
}

#[cfg(test)]
mod tests {
    use millstream_proto::group_record::{AssignedTopic, ClassicMember, MemberKey, MemberState};

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

    /// A generation in which each member is assigned partitions of the topic t.
    fn generation(members: &[(&str, &[u8])]) -> GroupRecord {
        let member = |(id, partitions): &(&str, &[u8])| {
            let mut assignment = b"\0\0\0\0\0\x01\0\x01t\0\0\0".to_vec();
            assignment.push(u8::try_from(partitions.len()).expect("few"));
            partitions
                .iter()
                .for_each(|at| assignment.extend([0, 0, 0, *at]));
            assignment.extend([0xff; 4]);
            ClassicMember {
                member_id: (*id).to_owned(),
                instance_id: None,
                client_id: String::new(),
                client_host: String::new(),
                rebalance_timeout_ms: 1,
                session_timeout_ms: 1,
                subscription: Bytes::new(),
                assignment: assignment.into(),
            }
        };
        let value = ClassicGroupValue {
            protocol_type: "consumer".to_owned(),
            generation: 1,
            protocol: Some("range".to_owned()),
            leader: None,
            current_state_timestamp_ms: 0,
            members: members.iter().map(member).collect(),
        };
        GroupRecord::ClassicGroup("g".to_owned(), Some(value))
    }

    #[test]
    fn a_generation_moves_partitions_and_gives_none_to_two_members() {
        let orderly = [
            vec![generation(&[("a", &[0, 1]), ("b", &[])])],
            vec![generation(&[("a", &[0]), ("b", &[1])])],
        ];
        assert_eq!(moves(&orderly).expect("orderly"), 1);
        let batches = [vec![generation(&[("a", &[0, 1]), ("b", &[1])])]];
        assert!(moves(&batches).is_err(), "{batches:?}");
    }

    #[test]
    fn a_group_that_changes_its_kind_begins_anew() {
        let no_generation = GroupRecord::ClassicGroup("g".to_owned(), None);
        let batches = [
            vec![generation(&[("a", &[0])])],
            vec![no_generation, holds("a", &[0], &[])],
            vec![holds("b", &[0], &[])],
        ];
        assert!(moves(&batches[..2]).is_ok(), "{batches:?}");
        assert!(moves(&batches).is_err(), "{batches:?}");
    }
}
