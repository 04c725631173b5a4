//! Starts the daemon: reads the command line, then hands over to the library.

use std::process::ExitCode;

use clap::Parser;
use millstream_broker::{args::Args, server};

fn main() -> ExitCode {
    match Args::try_parse() {
        Ok(args) => server::run(&args),
        Err(error) => server::answer_command_line(&error),
    }
}
