//! Bytes of metadata records: a type number, a version, and a prost message for each.
//!
//! Numbers are never reused. A field is only ever added; a change that an older build would
//! misunderstand takes a new version, which that build refuses by name.

use std::collections::BTreeMap;

use crate::{BrokerId, LeaderEpoch, PartitionIndex, ProducerId, TopicId, TopicName};
use prost::Message;

use super::record::{
    BrokerRegistered, MetadataRecord, PartitionRegistration, PartitionsAdded, ProducerIdsAllocated,
    TopicConfigChanged, TopicCreated, TopicDefaultsChanged, TopicDeleted,
};

/// Newest version of every record type that this build reads, and the one it writes.
const VERSION: u16 = 1;

/// One record as it stands in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Encoded {
    pub(super) kind: u16,
    pub(super) version: u16,
    pub(super) payload: Vec<u8>,
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A type that a newer build introduced.
    #[error("metadata record type {kind} is unknown to this build")]
    UnknownType {
        /// Its number.
        kind: u16,
    },
    /// A version that a newer build introduced.
    #[error("metadata record {name} has version {found}, this build reads up to {newest}")]
    NewerVersion {
        /// The record's name.
        name: &'static str,
        /// The version found.
        found: u16,
        /// The newest that this build reads.
        newest: u16,
    },
    /// The payload does not decode, or says something impossible.
    #[error("metadata record {name} does not decode: {reason}")]
    Payload {
        /// The record's name.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl WireError {
    /// Whether a newer build wrote it, rather than something having broken it.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::UnknownType { .. } | Self::NewerVersion { .. })
    }
}

mod kind {
    pub(super) const TOPIC_CREATED: u16 = 16;
    pub(super) const PARTITIONS_ADDED: u16 = 17;
    pub(super) const TOPIC_CONFIG_CHANGED: u16 = 18;
    pub(super) const TOPIC_DELETED: u16 = 19;
    pub(super) const PRODUCER_IDS_ALLOCATED: u16 = 20;
    pub(super) const BROKER_REGISTERED: u16 = 21;
    pub(super) const TOPIC_DEFAULTS_CHANGED: u16 = 22;
}

fn name_of(kind: u16) -> Option<&'static str> {
    Some(match kind {
        kind::TOPIC_CREATED => "TopicCreated",
        kind::PARTITIONS_ADDED => "PartitionsAdded",
        kind::TOPIC_CONFIG_CHANGED => "TopicConfigChanged",
        kind::TOPIC_DELETED => "TopicDeleted",
        kind::PRODUCER_IDS_ALLOCATED => "ProducerIdsAllocated",
        kind::BROKER_REGISTERED => "BrokerRegistered",
        kind::TOPIC_DEFAULTS_CHANGED => "TopicDefaultsChanged",
        _ => return None,
    })
}

