//! ApiVersions: what is served. It is answered whatever version it is asked in, as a client cannot know.

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
    codec::DecodeError,
    dispatch::{self, Asked, Begun, Closing},
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
pub(super) fn begin(mut asked: Asked) -> Result<Begun, Closing> {
    let (version, correlation_id) = (asked.client.version, asked.correlation_id);
    let answer = match asked.decode() {
        Ok(request) => {
            let error = check(version, &request);
            if error == ErrorCode::None && version >= SOFTWARE_NAMED {
                let (name, version) = (
                    &request.client_software_name,
                    &request.client_software_version,
                );
                asked.client.connection.is_software(name, version);
            }
            let epoch = asked.client.services().metadata_index();
            Answer::encode(correlation_id, version, &response(version, error, epoch))
        }
        Err(DecodeError::UnsupportedVersion { .. }) => {
            let response = response(0, ErrorCode::UnsupportedVersion, 0);
            Answer::encode(correlation_id, 0, &response)
        }
        Err(error) => return Err(error.into()),
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
    let api_keys = dispatch::answered().map(|served| {
        ApiVersion::default()
            .with_api_key(served.api_key)
            .with_min_version(served.version_min)
            .with_max_version(served.version_max)
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
