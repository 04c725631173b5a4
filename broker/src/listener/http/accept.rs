//! [`BoundedListener`]: accepts at most so many HTTP connections, and closes idle ones.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use crate::listener::watched::{Patience, Watched};

/// A connection that sends and takes nothing for this long is closed; also bounds half-sent requests.
const IDLE: Patience = Patience {
    limit: Duration::from_secs(60),
    counts_reads: true,
    reason: "nothing was sent or taken for a minute",
};

/// How long nothing is accepted after the system refused to.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Further connections wait in the kernel's queue until one closes.
#[derive(Debug)]
pub(super) struct BoundedListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener, connections_max: u32) -> Self {
        let places = usize::try_from(connections_max).unwrap_or(usize::MAX);
        Self {
            listener,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
        }
    }
}

impl axum::serve::Listener for BoundedListener {
    type Io = Watched<OwnedSemaphorePermit>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => return (Watched::new(stream, place, IDLE), address),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept HTTP connections, trying again");
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
