//! [`Failure`]: why a command stops, in two lines, `error:` and `hint:`.
//!
//! Every error of the client crate and of the system becomes one here, with a hint in words of the
//! command line. No name or message reaches the terminal with a control character in it.

use std::{fmt, io};

use crate::output::escaped;

/// How a command that did not fail ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit code 0.
    Positive,
    /// Exit code 1: the answer to what was asked is no, for instance because damage was found.
    Negative,
}

/// Why a command stops with exit code 2, or without a word because nobody reads on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something was refused or impossible.
    Refused { error: String, hint: String },
    /// The reader of standard output is gone.
    BrokenPipe,
}

/// The result of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A refusal: what, found, expected; and the next command or option.
    pub(crate) fn new(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused {
            error: error.into(),
            hint: hint.into(),
        }
    }

    /// The failure to read or write something named.
    pub(crate) fn io(action: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "check who may read it (ls -l)",
            io::ErrorKind::StorageFull => "free some space",
            _ => "try again; see the system's log where it fails again",
        };
        Self::new(format!("{action}: {}", lower_first(&plain(error))), hint)
    }
}

/// The system's words without Rust's `(os error N)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { error, hint } => {
                write!(
                    f,
                    "error: {}\nhint: {}",
                    escaped(error, |_| true),
                    escaped(hint, |_| true)
                )
            }
            Self::BrokenPipe => f.write_str("error: broken pipe\nhint: none"),
        }
    }
}

impl From<io::Error> for Failure {
    /// For writes to standard output.
    fn from(error: io::Error) -> Self {
        Self::io("cannot write to standard output", &error)
    }
}

impl From<millstream::Error> for Failure {
    fn from(error: millstream::Error) -> Self {
        let hint = match &error {
            millstream::Error::Unreachable { .. } => {
                "start one with millstreamd, or pass --server".to_owned()
            }
            millstream::Error::Address { .. } => "pass --server host:port".to_owned(),
            millstream::Error::RecordTooLarge { .. } => {
                "send smaller records, or pass --record-bytes-max and raise the topic's max.message.bytes"
                    .to_owned()
            }
            millstream::Error::OffsetOutOfRange { .. } => {
                "pass --from earliest, latest, a time, or an offset in range".to_owned()
            }
            // What only reads, or is the same done twice, is tried again before it comes to this.
            millstream::Error::Disconnected { .. } => {
                "see whether it was done before you try again; the broker's log says more"
                    .to_owned()
            }
            millstream::Error::Config { .. } => {
                "pass another value; the command's --help names its options".to_owned()
            }
            millstream::Error::UnknownPartition { .. } => "pass a --partition in range".to_owned(),
            millstream::Error::Corrupt { .. } => {
                "see what is damaged with millstream log verify on the broker's data directory"
                    .to_owned()
            }
            other => other
                .hint()
                .map_or_else(|| fallback_hint(other), std::borrow::Cow::into_owned),
        };
        Self::new(error.to_string(), hint)
    }
}

fn fallback_hint(error: &millstream::Error) -> String {
    if error.is_retriable() {
        "try again; the broker's log says more".to_owned()
    } else {
        "see the broker's log, and millstream cluster describe".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let failure = Failure::new("topic \u{1b}[31m\r\nx is unknown", "a\nb");
        assert_eq!(
            failure.to_string(),
            "error: topic \\u{1b}[31m\\r\\nx is unknown\nhint: a\\nb"
        );
    }

    #[test]
    fn a_broken_pipe_is_told_apart() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(failure, Failure::BrokenPipe));
    }
}
