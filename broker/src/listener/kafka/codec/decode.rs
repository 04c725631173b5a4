//! [`decode`]: the only way from bytes to a request of `kafka-protocol`.

use bytes::Bytes;

use super::{
    apis::{self, ServedRequest},
    check::{Limits, check},
    error::DecodeError,
};

/// Decodes the body of a request. Strings and bytes of what is returned are slices of `body`, which is of no use
/// afterwards.
///
/// # Errors
/// What [`check`] refuses, and strings that are not UTF-8.
///
/// # Panics
/// If `T` is not the request of `api_key`: it would be decoded by another layout than was checked.
pub fn decode<T: ServedRequest>(
    api_key: i16,
    version: i16,
    body: &mut Bytes,
    limits: &Limits,
) -> Result<T, DecodeError> {
    assert_eq!(
        api_key,
        T::API_KEY,
        "a request is decoded as that of its key"
    );
    body.truncate(check(api_key, version, body, limits)?);
    let api = apis::of_version(api_key, version)?.layout.name;
    let undecodable = |reason| DecodeError::Undecodable {
        api,
        version,
        reason,
    };
    let request = T::decode(body, version).map_err(|error| undecodable(error.to_string()))?;
    match body.len() {
        0 => Ok(request),
        left => Err(undecodable(format!("{left} bytes are left over"))),
    }
}
