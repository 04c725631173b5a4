//! [`Client`]: who sent a request, and in which version it speaks. [`Peer`]: who it is from request to request.

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

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    connection: Arc<Connection>,
    /// As it called itself last.
    client_id: Arc<str>,
}

impl Peer {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            client_id: Arc::from(""),
        }
    }

    /// The client of its next request. Its id is its own, so that it does not hold the request's memory, and
    /// the same as before where it calls itself the same.
    pub(super) fn client(&mut self, gate: &Arc<Gate>, version: i16, client_id: &str) -> Client {
        self.connection.asked(client_id);
        if *self.client_id != *client_id {
            self.client_id = Arc::from(client_id);
        }
        Client {
            gate: Arc::clone(gate),
            version,
            client_id: Arc::clone(&self.client_id),
            connection: Arc::clone(&self.connection),
        }
    }
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
