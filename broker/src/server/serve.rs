//! [`Server`]: a started daemon, until it has stopped.

use std::{
    io,
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use millstream_log::io::LogIo;
use millstream_proto::BrokerId;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    task::{JoinError, JoinHandle},
    time::{MissedTickBehavior, interval, timeout_at},
};

use super::{
    bind::{KafkaListener, Listeners},
    figures, notify, partitions,
    signals::Signals,
    storage::{Storage, absolute},
};
use crate::{
    clock::Clock,
    config::{
        Config,
        load::{Loaded, Source},
        value::HostPort,
    },
    coordinator::{self, GroupCoordinators},
    directory::{Directory, Identity},
    error::Refusal,
    health::{Health, Phase},
    listener::{
        ConnectionCounts,
        grpc::{self, ServeError},
        http::{self, HttpState},
        kafka::{self, KafkaTraffic},
    },
    logging::Logger,
    maintenance::{CompactionStatus, Compactor, Maintenance},
    metrics::Metrics,
    partition::Partitions,
    quorum::{
        BrokerRegistered, LocalQuorum, MetadataImage, MetadataLog, MetadataQuorum, MetadataRecord,
    },
    runtime,
    service::{
        Dependencies, Services, cluster,
        configs::{ConfigSource, ValueSources},
    },
    shutdown::Shutdown,
    version,
};

/// Exit code when the daemon could not stop in order.
const UNCLEAN: u8 = 1;

/// How long open HTTP requests have when everything else is done.
const HTTP_GRACE: Duration = Duration::from_secs(1);

/// A started daemon.
#[derive(Debug)]
pub(super) struct Server {
    core: Core,
    broker_epoch: i64,
    partitions: Arc<Partitions>,
    quorum: Arc<LocalQuorum>,
    http: JoinHandle<io::Result<()>>,
    native: JoinHandle<Result<(), ServeError>>,
    kafka: JoinHandle<()>,
    signals: Signals,
    /// Held, so that nobody else uses the directory, until the process is about to end.
    directory: Directory,
}

/// What every part of the daemon hangs on.
#[derive(Debug)]
struct Core {
    config: Arc<Config>,
    sources: ValueSources,
    clock: Clock,
    logger: Logger,
    health: Health,
    metrics: Metrics,
    /// What the first page shows, once it is there: health is served before.
    shown: Arc<OnceLock<Arc<Services>>>,
    compaction: Arc<CompactionStatus>,
    shutdown: Shutdown,
    /// Ends the HTTP listener, which answers until the very end.
    closing: Shutdown,
    control: Runtime,
    data: Runtime,
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
        let core = Core::new(loaded, logger)?;
        let bind = || Listeners::bind(&core.config);
        let (storage, listeners) = Storage::open(&io, &core.config, bind)?;
        let kafka_advertised = listeners.kafka_advertised();
        let signals = {
            let _in_runtime = core.control.enter();
            Signals::listen().map_err(|error| no_system(&error))?
        };
        let http = core.serve_http(listeners.http)?;
        let path = storage.directory.path().to_path_buf();
        let directory = partitions::open_directory(&io, &path, &core.config)?;
        let partitions = partitions::replicas(directory, &core.config);
        let registered = registration(
            &core.config,
            &storage.identity,
            &storage.image,
            &listeners.advertised,
        );
        let broker_epoch = registered.broker_epoch;
        let quorum = core.start_quorum(storage.log, storage.image, &partitions)?;
        core.register(&quorum, registered)?;
        core.follow(&quorum, &partitions)?;
        let counts = Arc::new(ConnectionCounts::default());
        let groups = core.start_groups(&quorum, &partitions);
        let services = core.services(&quorum, &partitions, groups, &storage.identity);
        core.show(&services);
        let traffic = Arc::<KafkaTraffic>::default();
        core.register_figures(&quorum, &partitions, &counts, &traffic, &services);
        let kafka = core.serve_kafka(
            listeners.kafka,
            Arc::clone(&services),
            Arc::clone(&counts),
            traffic,
        )?;
        let native = core.serve_native(listeners.native, services, counts)?;
        let server = Self {
            core,
            broker_epoch,
            partitions,
            quorum,
            http,
            native,
            kafka,
            signals,
            directory: storage.directory,
        };
        server.announce(
            &listeners.advertised.to_string(),
            &kafka_advertised,
            &listeners.http_address.to_string(),
        );
        Ok(server)
    }

    fn announce(&self, native: &str, kafka: &str, http: &str) {
        self.core.health.enter(Phase::Ready);
        notify::ready(&format!("serving on {native}"));
        tracing::info!(
            native,
            kafka,
            http,
            data_dir = %absolute(self.directory.path()).display(),
            took_ms = u64::try_from(self.core.clock.elapsed().as_millis()).unwrap_or(u64::MAX),
            "millstreamd is ready"
        );
    }

    /// Serves until a signal comes, then stops in order.
    pub(super) fn run(self) -> ExitCode {
        let Self {
            core,
            broker_epoch,
            partitions,
            quorum,
            http,
            mut native,
            kafka,
            mut signals,
            directory,
        } = self;
        core.report_repeats();
        let control = core.control.handle().clone();
        let is_clean = control.block_on(async {
            let native_ended = tokio::select! {
                signal = signals.next() => {
                    tracing::info!(signal, "millstreamd stops");
                    None
                }
                ended = &mut native => Some(ended),
            };
            let deadline = core.begin_stop();
            tokio::spawn(signals.exit_at_next());
            let is_expected = match native_ended {
                None => core.end_native(native, deadline).await,
                Some(ended) => {
                    tracing::error!(?ended, "the native listener ended by itself");
                    false
                }
            };
            end_kafka(kafka, deadline - core.config.daemon.shutdown_timeout / 2).await;
            let is_closed = core
                .close(partitions, &quorum, broker_epoch, deadline)
                .await;
            core.closing.begin(core.config.daemon.shutdown_timeout);
            // Whoever never finishes a request does not hold us up for long.
            let _ = timeout_at(deadline.min(Instant::now() + HTTP_GRACE).into(), http).await;
            is_expected && is_closed
        });
        core.logger
            .report_repeats(Instant::now() + core.logger.repeat_interval());
        core.data.shutdown_background();
        core.control.shutdown_background();
        drop(directory);
        if is_clean {
            tracing::info!("millstreamd has stopped");
            ExitCode::SUCCESS
        } else {
            tracing::error!("millstreamd did not stop in order, the next start recovers");
            ExitCode::from(UNCLEAN)
        }
    }
}

