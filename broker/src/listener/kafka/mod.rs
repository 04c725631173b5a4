//! The Kafka listeners: any Kafka client, on the same services as the native API.
//!
//! ```text
//!   accept ─► connection ─► frames ─► dispatch ─► produce, fetch     on the data runtime
//!                 ▲                      └──────► metadata, ...      on the control runtime
//!                 └───── answers, in the order of their requests ◄───┘
//! ```
//!
//! Adapters only translate; what is right or wrong is for the services to say. What is hot (produce and
//! fetch) is read and written by hand, everything else by the crate `kafka-protocol`, whose
//! input `codec` has bounded before.

mod answer;
mod api_versions;
mod authorized;
mod client;
mod cluster;
pub mod codec;
mod configs;
mod connection;
mod dispatch;
mod error_codes;
mod fetch;
pub mod frames;
mod groups;
mod log_dirs;
mod metadata;
mod offsets;
mod produce;
mod producer_ids;
mod sasl;
mod topics;
mod traffic;
mod wire;

use std::sync::Arc;

use futures_util::{StreamExt, stream::SelectAll};
use tokio::{net::TcpListener, runtime, task::JoinSet};

pub use traffic::KafkaTraffic;

use crate::{
    config::value::HostPort,
    listener::{ConnectionCounts, accept},
    service::{Services, connections::Protocol},
    shutdown::Shutdown,
};

/// What all connections of one listener share.
#[derive(Debug)]
struct Gate {
    services: Arc<Services>,
    /// Where everything runs that is neither produce nor fetch.
    control: runtime::Handle,
    /// Where clients of this listener reach this broker.
    advertised: HostPort,
    /// Those of all listeners.
    fetch_sessions: Arc<fetch::Sessions>,
    traffic: Arc<KafkaTraffic>,
}

/// Serves Kafka clients on `listeners`, each with the address that its clients are told, until `shutdown`
/// begins and what they asked is answered. Runs on the data runtime; all but produce and fetch is handed to
/// `control`.
///
/// # Cancel safety
/// Dropping it breaks all connections.
pub async fn serve(
    listeners: Vec<(TcpListener, HostPort)>,
    services: Arc<Services>,
    control: runtime::Handle,
    shutdown: Shutdown,
    counts: Arc<ConnectionCounts>,
    traffic: Arc<KafkaTraffic>,
) {
    let sessions_max = services.config().limits.fetch_sessions_max;
    let fetch_sessions = Arc::new(fetch::Sessions::new(sessions_max));
    let mut incoming = SelectAll::new();
    for (listener, advertised) in listeners {
        let gate = Arc::new(Gate {
            services: Arc::clone(&services),
            control: control.clone(),
            advertised,
            fetch_sessions: Arc::clone(&fetch_sessions),
            traffic: Arc::clone(&traffic),
        });
        let accepted = accept::incoming(
            listener,
            Protocol::Kafka,
            Arc::clone(&services),
            Arc::clone(&counts),
            shutdown.clone(),
        );
        let accepted = accepted.map(move |stream| (stream, Arc::clone(&gate)));
        incoming.push(Box::pin(accepted));
    }
    let mut connections = JoinSet::new();
    while let Some((Ok(stream), gate)) = incoming.next().await {
        // Those that have ended are forgotten.
        while connections.try_join_next().is_some() {}
        connections.spawn(connection::serve(stream, gate, shutdown.clone()));
    }
    while connections.join_next().await.is_some() {}
}
