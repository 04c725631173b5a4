//! `millstream cluster clients`.

use millstream::admin::{ClientConnection, ClientProtocol};
use serde_json::{Value, json};

use crate::{
    failure::{Outcome, Result},
    output::{self, OutputFormat},
    quantity::count,
    session::Session,
    time,
};

/// Options of `cluster clients`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
SOFTWARE and VERSION are what a client says of itself: a Kafka client in its first request, another in \
the header user-agent. REQUESTS counts Kafka requests, or gRPC calls, of which a stream is one. This \
command's own connection is listed too.

Examples:
  millstream cluster clients
  millstream cluster clients --output json")]
pub(crate) struct Options {}

/// Lists the connections, the oldest first.
pub(crate) async fn run(_options: &Options, session: &Session) -> Result<Outcome> {
    let clients = session.admin().list_clients().await?;
    if session.output == OutputFormat::Json {
        let list: Vec<_> = clients.iter().map(to_json).collect();
        output::json(&list)?;
        return Ok(Outcome::Positive);
    }
    if clients.is_empty() {
        output::talk("no clients are connected");
        return Ok(Outcome::Positive);
    }
    let header = [
        "BROKER",
        "LISTENER",
        "ADDRESS",
        "CLIENT-ID",
        "SOFTWARE",
        "VERSION",
        "SINCE",
        "REQUESTS",
    ];
    output::table(&header, &[0, 7], clients.iter().map(row).collect())?;
    Ok(Outcome::Positive)
}

fn row(client: &ClientConnection) -> Vec<String> {
    let or_dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
    vec![
        client.broker_id.to_string(),
        listener(client.protocol).to_owned(),
        client.address.clone(),
        or_dash(&client.client_id),
        or_dash(&client.software_name),
        or_dash(&client.software_version),
        time::format(client.connected_at_ms),
        count(client.requests),
    ]
}

fn to_json(client: &ClientConnection) -> Value {
    json!({
        "broker_id": client.broker_id,
        "listener": listener(client.protocol),
        "address": client.address,
        "client_id": client.client_id,
        "software_name": client.software_name,
        "software_version": client.software_version,
        "connected_at_ms": client.connected_at_ms,
        "requests": client.requests,
    })
}

const fn listener(protocol: ClientProtocol) -> &'static str {
    match protocol {
        ClientProtocol::Native => "native",
        ClientProtocol::Kafka => "kafka",
        _ => "unknown",
    }
}
