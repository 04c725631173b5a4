//! Requests from bytes.

use bytes::{Buf as _, Bytes};
use kafka_protocol::{
    messages::{ApiKey, RequestHeader as Header},
    protocol::Decodable,
};

/// Why bytes are no request.
#[derive(Debug, thiserror::Error)]
#[error("malformed request: {0}")]
pub(super) struct DecodeError(String);

impl DecodeError {
    /// The bytes end early, or are something else.
    pub(super) fn cut(message: &str) -> Self {
        Self(format!("{message} request does not follow its schema"))
    }
}

/// The header of a request.
#[derive(Debug)]
pub(super) struct RequestHeader {
    pub(super) api_key: i16,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    pub(super) client_id: Option<String>,
}

impl RequestHeader {
    pub(super) fn parse(frame: &mut Bytes) -> Result<Self, DecodeError> {
        let wrong = |error: &dyn std::fmt::Display| DecodeError(error.to_string());
        let mut start = frame.clone();
        let api_key = start.try_get_i16().map_err(|error| wrong(&error))?;
        let version = start.try_get_i16().map_err(|error| wrong(&error))?;
        let header_version =
            ApiKey::try_from(api_key).map_or(1, |api| api.request_header_version(version));
        let header = Header::decode(frame, header_version).map_err(|error| wrong(&error))?;
        Ok(Self {
            api_key,
            version,
            correlation_id: header.correlation_id,
            client_id: header.client_id.map(|id| id.to_string()),
        })
    }
}

/// Decodes the body of a request.
pub(super) fn decode<T: Decodable>(
    _api: ApiKey,
    version: i16,
    body: &mut Bytes,
) -> Result<T, DecodeError> {
    T::decode(body, version).map_err(|error| DecodeError(format!("{error:#}")))
}
