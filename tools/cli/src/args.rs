//! [`Args`]: the whole command line, and what is said where it cannot be parsed.
//!
//! Nouns and what every command takes are here, verbs and their options with the commands. The tests
//! hold every help text and every refusal of a command line word for word.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::{
    commands::{
        bench, cluster, completions, configs, consume, groups, log, man, offsets, produce, topics,
    },
    failure::Failure,
    output::{self, OutputFormat},
};

const EXAMPLES: &str = "\
Examples:
  millstream topics create flights --partitions 8 --config retention.ms=-1
  zcat flights.csv.gz | millstream produce flights --format csv --key tailnum
  millstream consume flights --from 2013-01-31T20:00:00Z --limit 10
  millstream consume flights --group readers
  millstream groups describe readers --output json";

/// Administers a Millstream cluster, and produces and consumes records
#[derive(Debug, Parser)]
#[command(name = "millstream", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Addresses of brokers, separated by commas
    #[arg(
        long,
        env = "MILLSTREAM_SERVER",
        default_value = "127.0.0.1:9192",
        value_name = "HOST:PORT",
        hide_env_values = true,
        global = true
    )]
    pub(crate) server: String,
    /// How data is written to standard output
    #[arg(long, value_enum, default_value = "table", global = true)]
    pub(crate) output: OutputFormat,
}

/// What a command is about.
#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    /// Create, list, describe, alter and delete topics
    #[command(subcommand)]
    Topics(topics::Verb),
    /// Write records to a topic, from a file or standard input
    Produce(produce::Options),
    /// Read records of a topic, alone or as a member of a group
    Consume(consume::Options),
    /// List, describe and delete consumer groups
    #[command(subcommand)]
    Groups(groups::Verb),
    /// List, commit, reset and delete committed offsets of groups
    #[command(subcommand)]
    Offsets(offsets::Verb),
    /// Show and change configurations of topics and brokers
    #[command(subcommand)]
    Configs(configs::Verb),
    /// Show the cluster, its brokers and their data directories
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// Look into log files offline, without a broker
    #[command(subcommand)]
    Log(log::Verb),
    /// Measure throughput and latency of a cluster
    #[command(subcommand)]
    Bench(bench::Verb),
    /// Print a completion script for a shell
    Completions(completions::Options),
    /// Print the manual page
    Man(man::Options),
}

/// Answers a command line that is no command: help and version on standard output, a mistake in
/// two lines on standard error.
pub(crate) fn answer_parse_error(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        // clap tells a missing verb only where no option has a value, also from the environment.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            let mut command = command_of(std::env::args().skip(1));
            output::talk(&command.render_help().to_string());
            ExitCode::from(2)
        }
        _ => {
            let words = std::env::args().skip(1);
            output::talk(&parse_failure(error, words).to_string());
            ExitCode::from(2)
        }
    }
}

/// clap's report in our two lines: its first paragraph, and its tip or the command's help.
fn parse_failure(error: &clap::Error, words: impl Iterator<Item = String>) -> Failure {
    let report = error.render().to_string();
    let first = report.split("\n\n").next().unwrap_or_default();
    let first: Vec<_> = first.split_whitespace().collect();
    let text = first.join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let tip = report
        .lines()
        .find_map(|line| line.trim().strip_prefix("tip: "));
    let command = command_of(words);
    let command = command.get_bin_name().unwrap_or(command.get_name());
    let hint = match tip {
        Some(tip) => format!("{tip}; see {command} --help"),
        None => format!("see {command} --help"),
    };
    Failure::new(text, hint)
}