/// Waits until what Kafka clients asked is answered; breaks their connections at `until`.
async fn end_kafka(mut kafka: JoinHandle<()>, until: Instant) {
    if timeout_at(until.into(), &mut kafka).await.is_err() {
        tracing::warn!("some Kafka clients did not take their answers, breaking their connections");
        kafka.abort();
    }
}

impl Core {
    fn new(loaded: Loaded, logger: Logger) -> Result<Self, Refusal> {
        let sources = loaded.sources.iter();
        Ok(Self {
            clock: Clock::new(),
            logger,
            health: Health::default(),
            metrics: Metrics::default(),
            shown: Arc::default(),
            compaction: Arc::default(),
            shutdown: Shutdown::new(),
            closing: Shutdown::new(),
            control: runtime::control().map_err(|error| no_system(&error))?,
            data: runtime::data(&loaded.config).map_err(|error| no_system(&error))?,
            sources: sources
                .map(|(path, source)| (path.clone(), shown(source)))
                .collect(),
            config: Arc::new(loaded.config),
        })
    }

    fn serve_http(
        &self,
        listener: std::net::TcpListener,
    ) -> Result<JoinHandle<io::Result<()>>, Refusal> {
        let _in_runtime = self.control.enter();
        let listener = TcpListener::from_std(listener).map_err(|error| no_system(&error))?;
        let state = HttpState {
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            services: Arc::clone(&self.shown),
        };
        let connections_max = self.config.limits.http_connections_max;
        let server = http::serve(listener, connections_max, state, self.closing.clone());
        Ok(self.control.spawn(server))
    }

    fn serve_native(
        &self,
        listener: std::net::TcpListener,
        services: Arc<Services>,
        counts: Arc<ConnectionCounts>,
    ) -> Result<JoinHandle<Result<(), ServeError>>, Refusal> {
        let _in_runtime = self.data.enter();
        let listener = TcpListener::from_std(listener).map_err(|error| no_system(&error))?;
        let control = self.control.handle().clone();
        let server = grpc::serve(listener, services, control, self.shutdown.clone(), counts);
        Ok(self.data.spawn(server))
    }

    fn serve_kafka(
        &self,
        listeners: Vec<KafkaListener>,
        services: Arc<Services>,
        counts: Arc<ConnectionCounts>,
        traffic: Arc<KafkaTraffic>,
    ) -> Result<JoinHandle<()>, Refusal> {
        let _in_runtime = self.data.enter();
        let listeners = listeners.into_iter().map(|kafka| {
            let listener = TcpListener::from_std(kafka.listener);
            listener.map(|listener| (listener, kafka.advertised))
        });
        let listeners: io::Result<Vec<_>> = listeners.collect();
        let server = kafka::serve(
            listeners.map_err(|error| no_system(&error))?,
            services,
            self.control.handle().clone(),
            self.shutdown.clone(),
            counts,
            traffic,
        );
        Ok(self.data.spawn(server))
    }

