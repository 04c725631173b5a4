//! A real Apache Kafka under measurement: one KRaft process with its defaults and its start script's flags.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::free_port;

/// `KAFKA_HEAP_OPTS` and `KAFKA_JVM_PERFORMANCE_OPTS` of Kafka's own scripts.
const JVM_FLAGS: [&str; 9] = [
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];
/// An id that Kafka takes for a cluster.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";
/// Files in a broker's directory: its configuration, and its port.
const PROPERTIES: &str = "server.properties";
const PORT: &str = "port";

/// Apache Kafka's jars.
#[derive(Debug, Clone)]
pub struct KafkaJars {
    class_path: String,
}

impl KafkaJars {
    /// The jars in `target/interop`, fetched by Maven where they are not there yet.
    ///
    /// # Errors
    /// Java or Maven is missing, or Maven fails: the reason is in the error.
    pub fn install() -> Result<Self> {
        let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let cache = fs::canonicalize(repository)?.join("target/interop/kafka-4.3.1");
        let tools = repository.join("tests/interop/kafka_tools");
        let output = Command::new(tools.join("install.sh"))
            .args([&cache, &tools.join("pom.xml")])
            .arg("4.3.1")
            .output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "Kafka's jars: {errors}");
        Ok(Self {
            class_path: format!("{}/jars/*", cache.display()),
        })
    }

    /// Java with a main class of these jars.
    #[must_use]
    pub fn java(&self, flags: &[&str], main_class: &str) -> Command {
        let mut java = Command::new("java");
        java.args(flags).args(["-cp", &self.class_path, main_class]);
        java
    }
}

/// A broker process. Killed when dropped.
#[derive(Debug)]
pub struct KafkaServer {
    child: Child,
    port: u16,
}

impl KafkaServer {
    /// Makes a directory that a broker can be started on.
    ///
    /// # Errors
    /// Java is missing, or the directory cannot be formatted.
    pub fn format(jars: &KafkaJars, dir: &Path) -> Result<()> {
        let (port, properties) = (free_port()?, dir.join(PROPERTIES));
        fs::write(&properties, configuration(dir, port, free_port()?))?;
        fs::write(dir.join(PORT), port.to_string())?;
        let output = jars
            .java(&[], "kafka.tools.StorageTool")
            .args(["format", "-t", CLUSTER_ID, "-c"])
            .arg(&properties)
            .output()
            .context("cannot start java")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cannot format: {errors}");
        Ok(())
    }

    /// Starts a broker on a directory that is formatted, or that another has left. Returns at once: it
    /// answers some seconds later.
    ///
    /// # Errors
    /// Java is missing.
    pub fn start(jars: &KafkaJars, dir: &Path) -> Result<Self> {
        let port = fs::read_to_string(dir.join(PORT))?.parse()?;
        let log = fs::File::create(dir.join("server.log"))?;
        let child = jars
            .java(&JVM_FLAGS, "kafka.Kafka")
            .arg(dir.join(PROPERTIES))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start java")?;
        Ok(Self { child, port })
    }

    /// Where clients reach it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it with SIGTERM and waits.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a single node must say, and that deleted topics leave the disk to the next load within a second;
/// everything else is Kafka's default.
fn configuration(dir: &Path, port: u16, controller_port: u16) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={}
offsets.topic.replication.factor=1
log.segment.delete.delay.ms=1000
",
        dir.join("logs").display()
    )
}
