//! HTTP for operators: the first page, health, metrics. Runs on the control runtime.
//!
//! | path | answers |
//! |---|---|
//! | `/` | the first page, which asks `/api/v1/overview` again and again ([`page`]) |
//! | `/api/v1/overview` | the broker at a glance, as JSON ([`overview`]) |
//! | `/live` | 200 while the process is well enough to answer |
//! | `/ready` | 200 once every partition serves or is offline with a counted reason, 503 otherwise |
//! | `/metrics` | Prometheus' text format |

mod accept;
mod overview;
mod page;

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::{
    health::{Health, Phase},
    metrics::Metrics,
    service::Services,
    shutdown::Shutdown,
};

/// Version of the text format that the encoder writes.
const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the pages show.
#[derive(Debug, Clone)]
pub struct HttpState {
    /// For `/ready`.
    pub health: Health,
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For the first page; not there until the partitions are open.
    pub services: Arc<OnceLock<Arc<Services>>>,
}

/// Serves until `shutdown` begins and open requests are answered. `/ready` goes on saying that the
/// daemon stops until then.
///
/// # Errors
/// When the listener fails for good.
///
/// # Cancel safety
/// Dropping it breaks all connections.
pub async fn serve(
    listener: TcpListener,
    connections_max: u32,
    state: HttpState,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let listener = accept::BoundedListener::new(listener, connections_max);
    axum::serve(listener, router(state))
        .with_graceful_shutdown(async move { shutdown.begun().await })
        .await
}

fn router(state: HttpState) -> Router {
    page::routes()
        .route("/api/v1/overview", get(overview::answer))
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .with_state(state)
}

async fn live() -> &'static str {
    "live\n"
}

async fn ready(State(state): State<HttpState>) -> (StatusCode, &'static str) {
    match state.health.phase() {
        Phase::Ready => (StatusCode::OK, "ready\n"),
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

async fn metrics(State(state): State<HttpState>) -> Response {
    // Reading /proc and asking every component may wait, which the other pages must not.
    let text = tokio::task::spawn_blocking(move || state.metrics.text()).await;
    match text {
        Ok(Ok(text)) => ([(CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response(),
        Ok(Err(_)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn not_found() -> (StatusCode, &'static str) {
    (
        StatusCode::NOT_FOUND,
        "not found; there are /, /api/v1/overview, /live, /ready and /metrics\n",
    )
}
