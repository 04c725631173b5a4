//! [`Server`]: a started daemon, until it has stopped.

use std::{
    io,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use millstream_log::io::LogIo;
use millstream_proto::BrokerId;
use tokio::{net::TcpListener, runtime::Runtime, task::JoinHandle};

use super::{
    bind::Listeners,
    figures, notify,
    signals::Signals,
    storage::{Storage, absolute},
};
use crate::{
    clock::Clock,
    config::{Config, load::Loaded},
    directory::{Directory, Identity},
    error::Refusal,
    health::{Health, Phase},
    listener::http::{self, HttpState},
    logging::Logger,
    metrics::Metrics,
    quorum::{
        BrokerRegistered, LocalQuorum, MetadataImage, MetadataQuorum, MetadataRecord,
    },
    runtime,
    shutdown::Shutdown,
    version,
};

/// A started daemon.
#[derive(Debug)]
pub(super) struct Server {
    config: Arc<Config>,
    clock: Clock,
    logger: Logger,
    health: Health,
    shutdown: Shutdown,
    /// Ends the HTTP listener, which answers until the very end.
    closing: Shutdown,
    control: Runtime,
    data: Runtime,
    quorum: Arc<LocalQuorum>,
    http: JoinHandle<io::Result<()>>,
    /// Held, so that nobody else uses the directory, until the process is about to end.
    directory: Directory,
}

impl Server {
    /// Starts everything; the daemon is ready when it returns.
    ///
    /// # Errors
    /// Whatever makes it unable to serve.
    pub(super) fn start(
        loaded: Loaded,
        io: Arc<dyn LogIo>,
        logger: Logger,
    ) -> Result<Self, Refusal> {
        let clock = Clock::new();
        let config = Arc::new(loaded.config);
        let storage = Storage::open(&io, &config)?;
        let listeners = Listeners::bind(&config)?;
        let control = runtime::control().map_err(|e| no_threads(&e))?;
        let data = runtime::data(&config).map_err(|e| no_threads(&e))?;
        let health = Health::default();
        let metrics = Metrics::default();
        let closing = Shutdown::new();
        let http_state = HttpState {
            health: health.clone(),
            metrics: metrics.clone(),
        };
        let http_address = listeners.http_address;
        let http = {
            let _in_runtime = control.enter();
            let listener = TcpListener::from_std(listeners.http).map_err(|e| no_listener(&e))?;
            let connections_max = config.limits.http_connections_max;
            let shutdown = closing.clone();
            control.spawn(http::serve(listener, connections_max, http_state, shutdown))
        };
        let queued_max = usize::try_from(config.metadata.proposals_queued_max).unwrap_or(usize::MAX);
        let registration = registration(&config, &storage.identity, &storage.image, &listeners.advertised);
        let quorum = LocalQuorum::start(storage.log, storage.image, queued_max, Box::new(|_| Err(io::ErrorKind::StorageFull.into())))
            .map_err(|e| no_threads(&e))?;
        let quorum = Arc::new(quorum);
        control
            .block_on(quorum.propose(vec![registration]))
            .map_err(|error| Refusal::new(
                format!("cannot register in the metadata log: {error}"),
                "free disk space, or look at the log lines above",
            ))?;
        figures::register(&metrics, figures::Sources {
            config: Arc::clone(&config),
            clock,
            health: health.clone(),
            quorum: Arc::clone(&quorum) as Arc<dyn MetadataQuorum>,
        });
        let server = Self {
            config,
            clock,
            logger,
            health,
            shutdown: Shutdown::new(),
            closing,
            control,
            data,
            quorum,
            http,
            directory: storage.directory,
        };
        server.announce(&listeners.advertised.to_string(), &http_address.to_string());
        Ok(server)
    }

    fn announce(&self, native: &str, http: &str) {
        self.health.enter(Phase::Ready);
        notify::ready(&format!("serving on {native}"));
        tracing::info!(
            native,
            http,
            data_dir = %absolute(self.directory.path()).display(),
            took_ms = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX),
            "millstreamd is ready"
        );
    }
}
