//! [`Record`]: what clients send and read, in the JSON of `tests/interop/README.md`; what one client sends to
//! be read by all; and whether it came back.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Records of a sample beside the large one.
const RECORDS: usize = 220;
/// Close to the largest message that clients send by default.
const LARGE_BYTES: usize = 900_000;
/// Together close to the largest batch that clients send by default, too.
const BATCH_RECORDS: usize = 1_000;
const BATCH_VALUE_BYTES: usize = 900;
const START_MS: i64 = 1_700_000_000_000;

/// Bytes, in base64.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

/// A header's name and value.
type Header = (String, Option<Bytes>);

/// One record; `topic` is empty for one that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(default, skip_serializing)]
    pub(crate) topic: String,
    #[serde(default, skip_serializing)]
    pub(crate) partition: i32,
    #[serde(default, skip_serializing)]
    pub(crate) offset: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
    pub(crate) timestamp: i64,
}

/// What a client, by what it is, cannot keep of a record. Everything else must come back byte for byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Its records have the time at which they were sent.
    Timestamps,
    /// Headers of one name keep their order among themselves only.
    HeaderOrder,
    /// An empty value of a header and none are the same to it.
    NullHeaderValues,
}

impl Record {
    /// A record with a key and a value and nothing else.
    pub(crate) fn of(key: &str, value: &str) -> Self {
        record(Some(key.as_bytes()), Some(value.as_bytes()), &[], START_MS)
    }

    /// Its line for a client's standard input.
    pub(crate) fn line(&self) -> Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    /// The record of a line that a client printed.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        serde_json::from_str(line).with_context(|| format!("a client printed {line:.200}"))
    }

    /// What is left of it where `losses` are taken into account.
    fn reduced(&self, losses: &[Loss]) -> Self {
        let mut reduced = Self {
            topic: String::new(),
            partition: 0,
            offset: 0,
            ..self.clone()
        };
        if losses.contains(&Loss::Timestamps) {
            reduced.timestamp = 0;
        }
        if losses.contains(&Loss::HeaderOrder) {
            reduced.headers.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        if losses.contains(&Loss::NullHeaderValues) {
            for (_, value) in &mut reduced.headers {
                *value = value.take().filter(|bytes| !bytes.0.is_empty());
            }
        }
        reduced
    }
}

fn record(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header], timestamp: i64) -> Record {
    Record {
        topic: String::new(),
        partition: 0,
        offset: 0,
        key: key.map(|key| Bytes(key.to_vec())),
        value: value.map(|value| Bytes(value.to_vec())),
        headers: headers.to_vec(),
        timestamp,
    }
}

/// What a client sends with one codec: keys with headers of every kind, null keys, null values, empty ones,
/// bytes that are no text, and a large value. Headers follow from the key.
pub(crate) fn sample(name: &str) -> Vec<Record> {
    let header = |name: &str, value: Option<&[u8]>| -> Header {
        (name.to_owned(), value.map(|value| Bytes(value.to_vec())))
    };
    let twice = [
        header("client", Some(name.as_bytes())),
        header("number", Some(b"1")),
        header("client", Some(b"again")),
    ];
    let nothing = [header("empty", Some(b"")), header("null", None)];
    let odd = [
        header("k\u{e4}se", Some("k\u{e4}se".as_bytes())),
        header("bytes", Some(b"\x80\xff")),
    ];
    let all_bytes: Vec<u8> = (0..=255).collect();
    let mut sample: Vec<_> = (0..RECORDS)
        .zip(START_MS..)
        .map(|(number, timestamp)| {
            let text = format!("{name} {number} {}", "padding ".repeat(8));
            let value = Some(text.as_bytes());
            match number % 8 {
                0 => record(None, value, &[], timestamp),
                1 => record(Some(b"plain"), value, &[], timestamp),
                2 => record(Some(b"twice"), value, &twice, timestamp),
                3 => record(Some(b"nothing"), value, &nothing, timestamp),
                4 => record(Some("odd k\u{e4}se".as_bytes()), value, &odd, timestamp),
                5 if number % 3 == 0 => record(Some(b"null value"), None, &[], timestamp),
                5 => record(Some(b"null value"), value, &[], timestamp),
                6 => record(Some(b"\x00\xff bytes"), Some(&all_bytes), &[], timestamp),
                _ => record(Some(b"empty value"), Some(b""), &[], timestamp),
            }
        })
        .collect();
    sample.push(record(Some(b"large"), Some(&large()), &twice, START_MS));
    sample
}

