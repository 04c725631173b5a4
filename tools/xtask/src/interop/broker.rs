//! [`Broker`]: a fresh Millstream or Apache Kafka, with the same settings as far as clients notice them.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{client::KAFKA, install::Installation, program, program::Service, wire::Wire};

const READY_WAIT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);
/// Any id will do.
const KAFKA_CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// Listeners of Millstream that clients of Kafka do not use.
const OTHER_LISTENERS: &[&str] = &[
    "listeners.native_address=127.0.0.1:0",
    "listeners.http_address=127.0.0.1:0",
];
/// Settings of Millstream: groups without delay, and sessions as short as those of the clients.
const MILLSTREAM_SETTINGS: &[&str] = &[
    "groups.initial_rebalance_delay=0s",
    "groups.session_timeout=10s",
    "groups.heartbeat_interval=2s",
];

/// The same of Apache Kafka, and what a single broker needs.
const KAFKA_SETTINGS: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.consumer.min.session.timeout.ms=10000
group.consumer.session.timeout.ms=10000
group.consumer.min.heartbeat.interval.ms=2000
group.consumer.heartbeat.interval.ms=2000
";

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Millstream,
    Kafka,
}

/// A broker that runs.
pub(crate) struct Broker {
    pub(crate) kind: Kind,
    /// Where clients find it.
    pub(crate) server: String,
    pub(crate) data_dir: PathBuf,
    service: Service,
}

impl Broker {
    /// Starts a Millstream in an empty folder.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) fn millstream(daemon: &Path, folder: &Path) -> Result<Self> {
        let server = format!("127.0.0.1:{}", free_port()?);
        Self::millstream_at(daemon, folder, &server, MILLSTREAM_SETTINGS)
    }

    /// The same with nothing but its defaults.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) fn millstream_of_defaults(daemon: &Path, folder: &Path) -> Result<Self> {
        let server = format!("127.0.0.1:{}", free_port()?);
        Self::millstream_at(daemon, folder, &server, &[])
    }

    /// The same at an address, with settings.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) fn millstream_at(
        daemon: &Path,
        folder: &Path,
        server: &str,
        settings: &[&str],
    ) -> Result<Self> {
        let data_dir = emptied(folder)?.join("data");
        let mut command = Command::new(daemon);
        command.arg("--data-dir").arg(&data_dir);
        let kafka_address = format!("listeners.kafka_address={server}");
        for setting in [settings, OTHER_LISTENERS, &[&kafka_address]].concat() {
            command.args(["--set", setting]);
        }
        Self::start(
            Kind::Millstream,
            command,
            folder,
            data_dir,
            server.to_owned(),
        )
    }

    /// Starts an Apache Kafka (KRaft, one node) in an empty folder.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) fn kafka(installation: &Installation, folder: &Path) -> Result<Self> {
        let data_dir = emptied(folder)?.join("data");
        let server = format!("127.0.0.1:{}", free_port()?);
        let controller = format!("127.0.0.1:{}", free_port()?);
        let properties = folder.join("server.properties");
        let settings = format!(
            "{KAFKA_SETTINGS}\
             listeners=PLAINTEXT://{server},CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{server}\n\
             controller.quorum.voters=1@{controller}\n\
             log.dirs={}\n",
            data_dir.display()
        );
        fs::write(&properties, settings)?;
        let mut format = installation.java(KAFKA, "kafka.tools.StorageTool");
        format.args(["format", "-t", KAFKA_CLUSTER_ID, "-c"]);
        program::run(format.arg(&properties), b"").context("Kafka's storage")?;
        let mut command = installation.java_broker();
        command.arg(&properties);
        Self::start(Kind::Kafka, command, folder, data_dir, server)
    }

    fn start(
        kind: Kind,
        command: Command,
        folder: &Path,
        data_dir: PathBuf,
        server: String,
    ) -> Result<Self> {
        let service = Service::start(&command, &folder.join("broker.log"))
            .with_context(|| format!("{kind:?}"))?;
        let mut broker = Self {
            kind,
            server,
            data_dir,
            service,
        };
        broker.wait_ready()?;
        Ok(broker)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            let asked = Wire::connect(&self.server).and_then(|mut wire| wire.api_versions());
            let Err(error) = asked else {
                return Ok(());
            };
            self.check()?;
            if start.elapsed() > READY_WAIT {
                return Err(error).with_context(|| format!("{:?} is not ready", self.kind));
            }
            thread::sleep(POLL);
        }
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.service
            .check()
            .with_context(|| format!("{:?}", self.kind))
    }

    /// Has it end.
    ///
    /// # Errors
    /// When it was gone, or does not end in time.
    pub(crate) fn stop(self) -> Result<()> {
        self.service
            .stop()
            .with_context(|| format!("{:?}", self.kind))
    }
}

/// The folder, with nothing in it.
fn emptied(folder: &Path) -> Result<&Path> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(folder)?,
    }
    Ok(folder)
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
