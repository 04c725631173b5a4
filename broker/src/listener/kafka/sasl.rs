//! SaslHandshake and SaslAuthenticate, as Kafka answers them on a listener without authentication.

use kafka_protocol::{
    messages::{
        SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
        SaslHandshakeResponse,
    },
    protocol::StrBytes,
};
use millstream_proto::ErrorCode;

use super::client::Client;

pub(super) async fn sasl_handshake(
    _client: Client,
    _request: SaslHandshakeRequest,
) -> SaslHandshakeResponse {
    SaslHandshakeResponse::default().with_error_code(ErrorCode::IllegalSaslState.number())
}

pub(super) async fn sasl_authenticate(
    _client: Client,
    _request: SaslAuthenticateRequest,
) -> SaslAuthenticateResponse {
    let message = "this listener has no authentication: set security.protocol to PLAINTEXT";
    SaslAuthenticateResponse::default()
        .with_error_code(ErrorCode::IllegalSaslState.number())
        .with_error_message(Some(StrBytes::from_static_str(message)))
}