/// Records of one key, as many as go into one batch.
pub(crate) fn one_batch(name: &str) -> Vec<Record> {
    (0..BATCH_RECORDS)
        .zip(START_MS..)
        .map(|(number, timestamp)| {
            let text = format!("{name} {number} ");
            let value = format!("{text:.<BATCH_VALUE_BYTES$}");
            record(Some(b"batch"), Some(value.as_bytes()), &[], timestamp)
        })
        .collect()
}

/// Text without repetition that every codec makes smaller: letters from a generator of Lehmer's.
fn large() -> Vec<u8> {
    let mut state = 1_u64;
    let letter = || {
        state = state * 48_271 % 2_147_483_647;
        b'a' + u8::try_from(state % 26).expect("below 26")
    };
    std::iter::repeat_with(letter).take(LARGE_BYTES).collect()
}

/// Whether each record came back once, as it was sent, and those of each key in their order.
///
/// # Errors
/// The first difference.
pub(crate) fn compare(sent: &[Record], got: &[&Record], losses: &[Loss]) -> Result<()> {
    let sent = by_key(sent, losses);
    let got = by_key(got.iter().copied(), losses);
    for (key, sent) in &sent {
        let got: &[Record] = got.get(key).map_or(&[], Vec::as_slice);
        ensure!(
            sent.len() == got.len(),
            "key {key:?}: {} records sent, {} read",
            sent.len(),
            got.len()
        );
        if let Some((sent, got)) = sent.iter().zip(got).find(|(sent, got)| sent != got) {
            bail!("key {key:?}: sent {sent:.400?}, read {got:.400?}");
        }
    }
    if let Some(key) = got.keys().find(|key| !sent.contains_key(*key)) {
        bail!("key {key:?} was read and not sent");
    }
    Ok(())
}

/// Records of each key in their order; those without key, which have no order, sorted.
fn by_key<'a>(
    records: impl IntoIterator<Item = &'a Record>,
    losses: &[Loss],
) -> BTreeMap<Option<Bytes>, Vec<Record>> {
    let mut keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in records {
        let record = record.reduced(losses);
        keys.entry(record.key.clone()).or_default().push(record);
    }
    if let Some(without_key) = keys.get_mut(&None) {
        without_key.sort();
    }
    keys
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..80) {
            None => write!(f, "b\"{}\"", self.0.escape_ascii()),
            Some(start) => write!(f, "b\"{}\"... {} B", start.escape_ascii(), self.0.len()),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(sent: &[Record]) -> Vec<Record> {
        sent.iter()
            .map(|record| Record::parse(&record.line().expect("JSON")).expect("a record"))
            .collect()
    }

    #[test]
    fn sample_that_comes_back_is_accepted_whatever_the_order_of_keys() {
        let sent = sample("some");
        let mut got = read_back(&sent);
        got.sort_by(|a, b| a.key.cmp(&b.key));
        compare(&sent, &got.iter().collect::<Vec<_>>(), &[]).expect("equal");
    }

    #[test]
    fn whatever_differs_is_found() {
        let sent = sample("some");
        let changes: [fn(&mut Vec<Record>); 8] = [
            |got| drop(got.remove(5)),
            |got| got.push(got[0].clone()),
            |got| got.swap(1, 9),
            |got| got[3].headers[1].1 = Some(Bytes(Vec::new())),
            |got| got[2].headers.swap(0, 1),
            |got| got[7].value = None,
            |got| got[0].key = Some(Bytes(Vec::new())),
            |got| got[8].timestamp += 1,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut got = read_back(&sent);
            change(&mut got);
            let got: Vec<_> = got.iter().collect();
            assert!(compare(&sent, &got, &[]).is_err(), "change {number}");
        }
    }

    #[test]
    fn what_a_client_cannot_keep_is_not_compared() {
        let sent = sample("some");
        let mut got = read_back(&sent);
        got[2].headers.swap(1, 2);
        got[3].headers[1].1 = Some(Bytes(Vec::new()));
        got[4].timestamp = 1;
        let got: Vec<_> = got.iter().collect();
        let all = [Loss::Timestamps, Loss::HeaderOrder, Loss::NullHeaderValues];
        compare(&sent, &got, &all).expect("equal but for losses");
    }
}
