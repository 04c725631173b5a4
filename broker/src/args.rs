//! The daemon's command line.

use std::path::PathBuf;

use clap::Parser;

/// A Kafka-like partitioned log broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Parser)]
#[command(name = "millstreamd", version = crate::version::LONG, after_help = "\
Examples:
  millstreamd
  millstreamd --data-dir /var/lib/millstream --config /etc/millstream/millstreamd.toml
  millstreamd --set listeners.native_address=0.0.0.0:9192 --set logs.format=json --check
  millstreamd --print-config --config millstreamd.toml")]
pub struct Args {
    /// Directory for all data, created when missing [default: ./millstream-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Configuration file in TOML; see config/millstreamd.toml for every key
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Sets one key, over the file and the environment (repeatable)
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,

    /// Prints every key with its value and where the value comes from, then exits
    #[arg(long)]
    pub print_config: bool,

    /// Prints every metric as Markdown, with its type, unit, labels and when to act, then exits
    #[arg(long)]
    pub print_metrics: bool,

    /// Checks the configuration and exits: 0 when it is valid, 2 otherwise
    #[arg(long)]
    pub check: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_examples_of_the_help_are_command_lines() {
        let help = Args::command().render_help().to_string();
        let examples: Vec<_> = help
            .lines()
            .filter(|line| line.starts_with("  millstreamd"))
            .collect();
        assert!(examples.len() >= 3, "{help}");
        for example in examples {
            let parsed = Args::try_parse_from(example.split_whitespace());
            assert!(parsed.is_ok(), "{example}: {parsed:?}");
        }
    }
}
