//! Requests with some bytes changed: [`check`] against what `kafka-protocol` itself makes of them.

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, RequestKind};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{every_version, sample::Sample};
use crate::listener::kafka::codec::{DecodeError, Limits, Problem, check};

#[derive(Debug, Clone)]
pub(super) enum Change {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
}

pub(super) fn change() -> impl Strategy<Value = Change> {
    let byte = || prop_oneof![any::<u8>(), Just(0), Just(1), Just(0x80), Just(0xff)];
    prop_oneof![
        4 => (any::<Index>(), byte()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => (any::<Index>(), byte()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        1 => any::<Index>().prop_map(Change::Remove),
    ]
}

pub(super) fn apply(change: &Change, bytes: &mut Vec<u8>) {
    match change {
        Change::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
        _ if bytes.is_empty() => {}
        Change::Set(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Change::Remove(at) => {
            bytes.remove(at.index(bytes.len()));
        }
    }
}

/// What the decoder alone makes of a body: whether it returns a request and leaves nothing, or why not.
fn decoder_alone(api_key: i16, version: i16, bytes: &[u8]) -> Result<(), String> {
    let key = ApiKey::try_from(api_key).unwrap();
    let mut body = Bytes::copy_from_slice(bytes);
    RequestKind::decode(key, &mut body, version).map_err(|error| format!("{error:#}"))?;
    match body.len() {
        0 => Ok(()),
        left => Err(format!("{left} bytes are left over")),
    }
}

/// More with `PROPTEST_CASES`.
pub(super) fn cases() -> u32 {
    ProptestConfig::default().cases.max(20_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn check_accepts_what_the_decoder_does_and_is_stricter_only_on_purpose(
        which in any::<Index>(),
        seed in 0_u64..64,
        changes in vec(change(), 0..4),
    ) {
        let versions: Vec<_> = every_version().collect();
        let (api, version) = *which.get(&versions);
        let api_key = api.layout.api_key;
        let mut bytes = Sample::new(api, version, seed).bytes;
        changes.iter().for_each(|change| apply(change, &mut bytes));
        match check(api_key, version, &bytes, &Limits::default()) {
            Ok(length) => match decoder_alone(api_key, version, &bytes[..length]) {
                Ok(()) => {}
                Err(reason) => prop_assert!(reason.contains("utf-8"), "{reason}"),
            },
            Err(DecodeError::Malformed { problem, .. }) => match problem {
                // Up to here the two agree, and so they must about the refusal.
                Problem::Truncated { .. }
                | Problem::NegativeLength { .. }
                | Problem::TagNotInVersion { .. } => {
                    prop_assert!(decoder_alone(api_key, version, &bytes).is_err(), "{problem}");
                }
                // The decoder would allocate for these, or is more lenient than Kafka's definitions.
                Problem::CountBeyondBytes { .. }
                | Problem::Null
                | Problem::StructMarker { .. }
                | Problem::VarintTooLong
                | Problem::TagOrder { .. }
                | Problem::TaggedSize { .. } => {}
                other => prop_assert!(false, "cannot be: {other}"),
            },
            Err(other) => prop_assert!(false, "cannot be: {other}"),
        }
    }
}
