//! [`Installation`]: the clients, installed below `target/interop` by the package managers of their languages,
//! once for the versions that `tests/interop` names.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    client::{KAFKA, Needs},
    program::run,
};

/// Options of Java for programs that end soon: the machine is small, and each starts anew.
const JAVA_OPTIONS: &[&str] = &["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
/// Those of Kafka's own start script that matter.
const JAVA_BROKER_OPTIONS: &[&str] = &["-Xmx1g", "-Xms1g", "-XX:+UseG1GC"];

/// Where the clients are.
pub(crate) struct Installation {
    root: String,
    sources: PathBuf,
    target: PathBuf,
}

impl Installation {
    /// The place for `root`'s clients; nothing is installed yet.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: format!("{}/", root.display()),
            sources: root.join("tests/interop"),
            target: root.join("target/interop"),
        }
    }

    /// Installs what is missing.
    ///
    /// # Errors
    /// When a package manager is missing or fails, with what it said.
    pub(crate) fn install(&self, needs: &BTreeSet<Needs>) -> Result<()> {
        fs::create_dir_all(&self.target)?;
        for need in needs {
            match need {
                Needs::Kcat => self.install_kcat(),
                Needs::Python => self.install_python(),
                Needs::Java(version) => self.install_java(version),
                Needs::Node => self.install_node(),
                Needs::Go => self.install_go(),
            }
            .with_context(|| format!("cannot install {need:?}"))?;
        }
        Ok(())
    }

    /// The clients' own programs.
    pub(crate) fn sources(&self) -> &Path {
        &self.sources
    }

    /// A reason without the place of this repository, which is another on each machine.
    pub(crate) fn without_root(&self, why: &str) -> String {
        why.replace(&self.root, "")
    }

    /// Scratch space of runs.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Python with the packages of `kafka_python`.
    pub(crate) fn python(&self) -> PathBuf {
        self.target.join("kafka_python/bin/python")
    }

    /// The folder of KafkaJS and its client.
    pub(crate) fn node(&self) -> PathBuf {
        self.target.join("kafkajs")
    }

    /// The folder of compiled Go clients.
    pub(crate) fn go(&self) -> PathBuf {
        self.target.join("kafka_go")
    }

    /// A class of Apache Kafka, or of `kafka_java`, with Kafka's jars of a version.
    pub(crate) fn java(&self, version: &str, class: &str) -> Command {
        let kafka = self.kafka(version);
        java(
            JAVA_OPTIONS,
            &[kafka.join("classes"), kafka.join("jars/*")],
            class,
        )
    }

    /// Apache Kafka's broker.
    pub(crate) fn java_broker(&self) -> Command {
        java(
            JAVA_BROKER_OPTIONS,
            &[self.kafka(KAFKA).join("jars/*")],
            "kafka.Kafka",
        )
    }

    /// A class of Kafka Streams' examples or of Kafka Connect.
    pub(crate) fn java_streams_connect(&self, class: &str) -> Command {
        java(
            JAVA_OPTIONS,
            &[self.streams_connect().join("jars/*")],
            class,
        )
    }

    /// Installs Kafka Streams and Kafka Connect.
    ///
    /// # Errors
    /// When Maven is missing or fails.
    pub(crate) fn install_streams_connect(&self) -> Result<()> {
        let pom = self.sources.join("kafka_streams_connect/pom.xml");
        self.install_jars(&self.streams_connect(), &pom, KAFKA)
    }

    fn kafka(&self, version: &str) -> PathBuf {
        self.target.join(format!("kafka-{version}"))
    }

    fn streams_connect(&self) -> PathBuf {
        self.target.join("kafka_streams_connect")
    }

    fn install_kcat(&self) -> Result<()> {
        run(&Command::new(self.sources.join("kcat/install.sh")), b"").map(drop)
    }

    fn install_python(&self) -> Result<()> {
        let home = self.target.join("kafka_python");
        let requirements = self.sources.join("kafka_python/requirements.txt");
        once(&requirements, &home.join("requirements.txt"), || {
            run(Command::new("python3").args(["-m", "venv"]).arg(&home), b"")?;
            let pip = [
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ];
            let mut command = Command::new(self.python());
            command.args(pip).arg("--requirement").arg(&requirements);
            run(&command, b"").map(drop)
        })
    }

    fn install_java(&self, version: &str) -> Result<()> {
        let kafka = self.kafka(version);
        self.install_jars(&kafka, &self.sources.join("kafka_tools/pom.xml"), version)?;
        let source = self.sources.join("kafka_java/Client.java");
        once(&source, &kafka.join("Client.java"), || {
            let mut javac = Command::new("javac");
            javac
                .arg("-cp")
                .arg(kafka.join("jars/*"))
                .arg("-d")
                .arg(kafka.join("classes"))
                .arg(&source);
            run(&javac, b"").map(drop)
        })
    }

    fn install_jars(&self, home: &Path, pom: &Path, version: &str) -> Result<()> {
        let mut install = Command::new(self.sources.join("kafka_tools/install.sh"));
        run(install.arg(home).arg(pom).arg(version), b"").map(drop)
    }

    fn install_node(&self) -> Result<()> {
        let home = self.node();
        let package = self.sources.join("kafkajs/package.json");
        fs::create_dir_all(&home)?;
        // Node looks for packages beside the program.
        fs::copy(
            self.sources.join("kafkajs/client.js"),
            home.join("client.js"),
        )?;
        fs::copy(&package, home.join("package.json"))?;
        once(&package, &home.join("installed.json"), || {
            let npm = [
                "install",
                "--no-audit",
                "--no-fund",
                "--no-package-lock",
                "--silent",
            ];
            run(Command::new("npm").args(npm).current_dir(&home), b"").map(drop)
        })
    }

    fn install_go(&self) -> Result<()> {
        fs::create_dir_all(self.go())?;
        let mut go = Command::new("go");
        go.arg("build")
            .arg("-o")
            .arg(self.go())
            .args(["./franz_go", "./sarama"])
            .current_dir(self.sources.join("kafka_go"));
        run(&go, b"").map(drop)
    }
}

fn java(options: &[&str], class_path: &[PathBuf], class: &str) -> Command {
    let class_path: Vec<_> = class_path
        .iter()
        .map(|path| path.to_string_lossy())
        .collect();
    let mut command = Command::new("java");
    command
        .args(options)
        .args(["-cp", &class_path.join(":"), class]);
    command
}

/// Does the work unless `marker` says that it was done for this very `source`.
fn once(source: &Path, marker: &Path, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let wanted = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
    if fs::read(marker).is_ok_and(|done| done == wanted) {
        return Ok(());
    }
    work()?;
    fs::write(marker, wanted)?;
    Ok(())
}
