//! ApiVersions: what is served. It is answered whatever version it is asked in, as a client cannot know.

use std::ops::RangeInclusive;

use kafka_protocol::{
    messages::{
        ApiVersionsRequest, ApiVersionsResponse,
        api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey},
    },
    protocol::StrBytes,
};
use millstream_proto::ErrorCode;

use super::{
    answer::Answer,
    codec,
    dispatch::{Asked, Begun, Closing, SERVED},
};

/// Features that the broker has: name, highest level, and the level in force. Transactions are none of them
/// yet, so `transaction.version` is not named.
const FEATURES: &[(&str, i16, i16)] = &[("group.version", 1, 1)];
/// The first version in which a feature whose lowest level is 0 may be listed: older clients cannot decode
/// it (KAFKA-17011).
const FEATURES_FROM_ZERO: i16 = 4;
/// The first version in which the client says what it is.
const SOFTWARE_NAMED: i16 = 3;

/// Answers at once.
pub(super) fn begin(asked: Asked, served: RangeInclusive<i16>) -> Result<Begun, Closing> {
    let Asked {
        client,
        api,
        correlation_id,
        mut body,
    } = asked;
    let version = client.version;
    let answer = if served.contains(&version) {
        let request: ApiVersionsRequest = codec::decode(api, version, &mut body)?;
        let error = check(version, &request);
        let response = response(version, error, client.services().metadata_index());
        Answer::encode(correlation_id, version, &response)
    } else {
        let response = response(0, ErrorCode::UnsupportedVersion, 0);
        Answer::encode(correlation_id, 0, &response)
    };
    Ok(Begun {
        answering: Box::pin(async move { answer.map(Some) }),
        is_exclusive: true,
    })
}

/// Whether the client's name and version are ones, as KIP-511 defines them.
fn check(version: i16, request: &ApiVersionsRequest) -> ErrorCode {
    let is_valid = |text: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|byte| inner(*byte))
    };
    let is_named =
        is_valid(&request.client_software_name) && is_valid(&request.client_software_version);
    if version < SOFTWARE_NAMED || is_named {
        ErrorCode::None
    } else {
        ErrorCode::InvalidRequest
    }
}

fn response(version: i16, error: ErrorCode, epoch: i64) -> ApiVersionsResponse {
    let api_keys = SERVED.iter().map(|(api, min, max)| {
        ApiVersion::default()
            .with_api_key(*api as i16)
            .with_min_version(*min)
            .with_max_version(*max)
    });
    let response = ApiVersionsResponse::default()
        .with_error_code(error.number())
        .with_api_keys(api_keys.collect());
    if version < SOFTWARE_NAMED {
        return response;
    }
    let supported = FEATURES.iter().map(|(name, max, _)| {
        SupportedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_max_version(*max)
    });
    let finalized = FEATURES.iter().map(|(name, _, level)| {
        FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_min_version_level(*level)
            .with_max_version_level(*level)
    });
    let response = response
        .with_finalized_features_epoch(epoch)
        .with_finalized_features(finalized.collect());
    if version < FEATURES_FROM_ZERO {
        return response;
    }
    response.with_supported_features(supported.collect())
}
