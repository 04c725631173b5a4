//! Accepting connections: bounded in total and per address, and backing off when descriptors run out.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, stream};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::server::Connected;

use crate::{
    config::Config,
    listener::watched::{Patience, Watched},
    service::{
        Services,
        connections::{Connection, Protocol, Registration},
    },
    shutdown::Shutdown,
};

/// Probes of a silent connection within `network.keepalive_timeout`.
const KEEPALIVE_PROBES: u32 = 4;

/// How long nothing is accepted after the system refused to (no descriptors, no memory).
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Connections of clients, now and so far, whatever protocol they speak.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    open: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionCounts {
    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that were let in so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that were refused so far because of a limit.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Lets a connection in, or says which limit forbids it.
    fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        limits: &AcceptLimits,
    ) -> Result<Admission, &'static str> {
        let mut by_address = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let refused = if self.open() >= limits.connections_max {
            Some("limits.connections_max")
        } else if by_address.get(&address).copied().unwrap_or(0) >= limits.per_address_max {
            Some("limits.connections_per_address_max")
        } else {
            None
        };
        if let Some(limit) = refused {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(limit);
        }
        *by_address.entry(address).or_default() += 1;
        self.open.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(Admission {
            counts: Arc::clone(self),
            address,
        })
    }
}

/// What a connection holds until it is dropped: its place among those allowed, and its entry in the list.
#[derive(Debug)]
pub(in crate::listener) struct Place {
    _admission: Admission,
    registration: Registration,
}

impl Place {
    /// The connection, to say what becomes known of it.
    pub(in crate::listener) const fn connection(&self) -> &Arc<Connection> {
        self.registration.connection()
    }
}

/// gRPC hands it to every call of the connection.
impl Connected for Watched<Place> {
    type ConnectInfo = Arc<Connection>;

    fn connect_info(&self) -> Arc<Connection> {
        Arc::clone(self.place().connection())
    }
}

/// A connection's place among those allowed; given back when it is dropped.
#[derive(Debug)]
struct Admission {
    counts: Arc<ConnectionCounts>,
    address: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        let mut by_address = self
            .counts
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[derive(Debug, Clone)]
struct AcceptLimits {
    connections_max: usize,
    per_address_max: usize,
    send_stall: Duration,
    keepalive: TcpKeepalive,
}

impl AcceptLimits {
    fn new(config: &Config) -> Self {
        let as_count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            connections_max: as_count(config.limits.connections_max),
            per_address_max: as_count(config.limits.connections_per_address_max),
            send_stall: config.network.send_stall_timeout,
            keepalive: TcpKeepalive::new()
                .with_time(config.network.keepalive_interval)
                .with_interval(config.network.keepalive_timeout / KEEPALIVE_PROBES)
                .with_retries(KEEPALIVE_PROBES),
        }
    }
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
    protocol: Protocol,
    services: Arc<Services>,
    counts: Arc<ConnectionCounts>,
    limits: AcceptLimits,
}

/// The connections to serve, until shutdown begins.
pub(in crate::listener) fn incoming(
    listener: TcpListener,
    protocol: Protocol,
    services: Arc<Services>,
    counts: Arc<ConnectionCounts>,
    shutdown: Shutdown,
) -> impl Stream<Item = io::Result<Watched<Place>>> + use<> {
    let door = Door {
        listener,
        protocol,
        limits: AcceptLimits::new(services.config()),
        services,
        counts,
    };
    stream::unfold(door, move |door| {
        let shutdown = shutdown.clone();
        async move {
            tokio::select! {
                biased;
                () = shutdown.begun() => None,
                connection = door.accept() => Some((Ok(connection), door)),
            }
        }
    })
}

impl Door {
    /// The next connection that the limits allow.
    async fn accept(&self) -> Watched<Place> {
        loop {
            let (stream, address) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Some errors are the peer's (reset before accept), others last until something
                    // closes; telling them apart is not worth a mistake.
                    tracing::warn!(%error, "cannot accept connections, trying again");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            if let Some(connection) = self.admit(stream, address) {
                return connection;
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) -> Option<Watched<Place>> {
        let admission = match self.counts.admit(address.ip(), &self.limits) {
            Ok(admission) => admission,
            Err(limit) => {
                tracing::warn!(peer = %address, limit, "connection refused: limit reached");
                return None;
            }
        };
        // Without the one a small acknowledgement waits for the peer's delayed ACK of the one before,
        // without the other a connection whose peer has lost power stays for ever.
        let socket = SockRef::from(&stream);
        let set = socket
            .set_tcp_nodelay(true)
            .and_then(|()| socket.set_tcp_keepalive(&self.limits.keepalive));
        if let Err(error) = set {
            tracing::debug!(peer = %address, %error, "connection is gone already");
            return None;
        }
        let patience = Patience {
            limit: self.limits.send_stall,
            counts_reads: false,
            reason: "peer took no byte within network.send_stall_timeout",
        };
        let connections = self.services.connections();
        let place = Place {
            _admission: admission,
            registration: connections.register(self.protocol, address, self.services.wall_ms()),
        };
        Some(Watched::new(stream, place, patience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AcceptLimits = AcceptLimits {
        connections_max: 3,
        per_address_max: 2,
        send_stall: Duration::from_secs(1),
        keepalive: TcpKeepalive::new(),
    };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn connections_are_bounded_in_total_and_per_address() {
        let counts = Arc::new(ConnectionCounts::default());
        let first = counts.admit(address(1), &LIMITS).expect("first");
        let _second = counts.admit(address(1), &LIMITS).expect("second");
        let refused = counts.admit(address(1), &LIMITS).expect_err("third of one");
        assert_eq!(refused, "limits.connections_per_address_max");
        let _third = counts.admit(address(2), &LIMITS).expect("another address");
        let refused = counts.admit(address(3), &LIMITS).expect_err("fourth");
        assert_eq!(refused, "limits.connections_max");
        drop(first);
        let _again = counts.admit(address(1), &LIMITS).expect("a place is free");
        assert_eq!((counts.open(), counts.refused()), (3, 2));
    }
}
