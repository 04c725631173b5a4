//! `cargo xtask client-suites`: the integration tests that ship inside published Rust clients of Kafka, test by
//! test against a fresh Millstream.
//!
//! ```text
//!  package ──▶ copy below target/ ──▶ cargo test --no-run ──▶ each test alone ──▶ docs/kafka-compatibility.md
//! ```
//!
//! A test may be left out for a reason of [`suite::Reason`] only. The command fails when another one fails, and
//! when one that is left out is not there any more.

mod package;
mod report;
mod run;
mod socks5;
mod suite;

use std::{fs, io::ErrorKind, net::TcpListener, path::Path, process, time::Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    document::Part,
    interop::{
        self,
        broker::{Broker, free_port},
    },
    refusal::Refusal,
};
use package::Packages;
use report::Report;
use run::Run;
use socks5::Proxy;
use suite::{SUITES, Suite};

const PART: Part<'static> = Part {
    document: "docs/kafka-compatibility.md",
    command: "client-suites",
};
/// Where tests look for a broker that do not ask the environment.
const SERVER: &str = "127.0.0.1:9092";

/// Options of the run. One of all tests against Millstream is written into the document.
#[derive(Args)]
pub(crate) struct Options {
    /// Run the suite of this package only
    #[arg(long, value_name = "PACKAGE")]
    suite: Option<String>,
    /// Run tests only whose names contain one of these
    #[arg(long, value_delimiter = ',')]
    tests: Vec<String>,
    /// Run them against a broker that is there already, Apache Kafka for instance
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
}

impl Options {
    fn suites(&self) -> Result<Vec<&'static Suite>> {
        let is_wanted = |suite: &&Suite| self.suite.as_ref().is_none_or(|s| s == suite.package);
        let suites: Vec<_> = SUITES.iter().filter(is_wanted).collect();
        if suites.is_empty() {
            let packages: Vec<_> = SUITES.iter().map(|suite| suite.package).collect();
            let hint = format!("one of {}", packages.join(", "));
            return Err(Refusal::error("no suite is of that package", hint));
        }
        Ok(suites)
    }

    fn fills_document(&self) -> bool {
        self.suite.is_none() && self.tests.is_empty() && self.server.is_none()
    }
}

/// Builds the suites, runs them, prints what came of each test.
///
/// # Errors
/// When something cannot be built or started, when a test fails that is not left out, or one that is left out
/// does not exist.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let start = Instant::now();
    let suites = options.suites()?;
    let target = root.join("target/client-suites");
    let runs = target.join(format!("run-{}", process::id()));
    let packages = Packages::fetch(root, &target, &suites)?;
    let proxy = Proxy::start()?;
    let mut report = Report::default();
    for suite in suites {
        let binaries = packages.build(suite)?;
        let (brokers, servers) = match &options.server {
            Some(server) => (Vec::new(), [server.clone(), server.clone()]),
            None => {
                let brokers = brokers(root, &runs.join(suite.package), suite)?;
                let servers = brokers.each_ref().map(|broker| broker.server.clone());
                (Vec::from(brokers), servers)
            }
        };
        let run = Run {
            suite,
            folder: packages.folder(suite),
            servers,
            proxy: proxy.address.clone(),
            wanted: &options.tests,
        };
        report.add(suite, run.all(&binaries)?);
        brokers.into_iter().try_for_each(Broker::stop)?;
    }
    let text = report.text();
    println!("{text}");
    if options.fills_document() {
        PART.write(root, &text)?;
    }
    println!("client-suites: {} s", start.elapsed().as_secs());
    judge(&report.faults(), &runs)
}

/// Keeps what brokers said where there are faults.
fn judge(faults: &[String], runs: &Path) -> Result<()> {
    for fault in faults {
        println!("fault: {fault}");
    }
    if !faults.is_empty() {
        bail!(
            "{} faults; brokers' logs are in {}",
            faults.len(),
            runs.display()
        );
    }
    match fs::remove_dir_all(runs) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Fresh Millstreams: one as the suite expects it, and one on which topics are only created when that is asked for.
fn brokers(root: &Path, folder: &Path, suite: &Suite) -> Result<[Broker; 2]> {
    if let Err(error) = TcpListener::bind(SERVER) {
        let hint = "stop what listens there: tests expect their broker on the port of Kafka";
        return Err(Refusal::error(
            format!("cannot use {SERVER}: {error}"),
            hint,
        ));
    }
    let daemon = interop::daemon(root)?;
    let start = |name: &str, server: &str, settings: &[&str]| {
        Broker::millstream_at(&daemon, &folder.join(name), server, settings)
    };
    let bare = [suite.settings, &["topics.auto_create=false"]].concat();
    Ok([
        start("suite", SERVER, suite.settings)?,
        start("bare", &format!("127.0.0.1:{}", free_port()?), &bare)?,
    ])
}
