//! Requests of Kafka clients.

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, RequestKind};
use millstream_broker::listener::kafka::codec::{Limits, ProduceRequest, RequestHeader, check};

/// A frame without its length: what the check lets pass, the decoder reads to its end or refuses for a
/// text that is none. What is read by hand is refused where the check refuses it.
pub(crate) fn request(input: &[u8]) {
    let Ok(header) = RequestHeader::parse(input) else {
        return;
    };
    let mut body = Bytes::copy_from_slice(input).split_off(header.size_bytes);
    let (api_key, version) = (header.api_key, header.api_version);
    let limits = Limits::default();
    let checked = check(api_key, version, &body, &limits);
    let Ok(key) = ApiKey::try_from(api_key) else {
        assert!(checked.is_err(), "a key that nobody knows is served");
        return;
    };
    if key == ApiKey::Produce {
        let read = ProduceRequest::read(body.clone(), version, &limits);
        let checked = checked.clone().map(drop);
        assert_eq!(read.map(drop), checked, "produce is read as it is checked");
    }
    let behind = checked.map(|size_bytes| body.len() - size_bytes);
    if let Ok(behind) = behind
        && RequestKind::decode(key, &mut body, version).is_ok()
    {
        assert_eq!(body.len(), behind, "what is behind a request is left over");
    }
}
