//! A broker inside the test: everything of the daemon below `server`, on a directory of the test.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use millstream_broker::{
    clock::Clock,
    config::Config,
    coordinator::{self, GroupCoordinators},
    listener::{ConnectionCounts, grpc},
    partition::{AppendGate, Partitions, Replica},
    quorum::{
        BrokerRegistered, LocalQuorum, MetadataLog, MetadataLogOptions, MetadataQuorum,
        MetadataRecord,
    },
    service::{Dependencies, Services, cluster::Identity},
    shutdown::Shutdown,
};
use millstream_log::{
    DataDirectory, LogLimits,
    io::{DiskIo, LogIo},
    recovery_point::BootId,
};
use millstream_proto::BrokerId;
use tokio::{net::TcpListener, task::JoinHandle};

pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) counts: Arc<ConnectionCounts>,
    pub(crate) groups: Arc<GroupCoordinators>,
    pub(crate) services: Arc<Services>,
    directory: Arc<DataDirectory>,
    quorum: Arc<LocalQuorum>,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
    following: JoinHandle<()>,
    coordinating: JoinHandle<()>,
}

impl Broker {
    pub(crate) async fn start(path: &Path) -> Self {
        Self::start_with(path, Arc::new(DiskIo), Config::default()).await
    }

    pub(crate) async fn start_with(path: &Path, io: Arc<dyn LogIo>, config: Config) -> Self {
        let path = path.to_owned();
        let started = tokio::task::spawn_blocking(move || open(&path, io, &config));
        let (config, directory, quorum, partitions) = started.await.expect("opens");
        let following = tokio::spawn({
            let (quorum, partitions) = (Arc::clone(&quorum), Arc::clone(&partitions));
            let changes = quorum.subscribe();
            async move { partitions.follow(changes, move || quorum.image()).await }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        register(&quorum, address).await;
        let clock = Clock::new();
        let shutdown = Shutdown::new();
        let groups = GroupCoordinators::new(
            &config,
            coordinator::Dependencies {
                clock,
                quorum: Arc::clone(&quorum) as Arc<dyn MetadataQuorum>,
                partitions: Arc::clone(&partitions),
                control: tokio::runtime::Handle::current(),
            },
        );
        let coordinating = tokio::spawn(Arc::clone(&groups).run(shutdown.clone()));
        let services = Services::new(Dependencies {
            config: Arc::new(config),
            sources: Default::default(),
            clock,
            quorum: Arc::clone(&quorum) as Arc<dyn MetadataQuorum>,
            partitions: Arc::clone(&partitions),
            groups: Arc::clone(&groups),
            identity: Identity {
                cluster_id: "test-cluster".into(),
                directory_id: "test-directory".into(),
            },
        });
        let counts = Arc::new(ConnectionCounts::default());
        let serving = tokio::spawn({
            let (shutdown, counts) = (shutdown.clone(), Arc::clone(&counts));
            let services = Arc::clone(&services);
            let control = tokio::runtime::Handle::current();
            async move {
                grpc::serve(listener, services, control, shutdown, counts)
                    .await
                    .expect("serves");
            }
        });
        Self {
            address,
            partitions,
            counts,
            groups,
            services,
            directory,
            quorum,
            shutdown,
            serving,
            following,
            coordinating,
        }
    }

    /// Begins the shutdown; streams end from here on.
    pub(crate) fn begin_shutdown(&self) {
        self.shutdown.begin(Duration::from_secs(5));
    }

    /// Stops as the daemon does on SIGTERM.
    pub(crate) async fn stop(self) {
        self.begin_shutdown();
        self.serving.await.expect("server ends");
        self.coordinating.await.expect("coordinators end");
        self.quorum.close().await;
        self.following.await.expect("follower ends");
        let (partitions, directory) = (self.partitions, self.directory);
        tokio::task::spawn_blocking(move || {
            let closed = partitions.close_all(2, &AtomicUsize::new(0));
            directory.shut_down(1, &closed).expect("marker");
        })
        .await
        .expect("closes");
    }

    /// Waits until every partition's recovery point is at its end.
    pub(crate) async fn settled(&self) {
        let is_settled = |replica: Arc<Replica>| {
            let positions = replica.log().expect("serves").positions();
            positions.recovery_point == positions.log_end
        };
        while !self.partitions.all().into_iter().all(is_settled) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops without closing a partition: the next start recovers, as after a kill.
    pub(crate) async fn stop_unclean(self) {
        self.begin_shutdown();
        self.serving.await.expect("server ends");
        self.coordinating.await.expect("coordinators end");
        self.quorum.close().await;
        self.following.await.expect("follower ends");
        let directory = self.directory;
        tokio::task::spawn_blocking(move || directory.stop())
            .await
            .expect("threads end");
    }
}

type Opened = (
    Config,
    Arc<DataDirectory>,
    Arc<LocalQuorum>,
    Arc<Partitions>,
);

fn open(path: &Path, io: Arc<dyn LogIo>, config: &Config) -> Opened {
    let limits = LogLimits {
        disk_reserve_bytes: 1 << 20,
        unflushed_bytes_max: config.limits.unflushed_bytes_max.0,
        tail_cache_bytes_max: config.limits.tail_cache_bytes_max.as_usize(),
        ..LogLimits::default()
    };
    let directory =
        DataDirectory::open(Arc::clone(&io), path, limits, BootId([7; 16])).expect("directory");
    let metadata = path.join("metadata");
    if io.metadata(&metadata).is_err() {
        MetadataLog::create(io.as_ref(), &metadata).expect("metadata log");
    }
    let options = MetadataLogOptions {
        preallocate_bytes: 1 << 16,
        snapshot_bytes: 1 << 20,
    };
    let (log, opened) = MetadataLog::open(io, &metadata, options).expect("metadata log");
    let quorum = LocalQuorum::start(log, opened.image, 64, Box::new(|write| write()));
    let quorum = Arc::new(quorum.expect("thread"));
    let gate = AppendGate::new(config.log.append_stall);
    let defaults = config.topic_config.clone();
    let partitions = Partitions::new(Arc::clone(&directory), BrokerId(1), defaults, gate);
    partitions
        .open_all(&quorum.image(), 2, Clock::new().wall_ms())
        .expect("partitions");
    (config.clone(), directory, quorum, Arc::new(partitions))
}

async fn register(quorum: &LocalQuorum, address: SocketAddr) {
    let image = quorum.image();
    let last = image
        .broker(BrokerId(1))
        .map_or(0, |broker| broker.broker_epoch);
    let registered = BrokerRegistered {
        broker_id: BrokerId(1),
        broker_epoch: last + 1,
        directory_id: [9; 16],
        host: address.ip().to_string(),
        port: address.port(),
        rack: String::new(),
        version: "test".into(),
    };
    let record = MetadataRecord::BrokerRegistered(registered);
    quorum.propose(vec![record]).await.expect("registered");
}
