//! [`Refusal`]: what the daemon says when it does not do what it was asked, in two lines.
//!
//! ```text
//! error: what, found, expected
//! hint: the next command or key
//! ```

use std::fmt;

/// One problem and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// What is wrong: what, found, expected. Lower case, one line, no full stop.
    pub what: String,
    /// The next command, key or value. One line, no full stop.
    pub hint: String,
}

impl Refusal {
    /// Puts the two lines together; control characters are escaped so that each stays one line.
    #[must_use]
    pub fn new(what: impl AsRef<str>, hint: impl AsRef<str>) -> Self {
        Self {
            what: one_line(what.as_ref()),
            hint: one_line(hint.as_ref()),
        }
    }

    /// The two lines as the operator sees them, each with a line end.
    #[must_use]
    pub fn two_lines(&self) -> impl fmt::Display + '_ {
        TwoLines(self)
    }
}

struct TwoLines<'a>(&'a Refusal);

impl fmt::Display for TwoLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.0.what)?;
        writeln!(f, "hint: {}", self.0.hint)
    }
}

fn one_line(text: &str) -> String {
    let escape = |c: char| {
        if c.is_control() {
            c.escape_default().collect::<String>()
        } else {
            c.to_string()
        }
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_two_lines_whatever_it_quotes() {
        let refusal = Refusal::new("unknown key 'a\nb'", "remove it");
        assert_eq!(
            refusal.two_lines().to_string(),
            "error: unknown key 'a\\nb'\nhint: remove it\n"
        );
    }
}
