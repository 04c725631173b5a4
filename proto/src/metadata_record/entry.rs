//! Records in frames: one frame is one write, and holds all records that are committed together.
//!
//! A single record stands in its frame under its own type. Several stand in a frame of type
//! [`GROUP`], so that a crash keeps all of them or none.

use prost::Message;

use super::{
    frame::{Frame, HEADER_BYTES, PAYLOAD_BYTES_MAX},
    record::MetadataRecord,
    wire::{self, Encoded, WireError},
};

/// Frame type of several records.
const GROUP: u16 = 1;
/// Frame type that ends a snapshot.
const SNAPSHOT_END: u16 = 2;
/// Newest version of those two.
const VERSION: u16 = 1;

#[derive(Clone, PartialEq, Message)]
struct GroupWire {
    #[prost(message, repeated, tag = "1")]
    items: Vec<ItemWire>,
}

#[derive(Clone, PartialEq, Message)]
struct ItemWire {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "2")]
    version: u32,
    #[prost(bytes = "vec", tag = "3")]
    payload: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct SnapshotEndWire {
    #[prost(uint64, tag = "1")]
    records: u64,
}

/// A frame's records, or the end of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Committed together, in this order.
    Records(Vec<MetadataRecord>),
    /// Nothing follows.
    SnapshotEnd {
        /// How many records the snapshot has.
        records: u64,
    },
}

/// Encodes the records into one frame.
///
/// # Errors
/// The size of the payload in bytes, when it is more than a frame holds.
pub fn encode(index: u64, term: u64, records: &[MetadataRecord]) -> Result<Vec<u8>, usize> {
    let encoded = match records {
        [record] => wire::encode(record),
        records => group(records),
    };
    frame(index, term, &encoded)
}

/// Encodes the frame that ends a snapshot.
#[must_use]
pub fn encode_snapshot_end(index: u64, term: u64, records: u64) -> Vec<u8> {
    let encoded = Encoded {
        kind: SNAPSHOT_END,
        version: VERSION,
        payload: SnapshotEndWire { records }.encode_to_vec(),
    };
    frame(index, term, &encoded).unwrap_or_default()
}

fn group(records: &[MetadataRecord]) -> Encoded {
    let item = |record| {
        let encoded = wire::encode(record);
        ItemWire {
            kind: u32::from(encoded.kind),
            version: u32::from(encoded.version),
            payload: encoded.payload,
        }
    };
    let wire = GroupWire {
        items: records.iter().map(item).collect(),
    };
    Encoded {
        kind: GROUP,
        version: VERSION,
        payload: wire.encode_to_vec(),
    }
}

fn frame(index: u64, term: u64, encoded: &Encoded) -> Result<Vec<u8>, usize> {
    if encoded.payload.len() > PAYLOAD_BYTES_MAX {
        return Err(encoded.payload.len());
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + encoded.payload.len() + 8);
    let frame = Frame {
        index,
        term,
        kind: encoded.kind,
        version: encoded.version,
        payload: &encoded.payload,
    };
    frame.encode(&mut bytes);
    Ok(bytes)
}

/// Decodes what a frame holds.
///
/// # Errors
/// A type or version of a newer build, or a payload that does not decode.
pub fn decode(frame: &Frame<'_>) -> Result<Entry, WireError> {
    match frame.kind {
        GROUP => {
            check_version("Group", frame.version)?;
            let wire = GroupWire::decode(frame.payload).map_err(|e| broken("Group", &e))?;
            let records = wire.items.iter().map(decode_item);
            records.collect::<Result<_, _>>().map(Entry::Records)
        }
        SNAPSHOT_END => {
            check_version("SnapshotEnd", frame.version)?;
            let wire =
                SnapshotEndWire::decode(frame.payload).map_err(|e| broken("SnapshotEnd", &e))?;
            Ok(Entry::SnapshotEnd {
                records: wire.records,
            })
        }
        kind => {
            let record = wire::decode(kind, frame.version, frame.payload)?;
            Ok(Entry::Records(vec![record]))
        }
    }
}

fn decode_item(item: &ItemWire) -> Result<MetadataRecord, WireError> {
    let number = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    wire::decode(number(item.kind), number(item.version), &item.payload)
}

fn check_version(name: &'static str, found: u16) -> Result<(), WireError> {
    if found > VERSION {
        return Err(WireError::NewerVersion {
            name,
            found,
            newest: VERSION,
        });
    }
    Ok(())
}

fn broken(name: &'static str, error: &prost::DecodeError) -> WireError {
    WireError::Payload {
        name,
        reason: error.to_string(),
    }
}
