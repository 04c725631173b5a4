//! Where reading starts, as options say it: `earliest`, `latest`, an offset or a time.

use millstream::Start;

use crate::time;

/// Reads a start.
///
/// # Errors
/// Says what would have been understood.
pub(crate) fn parse(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => return Ok(Start::Earliest),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    if let Ok(offset) = text.parse::<i64>() {
        return if offset >= 0 {
            Ok(Start::Offset(offset))
        } else {
            Err("an offset is 0 or more".to_owned())
        };
    }
    time::parse(text)
        .map(Start::TimestampMs)
        .ok_or_else(|| format!("expected earliest, latest, an offset, or {}", time::FORMS))
}

/// The text that [`parse`] reads as this start.
pub(crate) fn text(start: Start) -> String {
    match start {
        Start::Latest => "latest".to_owned(),
        Start::Offset(offset) => offset.to_string(),
        Start::TimestampMs(time) => time::format(time),
        _ => "earliest".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_start_is_understood() {
        for (text, start) in [
            ("earliest", Start::Earliest),
            ("latest", Start::Latest),
            ("0", Start::Offset(0)),
            ("1357034400000", Start::Offset(1_357_034_400_000)),
            (
                "2013-01-01T10:00:00Z",
                Start::TimestampMs(1_357_034_400_000),
            ),
            ("2013-01-01", Start::TimestampMs(1_356_998_400_000)),
        ] {
            assert_eq!(parse(text), Ok(start), "{text}");
        }
        for text_of in ["earliest", "latest", "17", "2013-01-01T10:00:00Z"] {
            assert_eq!(parse(text_of).map(text), Ok(text_of.to_owned()));
        }
        assert!(parse("-1").is_err());
        assert!(parse("yesterday").is_err());
    }
}
