//! The daemon's life: start, serve, stop.
//!
//! ```text
//!   lock directory ─► bind ─► metadata log ─► register ─► partitions ─► listeners ─► ready
//!   SIGTERM ─► refuse new work ─► streams end ─► flush, close partitions ─► marker ─► exit 0
//! ```
//!
//! Everything up to the metadata log may refuse with two lines. A port that is busy is found before a
//! directory is created, and nothing in one is changed before all of it can be read.
//! A second signal exits at once.

mod bind;
mod descriptors;
mod figures;
mod notify;
mod partitions;
mod port_owner;
mod serve;
mod signals;
mod storage;

use std::{io::Write as _, process::ExitCode, sync::Arc};

use millstream_log::io::LogIo;

use crate::{
    allocator,
    args::Args,
    config::{
        load::{self, Loaded},
        render,
    },
    error::Refusal,
    logging,
    metrics::documentation,
    panics, version,
};

/// Exit code of a refusal.
const REFUSED: u8 = 2;

/// Runs `millstreamd` with its command line to its end.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    allocator::bound();
    if args.print_metrics {
        print(&documentation::markdown());
        return ExitCode::SUCCESS;
    }
    let io = match millstream_log::io::from_env() {
        Ok(io) => io,
        Err(error) => {
            let hint = "unset MILLSTREAM_TEST_IO, or correct it";
            return refuse(&[Refusal::new(
                format!("cannot open the file system: {error}"),
                hint,
            )]);
        }
    };
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let loaded = match load::load(args, environment, &*io) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(&problems),
    };
    if args.print_config {
        print(&render::effective(&loaded));
        return ExitCode::SUCCESS;
    }
    if args.check {
        print("configuration is valid\n");
        return ExitCode::SUCCESS;
    }
    match serve_until_stopped(loaded, io) {
        Ok(code) => code,
        Err(refusal) => refuse(&[refusal]),
    }
}

/// Answers a command line that asks for help or the version, or refuses one that cannot be read.
#[must_use]
pub fn answer_command_line(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        print(&error.render().to_string());
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let line = |prefix: &str| {
        let mut lines = text.lines().map(str::trim);
        lines.find_map(|line| line.strip_prefix(prefix).map(str::trim))
    };
    let what = line("error:").unwrap_or("command line cannot be read");
    let hint = line("tip:").unwrap_or("see millstreamd --help");
    refuse(&[Refusal::new(what, hint)])
}

fn serve_until_stopped(loaded: Loaded, io: Arc<dyn LogIo>) -> Result<ExitCode, Refusal> {
    let logger = logging::install(&loaded.config.logs);
    panics::install_hook();
    tracing::info!(
        version = version::LONG,
        pid = std::process::id(),
        "millstreamd starts"
    );
    descriptors::raise_limit();
    let server = serve::Server::start(loaded, io, logger)?;
    Ok(server.run())
}

/// Says what is wrong on standard error; nobody is there to hear that it is closed.
fn refuse(problems: &[Refusal]) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    for problem in problems {
        let _ = write!(stderr, "{}", problem.two_lines());
    }
    ExitCode::from(REFUSED)
}

/// A reader that closed the pipe has seen enough.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