    fn start_quorum(
        &self,
        log: MetadataLog,
        image: MetadataImage,
        partitions: &Partitions,
    ) -> Result<Arc<LocalQuorum>, Refusal> {
        let queued_max = self.config.metadata.proposals_queued_max;
        let queued_max = usize::try_from(queued_max).unwrap_or(usize::MAX);
        let directory = Arc::clone(partitions.directory());
        let make_room =
            move |write: &mut dyn FnMut() -> io::Result<()>| directory.with_reserve(write);
        let quorum = LocalQuorum::start(log, image, queued_max, Box::new(make_room));
        quorum.map(Arc::new).map_err(|error| no_system(&error))
    }

    fn register(&self, quorum: &LocalQuorum, registered: BrokerRegistered) -> Result<(), Refusal> {
        let records = vec![MetadataRecord::BrokerRegistered(registered)];
        let committed = self.control.block_on(quorum.propose(records));
        committed.map(drop).map_err(|error| {
            Refusal::new(
                format!("cannot register this start: {error}"),
                "free some disk space, or look at the lines above",
            )
        })
    }

    /// Opens the partitions of the image, and follows every change from there.
    fn follow(
        &self,
        quorum: &Arc<LocalQuorum>,
        partitions: &Arc<Partitions>,
    ) -> Result<(), Refusal> {
        let changes = quorum.subscribe();
        partitions::open_all(partitions, changes.start_image(), &self.config, self.clock)?;
        let image = {
            let quorum = Arc::clone(quorum);
            move || quorum.image()
        };
        self.control
            .spawn(Arc::clone(partitions).follow(changes, image));
        let maintenance = Maintenance::new(Arc::clone(partitions), &self.config, self.clock);
        self.control.spawn(maintenance.run(self.shutdown.clone()));
        let status = Arc::clone(&self.compaction);
        let compactor = Compactor::new(Arc::clone(partitions), &self.config, self.clock, status);
        self.control.spawn(compactor.run(self.shutdown.clone()));
        Ok(())
    }

    /// Loads the coordinators of groups in the background.
    fn start_groups(
        &self,
        quorum: &Arc<LocalQuorum>,
        partitions: &Arc<Partitions>,
    ) -> Arc<GroupCoordinators> {
        let dependencies = coordinator::Dependencies {
            clock: self.clock,
            quorum: Arc::clone(quorum) as Arc<dyn MetadataQuorum>,
            partitions: Arc::clone(partitions),
            control: self.control.handle().clone(),
        };
        let groups = GroupCoordinators::new(&self.config, dependencies);
        self.control
            .spawn(Arc::clone(&groups).run(self.shutdown.clone()));
        groups
    }

    fn register_figures(
        &self,
        quorum: &Arc<LocalQuorum>,
        partitions: &Arc<Partitions>,
        counts: &Arc<ConnectionCounts>,
        traffic: &Arc<KafkaTraffic>,
        services: &Arc<Services>,
    ) {
        let sources = figures::Sources {
            config: Arc::clone(&self.config),
            clock: self.clock,
            health: self.health.clone(),
            quorum: Arc::clone(quorum) as Arc<dyn MetadataQuorum>,
            partitions: Arc::clone(partitions),
            compaction: Arc::clone(&self.compaction),
            connections: Arc::clone(counts),
            kafka: Arc::clone(traffic),
            services: Arc::clone(services),
        };
        figures::register(&self.metrics, sources);
    }

    fn services(
        &self,
        quorum: &Arc<LocalQuorum>,
        partitions: &Arc<Partitions>,
        groups: Arc<GroupCoordinators>,
        identity: &Identity,
    ) -> Arc<Services> {
        Services::new(Dependencies {
            config: Arc::clone(&self.config),
            sources: self.sources.clone(),
            clock: self.clock,
            quorum: Arc::clone(quorum) as Arc<dyn MetadataQuorum>,
            partitions: Arc::clone(partitions),
            groups,
            identity: cluster::Identity {
                cluster_id: identity.cluster_id_text(),
                directory_id: identity.directory_id_text(),
            },
        })
    }

    /// Gives the first page what it shows.
    fn show(&self, services: &Arc<Services>) {
        let throughput = Arc::clone(services.throughput());
        self.control.spawn(throughput.run(self.shutdown.clone()));
        // The daemon starts once.
        let _ = self.shown.set(Arc::clone(services));
    }

