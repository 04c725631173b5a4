//! Compares records with the JSON lines of what a Kafka consumer returned.

use std::{collections::HashMap, fmt::Write as _, fs};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use millstream_proto::{
    Offset, ProducerId,
    record::{
        Record,
        control::{ControlRecord, TransactionResult},
    },
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{batches, data, records};

/// Values from this size on stand in the data set as their SHA-256.
const HASHED_FROM_BYTES: usize = 300_000;

/// All data records, of whatever transaction.
pub(super) fn read_uncommitted(partition: &str) -> Vec<Record> {
    batches(partition)
        .iter()
        .filter(|batch| !batch.is_control())
        .flat_map(records)
        .collect()
}

/// Records below the first open transaction, without those of aborted ones.
pub(super) fn read_committed(partition: &str) -> Vec<Record> {
    let mut open: HashMap<ProducerId, Vec<Record>> = HashMap::new();
    let mut committed = Vec::new();
    for batch in batches(partition) {
        let found = records(&batch);
        if batch.is_control() {
            let ended = open.remove(&batch.producer_id()).unwrap_or_default();
            match ControlRecord::decode(&found[0]).unwrap() {
                ControlRecord::EndTransaction(marker)
                    if marker.result == TransactionResult::Commit =>
                {
                    committed.extend(ended);
                }
                _ => {}
            }
        } else if batch.is_transactional() {
            open.entry(batch.producer_id()).or_default().extend(found);
        } else {
            committed.extend(found);
        }
    }
    let stable = open
        .values()
        .flatten()
        .map(|record| record.offset)
        .min()
        .unwrap_or(Offset::MAX);
    committed.retain(|record| record.offset < stable);
    committed.sort_by_key(|record| record.offset);
    committed
}

pub(super) fn assert_equal(partition: &str, found: &[Record], expected: &str) {
    let path = data().join(format!("expected/{expected}.jsonl"));
    let expected: Vec<Value> = fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(found.len(), expected.len(), "records of {partition}");
    for (record, expected) in found.iter().zip(expected) {
        assert_eq!(to_json(record), expected, "{partition}");
    }
}

fn to_json(record: &Record) -> Value {
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|header| json!([header.key_text(), text(&header.value)]))
        .collect();
    let value = match &record.value {
        Some(value) if value.len() >= HASHED_FROM_BYTES => {
            json!({"sha256": hex(&Sha256::digest(value)), "bytes": value.len()})
        }
        value => text(value),
    };
    json!({
        "offset": record.offset.get(),
        "timestamp": record.timestamp,
        "key": text(&record.key),
        "value": value,
        "headers": headers,
    })
}

fn text(bytes: &Option<Bytes>) -> Value {
    bytes
        .as_ref()
        .map_or(Value::Null, |bytes| BASE64_STANDARD.encode(bytes).into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
