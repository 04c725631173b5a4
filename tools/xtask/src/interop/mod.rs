//! `cargo xtask interop`: real clients of Kafka against a fresh Millstream and against Apache Kafka beside it.
//!
//! ```text
//!  install ──▶ two brokers ──▶ the same tables on each ──▶ one matrix ──▶ docs/kafka-compatibility.md
//! ```
//!
//! A cell may be red only where Apache Kafka is red too; otherwise the command fails.

mod bench;
pub(crate) mod broker;
mod client;
mod install;
mod log_files;
mod matrix;
pub(crate) mod program;
mod record;
mod selection;
mod suite;
pub(crate) mod wire;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process, thread,
    time::Instant,
};

use anyhow::{Result, bail};
use clap::Args;

use crate::{build::Build, document::Part, refusal::Refusal};
use bench::Bench;
use broker::Broker;
use install::Installation;
use matrix::{Matrix, Table};
use selection::Selection;

const DOCUMENT: &str = "docs/kafka-compatibility.md";

/// Options of the run. Tables that all clients ran, on both brokers, are written into the document.
#[derive(Args)]
pub(crate) struct Options {
    /// Run these tables only: produce, consume, groups, migration, admin, tools, streams, connect
    #[arg(long, value_delimiter = ',')]
    tables: Vec<String>,
    /// Run clients only whose names contain one of these
    #[arg(long, value_delimiter = ',')]
    clients: Vec<String>,
    /// Leave Apache Kafka out
    #[arg(long)]
    without_kafka: bool,
    /// Run the part that runs with the tests
    #[arg(long, conflicts_with_all = ["tables", "clients"])]
    short: bool,
}

impl Options {
    fn selection(&self) -> Result<Selection> {
        if self.short {
            return Ok(Selection::short());
        }
        let tables = tables(&self.tables)?;
        Ok(Selection::of(tables, &self.clients, !self.without_kafka))
    }

    /// Whether its tables have every client and both brokers.
    fn fills_tables(&self) -> bool {
        self.clients.is_empty() && !self.without_kafka && !self.short
    }
}

/// Installs clients, runs them against both brokers, prints the matrix.
///
/// # Errors
/// When something cannot be installed or started, or a cell is red on Millstream only.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let start = Instant::now();
    let selection = options.selection()?;
    let matrix = run_selection(root, &selection, &daemon(root)?)?;
    for table in &selection.tables {
        let text = matrix.table(*table);
        println!("{text}");
        if options.fills_tables() {
            let command = &format!("interop --tables {}", table.name());
            let part = Part {
                document: DOCUMENT,
                command,
            };
            part.write(root, &text)?;
        }
    }
    let (green, red) = matrix.counts();
    println!(
        "interop: {green} cells are green and {red} red, in {:.0} s",
        start.elapsed().as_secs_f64()
    );
    judge(&matrix)
}

/// Runs the part for the tests, where every cell must be green, as Kafka is not beside it; answers how many
/// cells are green and how many are red.
///
/// # Errors
/// When something cannot be installed or started.
pub(crate) fn run_short(root: &Path, daemon: &Path) -> Result<(u64, u64)> {
    Ok(run_selection(root, &Selection::short(), daemon)?.counts())
}

/// Installs what the selection needs and runs it.
fn run_selection(root: &Path, selection: &Selection, daemon: &Path) -> Result<Matrix> {
    let installation = Installation::new(root);
    installation.install(&selection.needs())?;
    let folder = installation.target().join(format!("run-{}", process::id()));
    let mut brokers = vec![Broker::millstream(daemon, &folder.join("millstream"))?];
    if selection.with_kafka {
        brokers.push(Broker::kafka(&installation, &folder.join("kafka"))?);
    }
    let matrix = run_all(brokers, &installation, selection)?;
    if matrix.faults().is_empty() {
        fs::remove_dir_all(&folder)?;
    } else {
        println!("what brokers and programs said is in {}", folder.display());
    }
    Ok(matrix)
}

/// Runs the selection against all brokers at once.
fn run_all(
    brokers: Vec<Broker>,
    installation: &Installation,
    selection: &Selection,
) -> Result<Matrix> {
    let results = thread::scope(|scope| {
        let runs: Vec<_> = brokers
            .into_iter()
            .map(|broker| {
                let bench = Bench::new(broker, installation, selection);
                scope.spawn(|| bench.run())
            })
            .collect();
        let results = runs
            .into_iter()
            .map(|run| run.join().expect("cells do not panic"));
        results.collect::<Result<Vec<_>>>()
    })?;
    let mut matrix = Matrix::default();
    for (kind, outcomes) in results {
        for (place, outcome) in outcomes {
            matrix.add(kind, place, outcome);
        }
    }
    Ok(matrix)
}

/// `MILLSTREAMD`, else the release daemon, which is built.
///
/// # Errors
/// When the build fails.
pub(crate) fn daemon(root: &Path) -> Result<PathBuf> {
    if let Some(daemon) = env::var_os("MILLSTREAMD") {
        return Ok(daemon.into());
    }
    let build = Build::Release;
    let status = build.command(root).status()?;
    if !status.success() {
        bail!("the build failed: {status}");
    }
    Ok(build.binaries(root).daemon)
}

fn tables(names: &[String]) -> Result<Vec<Table>> {
    if names.is_empty() {
        return Ok(Table::ALL.to_vec());
    }
    let table = |name: &String| {
        let mut all = Table::ALL.into_iter();
        all.find(|table| table.name() == name).ok_or_else(|| {
            let hint = Table::ALL.map(Table::name).join(", ");
            Refusal::error(format!("no table is named {name}"), hint)
        })
    };
    names.iter().map(table).collect()
}

fn judge(matrix: &Matrix) -> Result<()> {
    let faults = matrix.faults();
    for (place, why) in &faults {
        let name = place.table.name();
        println!("fault: {name}, {}, {}: {why}", place.row, place.column);
    }
    if !faults.is_empty() {
        bail!("{} cells are red on Millstream only", faults.len());
    }
    Ok(())
}
