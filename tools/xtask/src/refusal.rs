//! [`Refusal`]: an error in two lines, what is wrong and what to do next.

use std::fmt;

/// Why a task stops, and the command or key that helps.
#[derive(Debug)]
pub(crate) struct Refusal {
    error: String,
    hint: String,
}

impl Refusal {
    /// The error for `anyhow`.
    pub(crate) fn error(error: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self {
            error: error.into(),
            hint: hint.into(),
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nhint: {}", self.error, self.hint)
    }
}

impl std::error::Error for Refusal {}
