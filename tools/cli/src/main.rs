//! `millstream`: the command line of a Millstream cluster.
//!
//! `millstream <noun> <verb>`; every verb is a file under [`commands`]. Data goes to standard
//! output, talk to standard error. The exit code is 0 for success, 1 for a negative answer (damage
//! found), 2 for an error; a reader that goes away (a broken pipe) is no error.

mod args;
mod commands;
mod confirm;
mod failure;
mod interrupts;
mod number;
mod output;
mod quantity;
mod session;
mod start;
mod time;

use std::process::ExitCode;

use clap::Parser;

use args::Args;
use failure::{Failure, Outcome};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return args::answer_parse_error(&error),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(commands::run(args));
            // A reader thread may still wait for a terminal: it must not hold up the exit.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Failure::new(
            format!("cannot start the async runtime: {error}"),
            "raise the limit of threads (ulimit -u)",
        )),
    };
    match result {
        Ok(Outcome::Positive) | Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Ok(Outcome::Negative) => ExitCode::from(1),
        Err(failure) => {
            output::talk(&failure.to_string());
            ExitCode::from(2)
        }
    }
}
