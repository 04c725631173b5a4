//! [`Client`]: who sent a request, and in which version it speaks.

use std::sync::Arc;

use super::Gate;
use crate::service::{RequestContext, Services, connections::Connection};

/// Who sent a request.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) gate: Arc<Gate>,
    /// Version of the request and of its answer.
    pub(super) version: i16,
    /// As it calls itself; may be empty.
    pub(super) client_id: Arc<str>,
    /// What it came through.
    pub(super) connection: Arc<Connection>,
}

impl Client {
    pub(super) fn services(&self) -> &Arc<Services> {
        &self.gate.services
    }

    /// What accompanies the request through the services.
    pub(super) fn context(&self) -> RequestContext {
        RequestContext::anonymous(None)
    }

    /// Its address as Kafka writes it into group metadata.
    pub(super) fn host(&self) -> String {
        format!("/{}", self.connection.address.ip())
    }
}