#[derive(Clone, PartialEq, Message)]
struct PartitionWire {
    #[prost(int32, tag = "1")]
    partition: i32,
    #[prost(int32, repeated, tag = "2")]
    replicas: Vec<i32>,
    #[prost(int32, repeated, tag = "3")]
    in_sync: Vec<i32>,
    #[prost(int32, optional, tag = "4")]
    leader: Option<i32>,
    #[prost(int32, tag = "5")]
    leader_epoch: i32,
    #[prost(int32, tag = "6")]
    partition_epoch: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TopicCreatedWire {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    topic_id: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    partitions: Vec<PartitionWire>,
    #[prost(btree_map = "string, string", tag = "4")]
    configs: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct PartitionsAddedWire {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    partitions: Vec<PartitionWire>,
}

#[derive(Clone, PartialEq, Message)]
struct ConfigChangeWire {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TopicConfigChangedWire {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    changes: Vec<ConfigChangeWire>,
}

#[derive(Clone, PartialEq, Message)]
struct TopicDefaultsChangedWire {
    #[prost(message, repeated, tag = "1")]
    changes: Vec<ConfigChangeWire>,
}

#[derive(Clone, PartialEq, Message)]
struct TopicDeletedWire {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ProducerIdsAllocatedWire {
    #[prost(int32, tag = "1")]
    broker_id: i32,
    #[prost(int64, tag = "2")]
    first: i64,
    #[prost(int64, tag = "3")]
    count: i64,
}

#[derive(Clone, PartialEq, Message)]
struct BrokerRegisteredWire {
    #[prost(int32, tag = "1")]
    broker_id: i32,
    #[prost(int64, tag = "2")]
    broker_epoch: i64,
    #[prost(bytes = "vec", tag = "3")]
    directory_id: Vec<u8>,
    #[prost(string, tag = "4")]
    host: String,
    #[prost(uint32, tag = "5")]
    port: u32,
    #[prost(string, tag = "6")]
    rack: String,
    #[prost(string, tag = "7")]
    version: String,
}

/// Encodes a record in the newest version.
pub(super) fn encode(record: &MetadataRecord) -> Encoded {
    let (kind, payload) = match record {
        MetadataRecord::TopicCreated(record) => {
            let wire = TopicCreatedWire {
                name: record.name.to_string(),
                topic_id: record.topic_id.as_bytes().to_vec(),
                partitions: record.partitions.iter().map(partition_to_wire).collect(),
                configs: record.configs.clone(),
            };
            (kind::TOPIC_CREATED, wire.encode_to_vec())
        }
        MetadataRecord::PartitionsAdded(record) => {
            let wire = PartitionsAddedWire {
                topic_id: record.topic_id.as_bytes().to_vec(),
                partitions: record.partitions.iter().map(partition_to_wire).collect(),
            };
            (kind::PARTITIONS_ADDED, wire.encode_to_vec())
        }
        MetadataRecord::TopicConfigChanged(record) => {
            let wire = TopicConfigChangedWire {
                topic_id: record.topic_id.as_bytes().to_vec(),
                changes: changes_to_wire(&record.changes),
            };
            (kind::TOPIC_CONFIG_CHANGED, wire.encode_to_vec())
        }
        MetadataRecord::TopicDeleted(record) => {
            let topic_id = record.topic_id.as_bytes().to_vec();
            let wire = TopicDeletedWire { topic_id };
            (kind::TOPIC_DELETED, wire.encode_to_vec())
        }
        MetadataRecord::ProducerIdsAllocated(record) => {
            let wire = ProducerIdsAllocatedWire {
                broker_id: record.broker_id.0,
                first: record.first.0,
                count: record.count,
            };
            (kind::PRODUCER_IDS_ALLOCATED, wire.encode_to_vec())
        }
        MetadataRecord::BrokerRegistered(record) => {
            let wire = broker_to_wire(record);
            (kind::BROKER_REGISTERED, wire.encode_to_vec())
        }
        MetadataRecord::TopicDefaultsChanged(record) => {
            let changes = changes_to_wire(&record.changes);
            let wire = TopicDefaultsChangedWire { changes };
            (kind::TOPIC_DEFAULTS_CHANGED, wire.encode_to_vec())
        }
    };
    Encoded {
        kind,
        version: VERSION,
        payload,
    }
}

fn partition_to_wire(registration: &PartitionRegistration) -> PartitionWire {
    let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    PartitionWire {
        partition: registration.partition.0,
        replicas: ids(&registration.replicas),
        in_sync: ids(&registration.in_sync),
        leader: registration.leader.map(|id| id.0),
        leader_epoch: registration.leader_epoch.0,
        partition_epoch: registration.partition_epoch,
    }
}

fn changes_to_wire(changes: &BTreeMap<String, Option<String>>) -> Vec<ConfigChangeWire> {
    let change = |(name, value): (&String, &Option<String>)| ConfigChangeWire {
        name: name.clone(),
        value: value.clone(),
    };
    changes.iter().map(change).collect()
}

fn changes_of_wire(changes: Vec<ConfigChangeWire>) -> BTreeMap<String, Option<String>> {
    let changes = changes.into_iter();
    changes.map(|change| (change.name, change.value)).collect()
}

fn broker_to_wire(record: &BrokerRegistered) -> BrokerRegisteredWire {
    BrokerRegisteredWire {
        broker_id: record.broker_id.0,
        broker_epoch: record.broker_epoch,
        directory_id: record.directory_id.to_vec(),
        host: record.host.clone(),
        port: u32::from(record.port),
        rack: record.rack.clone(),
        version: record.version.clone(),
    }
}

/// Decodes a record of any version that this build knows.
///
/// # Errors
/// A type or version of a newer build, or bytes that are no record.
pub(super) fn decode(kind: u16, version: u16, payload: &[u8]) -> Result<MetadataRecord, WireError> {
    let name = name_of(kind).ok_or(WireError::UnknownType { kind })?;
    if version > VERSION {
        return Err(WireError::NewerVersion {
            name,
            found: version,
            newest: VERSION,
        });
    }
    if version == 0 {
        return Err(WireError::Payload {
            name,
            reason: "version 0 never existed".into(),
        });
    }
    decode_known(kind, payload).map_err(|reason| WireError::Payload { name, reason })
}

fn decode_known(kind: u16, payload: &[u8]) -> Result<MetadataRecord, String> {
    let text = |error: prost::DecodeError| error.to_string();
    Ok(match kind {
        kind::TOPIC_CREATED => {
            let wire = TopicCreatedWire::decode(payload).map_err(text)?;
            MetadataRecord::TopicCreated(TopicCreated {
                name: TopicName::new(&wire.name).map_err(|error| error.to_string())?,
                topic_id: topic_id(&wire.topic_id)?,
                partitions: wire.partitions.iter().map(partition_of_wire).collect(),
                configs: wire.configs,
            })
        }
        kind::PARTITIONS_ADDED => {
            let wire = PartitionsAddedWire::decode(payload).map_err(text)?;
            MetadataRecord::PartitionsAdded(PartitionsAdded {
                topic_id: topic_id(&wire.topic_id)?,
                partitions: wire.partitions.iter().map(partition_of_wire).collect(),
            })
        }
        kind::TOPIC_CONFIG_CHANGED => {
            let wire = TopicConfigChangedWire::decode(payload).map_err(text)?;
            MetadataRecord::TopicConfigChanged(TopicConfigChanged {
                topic_id: topic_id(&wire.topic_id)?,
                changes: changes_of_wire(wire.changes),
            })
        }
        kind::TOPIC_DELETED => {
            let wire = TopicDeletedWire::decode(payload).map_err(text)?;
            let topic_id = topic_id(&wire.topic_id)?;
            MetadataRecord::TopicDeleted(TopicDeleted { topic_id })
        }
        kind::PRODUCER_IDS_ALLOCATED => {
            let wire = ProducerIdsAllocatedWire::decode(payload).map_err(text)?;
            MetadataRecord::ProducerIdsAllocated(ProducerIdsAllocated {
                broker_id: BrokerId(wire.broker_id),
                first: ProducerId(wire.first),
                count: wire.count,
            })
        }
        kind::TOPIC_DEFAULTS_CHANGED => {
            let wire = TopicDefaultsChangedWire::decode(payload).map_err(text)?;
            MetadataRecord::TopicDefaultsChanged(TopicDefaultsChanged {
                changes: changes_of_wire(wire.changes),
            })
        }
        _ => MetadataRecord::BrokerRegistered(broker_of_wire(
            BrokerRegisteredWire::decode(payload).map_err(text)?,
        )?),
    })
}

fn topic_id(bytes: &[u8]) -> Result<TopicId, String> {
    uuid(bytes, "topic id").map(TopicId::from_bytes)
}

fn uuid(bytes: &[u8], what: &str) -> Result<[u8; 16], String> {
    let found = bytes.len();
    bytes
        .try_into()
        .map_err(|_| format!("{what} has {found} bytes, expected 16"))
}

fn partition_of_wire(wire: &PartitionWire) -> PartitionRegistration {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    PartitionRegistration {
        partition: PartitionIndex(wire.partition),
        replicas: ids(&wire.replicas),
        in_sync: ids(&wire.in_sync),
        leader: wire.leader.map(BrokerId),
        leader_epoch: LeaderEpoch(wire.leader_epoch),
        partition_epoch: wire.partition_epoch,
    }
}

fn broker_of_wire(wire: BrokerRegisteredWire) -> Result<BrokerRegistered, String> {
    Ok(BrokerRegistered {
        broker_id: BrokerId(wire.broker_id),
        broker_epoch: wire.broker_epoch,
        directory_id: uuid(&wire.directory_id, "directory id")?,
        host: wire.host,
        port: u16::try_from(wire.port).map_err(|_| format!("port is {}", wire.port))?,
        rack: wire.rack,
        version: wire.version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Vec<MetadataRecord> {
        let topic_id = TopicId::from_bytes([7; 16]);
        let partition = PartitionRegistration {
            partition: PartitionIndex(0),
            replicas: vec![BrokerId(1), BrokerId(2)],
            in_sync: vec![BrokerId(2)],
            leader: Some(BrokerId(2)),
            leader_epoch: LeaderEpoch(3),
            partition_epoch: 4,
        };
        let leaderless = PartitionRegistration {
            leader: None,
            ..partition.clone()
        };
        vec![
            MetadataRecord::TopicCreated(TopicCreated {
                name: TopicName::new("flights").expect("valid"),
                topic_id,
                partitions: vec![partition],
                configs: [("retention.ms".to_owned(), "-1".to_owned())].into(),
            }),
            MetadataRecord::PartitionsAdded(PartitionsAdded {
                topic_id,
                partitions: vec![leaderless],
            }),
            MetadataRecord::TopicConfigChanged(TopicConfigChanged {
                topic_id,
                changes: [("a".into(), Some(String::new())), ("b".into(), None)].into(),
            }),
            MetadataRecord::TopicDeleted(TopicDeleted { topic_id }),
            MetadataRecord::ProducerIdsAllocated(ProducerIdsAllocated {
                broker_id: BrokerId(-1),
                first: ProducerId(0),
                count: 1000,
            }),
            MetadataRecord::BrokerRegistered(BrokerRegistered {
                broker_id: BrokerId(0),
                broker_epoch: 9,
                directory_id: [5; 16],
                host: "localhost".into(),
                port: 65535,
                rack: String::new(),
                version: "0.1.0".into(),
            }),
            MetadataRecord::TopicDefaultsChanged(TopicDefaultsChanged {
                changes: [("a".into(), Some("1".into())), ("b".into(), None)].into(),
            }),
        ]
    }

    #[test]
    fn every_record_decodes_to_what_was_encoded() {
        for record in examples() {
            let encoded = encode(&record);
            let decoded = decode(encoded.kind, encoded.version, &encoded.payload);
            assert_eq!(decoded, Ok(record));
        }
    }

    #[test]
    fn newer_versions_and_types_are_refused_by_name() {
        let error = decode(kind::TOPIC_CREATED, 2, &[]).expect_err("newer");
        assert!(error.is_newer());
        assert_eq!(
            error.to_string(),
            "metadata record TopicCreated has version 2, this build reads up to 1"
        );
        assert!(decode(999, 1, &[]).expect_err("unknown").is_newer());
    }

    #[test]
    fn payloads_that_are_no_record_are_refused_without_panic() {
        for record in examples() {
            let Encoded { kind, payload, .. } = encode(&record);
            for end in 0..payload.len() {
                let _ = decode(kind, 1, &payload[..end]);
            }
            let error = decode(kind, 1, &[0xff; 9]).expect_err("no message");
            assert!(!error.is_newer(), "{error}");
        }
    }
}