/// The command that the words name, as far as they name one: `millstream topics create`.
fn command_of(words: impl Iterator<Item = String>) -> clap::Command {
    let mut command = Args::command();
    command.build();
    for word in words {
        if let Some(verb) = command.find_subcommand(&word) {
            command = verb.clone();
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The help of a command and of all commands below it.
    fn helps(command: &mut clap::Command, path: &str, texts: &mut Vec<(String, String)>) {
        texts.push((
            path.replace(' ', "-"),
            command.render_long_help().to_string(),
        ));
        for verb in command.get_subcommands_mut() {
            if verb.get_name() != "help" {
                let path = format!("{path} {}", verb.get_name());
                helps(verb, &path, texts);
            }
        }
    }

    #[test]
    fn the_help_of_every_command_is_as_it_was() {
        let mut command = Args::command().term_width(100);
        command.build();
        let mut texts = Vec::new();
        helps(&mut command, "millstream", &mut texts);
        assert!(texts.len() >= 20, "{} commands", texts.len());
        for (name, text) in texts {
            insta::assert_snapshot!(name, text);
        }
    }

    #[test]
    fn every_command_has_an_example() {
        let mut command = Args::command();
        command.build();
        let mut texts = Vec::new();
        helps(&mut command, "millstream", &mut texts);
        for (name, text) in texts {
            assert!(text.contains("Example"), "{name} has no example:\n{text}");
        }
    }

    #[test]
    fn examples_are_command_lines() {
        let mut command = Args::command();
        command.build();
        let mut texts = Vec::new();
        after_helps(&command, &mut texts);
        let mut examples = 0;
        for (name, text) in texts {
            let commands = text.lines().flat_map(|line| line.split('|'));
            let ours = commands
                .map(str::trim)
                .filter(|command| command.starts_with("millstream ") && !command.contains('\''));
            for example in ours {
                let words = example.split_whitespace().take_while(|word| *word != ">");
                let parsed = Args::try_parse_from(words);
                assert!(parsed.is_ok(), "{name}: {example}: {parsed:?}");
                examples += 1;
            }
        }
        assert!(examples > 40, "{examples}");
    }

    /// The text after the options of a command and of all commands below it.
    fn after_helps(command: &clap::Command, texts: &mut Vec<(String, String)>) {
        let text = command.get_after_help().map(ToString::to_string);
        let name = command.get_bin_name().unwrap_or_default().to_owned();
        texts.push((name, text.unwrap_or_default()));
        for verb in command.get_subcommands() {
            after_helps(verb, texts);
        }
    }

    #[test]
    fn paragraphs_of_help_fit_every_terminal() {
        let mut command = Args::command();
        command.build();
        let mut texts = Vec::new();
        after_helps(&command, &mut texts);
        for (name, text) in texts {
            let mut lines = text.lines().peekable();
            while let Some(line) = lines.next() {
                let goes_on = lines.peek().is_some_and(|next| !next.is_empty());
                let is_example = line.starts_with("  millstream ");
                assert!(
                    is_example || !goes_on || line.len() <= 80,
                    "{name}: cut by hand, and again by a terminal of 80 columns: {line}"
                );
            }
        }
    }

    #[test]
    fn a_mistake_on_the_command_line_is_told_in_two_lines() {
        let refusals: Vec<_> = [
            "topics crate flights",
            "topics create",
            "topics create flights --partition 8",
            "topics create flights --partitions 0",
            "topics create flights --partitions -1",
            "topics alter flights --partitions many",
            "topics create flights --config retention.ms",
            "topics delete",
            "produce",
            "produce flights --format xml",
            "produce flights --timeout 0",
            "produce flights --linger-ms -1",
            "produce flights --record-bytes-max 0",
            "consume flights --from yesterday",
            "consume flights --from -1",
            "consume flights --format valeu",
            "consume flights --partition -1",
            "consume flights --limit many",
            "consume flights --limit -1",
            "consume flights --group readers --partition 3",
            "consume flights --group ",
            "groups describe",
            "groups describe readers --lag-max -1",
            "groups list --state Sleeping",
            "groups delete",
            "offsets list",
            "offsets commit readers --topic flights --partition 0",
            "offsets commit readers --topic flights --partition 0 --offset -1",
            "offsets reset readers --topic flights",
            "offsets reset readers --to latest",
            "offsets reset readers --topic flights:all --to latest",
            "offsets reset readers --topic flights --to yesterday",
            "offsets reset readers --topic flights --to -5",
            "offsets delete readers",
            "configs describe",
            "configs describe --topic flights --broker",
            "bench produce --rate 0",
            "completions cmd",
            "flights",
            "topics list --output yaml",
        ]
        .iter()
        .map(|line| {
            let words = || line.split(' ').map(str::to_owned);
            let all = std::iter::once("millstream".to_owned()).chain(words());
            let error = Args::try_parse_from(all).expect_err("refused");
            format!("$ millstream {line}\n{}\n", parse_failure(&error, words()))
        })
        .collect();
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
