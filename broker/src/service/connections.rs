//! [`Connections`]: which clients are connected to this broker, through which listener, and what they say
//! of themselves.
//!
//! A listener registers each connection that it lets in; the entry goes with the connection. What clients
//! say is cut at a length, and is for people to read: nothing is decided by it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Characters that are kept of what a client says.
const TEXT_CHARS_MAX: usize = 128;

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The native API.
    Native,
    /// Kafka's.
    Kafka,
}

/// What a client says of itself; empty where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The client id of its latest request that had one.
    pub client_id: String,
    /// Name of its software.
    pub software_name: String,
    /// Version of its software.
    pub software_version: String,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// What it speaks.
    pub protocol: Protocol,
    /// Where the client is.
    pub address: SocketAddr,
    /// When it began, in milliseconds since 1970.
    pub connected_at_ms: i64,
    requests: AtomicU64,
    said: Mutex<Said>,
}

impl Connection {
    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What the client said of itself so far.
    #[must_use]
    pub fn said(&self) -> Said {
        self.locked().clone()
    }

    /// Counts a request, and notes the client id that it carries.
    pub fn asked(&self, client_id: &str) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if !client_id.is_empty() {
            replace(&mut self.locked().client_id, client_id);
        }
    }

    /// Notes what the client says that it is.
    pub fn is_software(&self, name: &str, version: &str) {
        let mut said = self.locked();
        replace(&mut said.software_name, name);
        replace(&mut said.software_version, version);
    }

    fn locked(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most requests say what the one before has said.
fn replace(text: &mut String, said: &str) {
    let end = said.char_indices().nth(TEXT_CHARS_MAX);
    let said = end.map_or(said, |(end, _)| said.get(..end).unwrap_or_default());
    if text != said {
        said.clone_into(text);
    }
}

/// The connections that are open.
#[derive(Debug, Default)]
pub struct Connections {
    by_number: Mutex<BTreeMap<u64, Arc<Connection>>>,
    last_number: AtomicU64,
}

impl Connections {
    /// Registers a connection, until the answer is dropped.
    #[must_use]
    pub fn register(
        self: &Arc<Self>,
        protocol: Protocol,
        address: SocketAddr,
        connected_at_ms: i64,
    ) -> Registration {
        let connection = Arc::new(Connection {
            protocol,
            address,
            connected_at_ms,
            requests: AtomicU64::new(0),
            said: Mutex::default(),
        });
        let number = self.last_number.fetch_add(1, Ordering::Relaxed);
        self.locked().insert(number, Arc::clone(&connection));
        Registration {
            connections: Arc::clone(self),
            number,
            connection,
        }
    }

    /// All of them, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Connection>> {
        self.locked().values().map(Arc::clone).collect()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Connection>>> {
        self.by_number
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry, which is gone when this is dropped.
#[derive(Debug)]
pub struct Registration {
    connections: Arc<Connections>,
    number: u64,
    connection: Arc<Connection>,
}

impl Registration {
    /// The connection.
    #[must_use]
    pub const fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.locked().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_connection_is_listed_from_its_beginning_to_its_end() {
        let connections = Arc::new(Connections::default());
        let first = connections.register(Protocol::Kafka, address(1), 5);
        let second = connections.register(Protocol::Native, address(2), 6);
        let ports = || -> Vec<_> {
            let listed = connections.list().into_iter();
            listed.map(|it| it.address.port()).collect()
        };
        assert_eq!(ports(), [1, 2]);
        drop(first);
        assert_eq!(ports(), [2]);
        drop(second);
        assert_eq!(ports(), [0_u16; 0]);
    }

    #[test]
    fn what_a_client_says_last_counts_and_is_cut() {
        let connections = Arc::new(Connections::default());
        let registration = connections.register(Protocol::Kafka, address(1), 5);
        let connection = registration.connection();
        connection.asked("");
        connection.asked("reader");
        connection.asked("");
        connection.is_software("librdkafka", &"ä".repeat(1000));
        assert_eq!(connection.requests(), 3);
        let said = connection.said();
        assert_eq!(said.client_id, "reader");
        assert_eq!(said.software_name, "librdkafka");
        assert_eq!(said.software_version, "ä".repeat(TEXT_CHARS_MAX));
    }
}
