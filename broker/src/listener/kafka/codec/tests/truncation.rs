//! F24: requests that end too early, and lengths that are wrong.

use bytes::Bytes;

use super::{every_version, sample::Sample};
use crate::listener::kafka::codec::{DecodeError, Limits, apis::decode_any};

/// How many different requests of each version are cut and bent.
const SAMPLES: u64 = 8;

fn every_sample(mut visit: impl FnMut(i16, i16, &Sample)) {
    for (api, version) in every_version() {
        for seed in 0..SAMPLES {
            visit(
                api.layout.api_key,
                version,
                &Sample::new(api, version, seed),
            );
        }
    }
}

fn refusal(api_key: i16, version: i16, body: impl Into<Bytes>) -> Option<DecodeError> {
    decode_any(api_key, version, &mut body.into(), &Limits::default()).err()
}

#[test]
fn request_cut_at_any_byte_is_refused() {
    let mut cuts = 0;
    every_sample(|api_key, version, sample| {
        let body = Bytes::from(sample.bytes.clone());
        assert_eq!(refusal(api_key, version, body.clone()), None);
        for end in 0..body.len() {
            let refused = refusal(api_key, version, body.slice(..end));
            assert!(
                matches!(refused, Some(DecodeError::Malformed { at, .. }) if at <= end),
                "{api_key} {version}, {end} of {} bytes: {refused:?}",
                body.len()
            );
            cuts += 1;
        }
    });
    assert!(cuts > 50_000, "{cuts} cuts");
}

#[test]
fn bytes_behind_a_request_change_nothing() {
    every_sample(|api_key, version, sample| {
        let [alone, followed] = [&[][..], &[1, 0, 0]].map(|more| {
            let mut body = Bytes::from([&sample.bytes, more].concat());
            decode_any(api_key, version, &mut body, &Limits::default())
        });
        assert!(alone.is_ok(), "{api_key} {version}: {alone:?}");
        assert_eq!(followed, alone, "{api_key} {version}");
    });
}

/// It may happen to be right for other bytes, but it must not panic. Lengths beyond the request are in
/// [`hostile`](super::hostile).
#[test]
fn request_with_a_length_off_by_some_is_refused_or_another_request() {
    let (mut refusals, mut others) = (0, 0);
    every_sample(|api_key, version, sample| {
        for length in &sample.lengths {
            for near in [0, 1, 2, 3, 5, 17] {
                match refusal(api_key, version, sample.with_length(length, near)) {
                    Some(_) => refusals += 1,
                    None => others += 1,
                }
            }
        }
    });
    assert!(
        refusals > others && others > 0,
        "{refusals} refused, {others} not"
    );
}

#[test]
fn request_of_an_unknown_key_or_version_is_refused() {
    let unknown = |api_key| Some(DecodeError::UnknownApi { api_key });
    for api_key in [-1, 4, 7, 71, 72, 93, i16::MAX, i16::MIN] {
        assert_eq!(refusal(api_key, 0, Bytes::new()), unknown(api_key));
    }
    for (api_key, version) in [(0, 2), (0, 14), (1, 3), (18, 5), (3, -1), (3, i16::MIN)] {
        let refused = refusal(api_key, version, Bytes::new());
        assert!(
            matches!(refused, Some(DecodeError::UnsupportedVersion { .. })),
            "{api_key} {version}: {refused:?}"
        );
    }
}
