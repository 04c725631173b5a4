//! The native API (gRPC): one adapter per service of `proto/api/millstream/v1`.
//!
//! ```text
//!   accept ─► tonic ─► produce, fetch           on the data runtime, on the stream's own task
//!                   └► topics, groups, ...      on the control runtime (control.rs)
//! ```
//!
//! Adapters only translate; what is right or wrong is for the services to say. A refusal of one item
//! travels as a message; a gRPC status ends only what cannot go on: a stream that broke the protocol,
//! or a broker that shuts down.

mod cluster;
mod configs;
mod control;
mod fetch;
mod groups;
mod in_order;
mod offsets;
mod produce;
mod producer_ids;
mod topics;
mod wire;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use millstream_proto::grpc::{FILE_DESCRIPTOR_SET, v1};
use tokio::{net::TcpListener, runtime};
use tonic::{Request, Status, service::InterceptorLayer, transport::Server};

use control::Control;

use crate::{
    listener::{ConnectionCounts, accept},
    service::{
        Services,
        connections::{Connection, Protocol},
    },
    shutdown::Shutdown,
};

/// HTTP/2 window of one stream: what a sender may have on its way. Wide enough that a round trip on a
/// fast network does not stop it.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// HTTP/2 window of one connection, shared by its streams.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Largest HTTP/2 frame: large ones double the throughput of small messages.
const FRAME_BYTES_MAX: u32 = 256 << 10;
/// Streams that a client opened and reset before they were served (rapid reset, CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 32;
/// How long clients may take to close their connections once a shutdown has begun.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Bytes of request headers.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// Why the native API cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The generated description of the API cannot be read.
    #[error("gRPC reflection cannot read the description of the API: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The server ended.
    #[error("gRPC server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves the native API on `listener` until `shutdown` begins and its streams have ended. Runs on
/// the data runtime; admin calls are handed to `control`.
///
/// # Errors
/// [`ServeError`].
///
/// # Cancel safety
/// Dropping it breaks all connections.
pub async fn serve(
    listener: TcpListener,
    services: Arc<Services>,
    control: runtime::Handle,
    shutdown: Shutdown,
    counts: Arc<ConnectionCounts>,
) -> Result<(), ServeError> {
    let limits = &services.config().limits;
    let network = &services.config().network;
    let request_bytes_max = limits.request_bytes_max.as_usize();
    let control = Control::new(control, Arc::clone(&services));
    let (health_reporter, health) = tonic_health::server::health_reporter();
    report_serving(&health_reporter).await;
    let reflection_v1 = reflection().build_v1()?;
    // Older tools ask for it under this name only.
    let reflection_v1alpha = reflection().build_v1alpha()?;
    let incoming = accept::incoming(
        listener,
        Protocol::Native,
        Arc::clone(&services),
        counts,
        shutdown.clone(),
    );
    let produce = produce::ProduceAdapter::new(Arc::clone(&services), shutdown.clone());
    let fetch = fetch::FetchAdapter::new(Arc::clone(&services), shutdown.clone());
    let groups = groups::GroupAdapter::new(control.clone(), shutdown.clone());
    let router = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(limits.streams_per_connection_max)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(network.keepalive_interval))
        .http2_keepalive_timeout(Some(network.keepalive_timeout))
        .layer(InterceptorLayer::new(note_caller))
        .add_service(
            v1::produce_service_server::ProduceServiceServer::new(produce)
                .max_decoding_message_size(request_bytes_max),
        )
        .add_service(
            v1::fetch_service_server::FetchServiceServer::new(fetch)
                .max_encoding_message_size(usize::MAX),
        )
        .add_service(v1::topic_service_server::TopicServiceServer::new(
            topics::TopicAdapter::new(control.clone()),
        ))
        .add_service(v1::config_service_server::ConfigServiceServer::new(
            configs::ConfigAdapter::new(control.clone()),
        ))
        .add_service(v1::offset_service_server::OffsetServiceServer::new(
            offsets::OffsetAdapter::new(control.clone()),
        ))
        .add_service(
            v1::producer_id_service_server::ProducerIdServiceServer::new(
                producer_ids::ProducerIdAdapter::new(control.clone()),
            ),
        )
        .add_service(
            v1::group_service_server::GroupServiceServer::new(groups)
                .max_decoding_message_size(request_bytes_max)
                .max_encoding_message_size(usize::MAX),
        )
        .add_service(v1::cluster_service_server::ClusterServiceServer::new(
            cluster::ClusterAdapter::new(control),
        ))
        .add_service(health)
        .add_service(reflection_v1)
        .add_service(reflection_v1alpha);
    let grace = left_open(shutdown.clone());
    let begun = async move {
        shutdown.begun().await;
        report_not_serving(&health_reporter).await;
    };
    tokio::select! {
        ended = router.serve_with_incoming_shutdown(incoming, begun) => Ok(ended?),
        // Streams have ended by themselves; whoever still holds a connection does not hold us up.
        () = grace => Ok(()),
    }
}

/// Counts a call of its connection, and notes what the client says that it is: the first product of its
/// user agent (RFC 9110, 10.1.5).
fn note_caller(request: Request<()>) -> Result<Request<()>, Status> {
    if let Some(connection) = request.extensions().get::<Arc<Connection>>() {
        connection.asked("");
        let agent = request.metadata().get("user-agent");
        let agent = agent.and_then(|agent| agent.to_str().ok());
        if let Some(product) = agent.and_then(|agent| agent.split_whitespace().next()) {
            let (name, version) = product.split_once('/').unwrap_or((product, ""));
            connection.is_software(name, version);
        }
    }
    Ok(request)
}

/// What describes the API to tools.
fn reflection<'a>() -> tonic_reflection::server::Builder<'a> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Resolves when the shutdown has begun and clients had time to close their connections.
async fn left_open(shutdown: Shutdown) {
    shutdown.begun().await;
    let until = shutdown.deadline();
    let left = until.map_or(CLOSE_GRACE, |until| {
        until.saturating_duration_since(Instant::now())
    });
    tokio::time::sleep(CLOSE_GRACE.min(left / 2)).await;
}

macro_rules! for_each_service {
    ($reporter:expr, $report:ident) => {
        $reporter.$report::<v1::produce_service_server::ProduceServiceServer<produce::ProduceAdapter>>().await;
        $reporter.$report::<v1::fetch_service_server::FetchServiceServer<fetch::FetchAdapter>>().await;
        $reporter.$report::<v1::topic_service_server::TopicServiceServer<topics::TopicAdapter>>().await;
        $reporter.$report::<v1::config_service_server::ConfigServiceServer<configs::ConfigAdapter>>().await;
        $reporter.$report::<v1::offset_service_server::OffsetServiceServer<offsets::OffsetAdapter>>().await;
        $reporter.$report::<v1::producer_id_service_server::ProducerIdServiceServer<producer_ids::ProducerIdAdapter>>().await;
        $reporter.$report::<v1::group_service_server::GroupServiceServer<groups::GroupAdapter>>().await;
        $reporter.$report::<v1::cluster_service_server::ClusterServiceServer<cluster::ClusterAdapter>>().await;
    };
}

async fn report_serving(reporter: &tonic_health::server::HealthReporter) {
    for_each_service!(reporter, set_serving);
}

async fn report_not_serving(reporter: &tonic_health::server::HealthReporter) {
    for_each_service!(reporter, set_not_serving);
    // The server as a whole goes by the empty name.
    let status = tonic_health::ServingStatus::NotServing;
    reporter.set_service_status("", status).await;
}
