//! F34: what the layouts say against `kafka-protocol`, whose decoder was made from the same definitions by
//! others, and in other ways.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;

use super::{every_version, sample::Sample};
use crate::listener::kafka::codec::{
    Limits,
    apis::{APIS, decode_any},
    response_header_version, served,
};

/// How many different requests are made of each version.
const SAMPLES: u64 = 256;

#[test]
fn requests_decode_and_encode_to_the_same_bytes() {
    for (api, version) in every_version() {
        for seed in 0..SAMPLES {
            let sample = Sample::new(api, version, seed);
            let at = format!("{} {version}, seed {seed}", api.layout.name);
            let mut body = Bytes::from(sample.bytes.clone());
            let request = decode_any(api.layout.api_key, version, &mut body, &Limits::default())
                .unwrap_or_else(|error| panic!("{at}: {error}"));
            let mut encoded = BytesMut::new();
            request
                .encode(&mut encoded, version)
                .unwrap_or_else(|error| panic!("{at}: {error}"));
            assert_eq!(encoded, sample.bytes, "{at}");
        }
    }
}

#[test]
fn header_versions_are_those_of_the_oracle() {
    for (api, version) in every_version() {
        let key = ApiKey::try_from(api.layout.api_key).unwrap();
        let flexible = api.layout.format(version).flexible;
        assert_eq!(
            key.request_header_version(version),
            1 + i16::from(flexible),
            "{key:?} {version}"
        );
        let response = response_header_version(api.layout.api_key, version);
        assert_eq!(
            response,
            key.response_header_version(version),
            "{key:?} {version}"
        );
    }
}

#[test]
fn all_that_is_served_is_decoded_but_the_first_versions_of_produce() {
    for (served, api) in served().zip(APIS) {
        let valid = ApiKey::try_from(served.api_key).unwrap().valid_versions();
        assert_eq!(
            (served.name, served.version_max),
            (api.layout.name, api.last)
        );
        assert!(
            valid.min <= api.first && api.last <= valid.max,
            "{served:?}"
        );
        let refused = if served.name == "Produce" { 3 } else { 0 };
        assert_eq!(api.first - served.version_min, refused, "{served:?}");
    }
}

#[test]
fn apis_are_found_by_their_keys() {
    let keys: Vec<i16> = served().map(|served| served.api_key).collect();
    assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    assert!(
        !keys.contains(&71) && !keys.contains(&72),
        "telemetry is not served"
    );
}
