//! [`Client`]: who sent a request, and in which version it speaks.

use std::{net::IpAddr, sync::Arc};

use kafka_protocol::protocol::StrBytes;

use super::Gate;
use crate::service::{RequestContext, Services};

/// Who sent a request.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) gate: Arc<Gate>,
    /// Version of the request and of its answer.
    pub(super) version: i16,
    /// As it calls itself, a slice of its request.
    pub(super) client_id: Option<StrBytes>,
    /// Where it is.
    pub(super) address: IpAddr,
}

impl Client {
    pub(super) fn services(&self) -> &Arc<Services> {
        &self.gate.services
    }

    /// As it calls itself; may be empty.
    pub(super) fn id(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }

    /// What accompanies the request through the services.
    pub(super) fn context(&self) -> RequestContext {
        RequestContext::anonymous(None)
    }

    /// Its address as Kafka writes it into group metadata.
    pub(super) fn host(&self) -> String {
        format!("/{}", self.address)
    }
}
