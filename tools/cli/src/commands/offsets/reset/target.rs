//! [`Target`]: where offsets are moved to, as `--to` says it.

use millstream::Start;

use crate::{start, time};

/// A place in the log, or a time before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Place(Start),
    BeforeNowMs(i64),
}

impl Target {
    /// The place, as of now.
    pub(super) const fn start(self, now_ms: i64) -> Start {
        match self {
            Self::Place(start) => start,
            Self::BeforeNowMs(millis) => Start::TimestampMs(now_ms.saturating_sub(millis)),
        }
    }
}

/// Reads a target.
///
/// # Errors
/// Says what would have been understood.
pub(super) fn parse(text: &str) -> Result<Target, String> {
    let Some(duration) = text.strip_prefix('-') else {
        return start::parse(text).map(Target::Place);
    };
    let millis = time::parse_duration(duration).map(Target::BeforeNowMs);
    millis.ok_or_else(|| "expected a duration with its units, like -90s, -1h30m or -7d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minus_is_before_now_and_all_else_a_place() {
        let place = parse("latest").expect("a place");
        assert_eq!(place.start(5), Start::Latest);
        let ago = parse("-1h").expect("a duration");
        assert_eq!(ago.start(3_600_007), Start::TimestampMs(7));
        for text in ["-5", "-", "--1h", "-1 month", "soon"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