    /// Writes the counts of repeated lines when they are due.
    fn report_repeats(&self) {
        let logger = self.logger.clone();
        let period = logger.repeat_interval();
        if period.is_zero() {
            return;
        }
        self.control.spawn(async move {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                logger.report_repeats(Instant::now());
            }
        });
    }

    /// Refuses new work from now on; returns by when the daemon must be gone.
    fn begin_stop(&self) -> Instant {
        self.health.enter(Phase::Stopping);
        notify::stopping();
        let timeout = self.config.daemon.shutdown_timeout;
        self.shutdown.begin(timeout);
        self.shutdown
            .deadline()
            .unwrap_or_else(|| Instant::now() + timeout)
    }

    /// Waits for streams and calls to end, for half of the time; then breaks them.
    async fn end_native(
        &self,
        mut native: JoinHandle<Result<(), ServeError>>,
        deadline: Instant,
    ) -> bool {
        let half = deadline - self.config.daemon.shutdown_timeout / 2;
        match timeout_at(half.into(), &mut native).await {
            Ok(Ok(Ok(()))) => true,
            Ok(ended) => {
                tracing::error!(?ended, "the native listener failed");
                false
            }
            Err(_) => {
                tracing::warn!("some clients did not end their streams, breaking them");
                native.abort();
                true
            }
        }
    }

    /// Flushes and closes the partitions, then the metadata log. False when something failed, or stood still for too
    /// long.
    async fn close(
        &self,
        partitions: Arc<Partitions>,
        quorum: &LocalQuorum,
        broker_epoch: i64,
        deadline: Instant,
    ) -> bool {
        let (config, done) = (Arc::clone(&self.config), Arc::<AtomicUsize>::default());
        let closing = Arc::clone(&done);
        let close = move || partitions::close_all(&partitions, &config, broker_epoch, &closing);
        let closed = tokio::task::spawn_blocking(close);
        let is_closed = match self.while_it_gets_on(closed, &done, deadline).await {
            Some(Ok(Ok(partitions))) => {
                tracing::info!(partitions, "partitions are flushed and closed");
                true
            }
            Some(Ok(Err(error))) => {
                tracing::error!(%error, "clean-shutdown marker cannot be written");
                false
            }
            Some(Err(error)) => {
                tracing::error!(%error, "closing the partitions failed");
                false
            }
            None => {
                let timeout = self.config.daemon.shutdown_timeout;
                tracing::error!(
                    ?timeout,
                    "partitions were not flushed within shutdown_timeout"
                );
                false
            }
        };
        let until = deadline.max(Instant::now() + self.config.daemon.shutdown_timeout);
        is_closed && timeout_at(until.into(), quorum.close()).await.is_ok()
    }

    /// Waits for work that counts in `done`: beyond the deadline as long as it gets on within each
    /// `shutdown_timeout`, for ten thousand partitions take longer than one.
    async fn while_it_gets_on<T>(
        &self,
        mut work: JoinHandle<T>,
        done: &AtomicUsize,
        deadline: Instant,
    ) -> Option<Result<T, JoinError>> {
        let timeout = self.config.daemon.shutdown_timeout;
        let (mut until, mut before) = (deadline, 0);
        loop {
            if let Ok(ended) = timeout_at(until.into(), &mut work).await {
                return Some(ended);
            }
            let closed = done.load(Ordering::Relaxed);
            if closed == before {
                return None;
            }
            tracing::info!(closed, "partitions are being closed");
            notify::still_stopping(&format!("{closed} partitions are closed"), 2 * timeout);
            (until, before) = (Instant::now() + timeout, closed);
        }
    }
}

fn registration(
    config: &Config,
    identity: &Identity,
    image: &MetadataImage,
    advertised: &HostPort,
) -> BrokerRegistered {
    let broker_id = BrokerId(config.node.id);
    let last = image.broker(broker_id).map_or(0, |b| b.broker_epoch);
    BrokerRegistered {
        broker_id,
        broker_epoch: last + 1,
        directory_id: identity.directory_id,
        host: advertised.host.clone(),
        port: advertised.port,
        rack: config.node.rack.clone(),
        version: version::LONG.to_owned(),
    }
}

fn shown(source: &Source) -> ConfigSource {
    match source {
        Source::Default => ConfigSource::Default,
        Source::File(_) => ConfigSource::File,
        Source::Environment(_) => ConfigSource::Environment,
        Source::Flag(_) => ConfigSource::Flag,
    }
}

/// The system refused a thread, a signal handler or a socket's registration.
fn no_system(error: &io::Error) -> Refusal {
    Refusal::new(
        format!("cannot start: {error}"),
        "raise the limits on processes, memory or descriptors",
    )
}
