//! Times as people write them, to milliseconds since the epoch and back.

use jiff::{Span, SpanRelativeTo, Timestamp, civil, tz::TimeZone};

/// What [`parse`] understands, for hints.
pub(crate) const FORMS: &str =
    "a time like 2013-01-31T20:00:00Z, 2013-01-31 20:00:00 (UTC) or 2013-01-31";

/// Milliseconds since the epoch of a time with an offset, or of a date or date and time in UTC.
pub(crate) fn parse(text: &str) -> Option<i64> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    let civil = text
        .parse::<civil::DateTime>()
        .or_else(|_| text.parse::<civil::Date>().map(Into::into))
        .ok()?;
    let zoned = civil.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_millisecond())
}

/// As [`parse`], and whole numbers count as milliseconds since the epoch.
pub(crate) fn parse_or_millis(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| parse(text))
}

/// Milliseconds of a duration like `90s`, `1h30m` or `7d`; days have 24 hours.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let span: Span = text.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    i64::try_from(duration.as_millis())
        .ok()
        .filter(|millis| *millis >= 0)
}

/// Milliseconds since the epoch, now.
pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// RFC 3339 in UTC; the bare number where no calendar holds it.
pub(crate) fn format(timestamp_ms: i64) -> String {
    Timestamp::from_millisecond(timestamp_ms)
        .map_or_else(|_| timestamp_ms.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_dates_and_offsets_are_understood() {
        for text in [
            "2013-01-01T10:00:00Z",
            "2013-01-01T05:00:00-05:00",
            "2013-01-01 10:00:00",
            "2013-01-01T10:00",
        ] {
            assert_eq!(parse(text), Some(1_357_034_400_000), "{text}");
        }
        assert_eq!(parse("2013-01-01"), Some(1_356_998_400_000));
        assert_eq!(parse("yesterday"), None);
        assert_eq!(parse("17"), None);
        assert_eq!(parse_or_millis("17"), Some(17));
        assert_eq!(parse_or_millis("2013-01-01"), Some(1_356_998_400_000));
    }

    #[test]
    fn durations_have_units() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("250ms", 250),
        ] {
            assert_eq!(parse_duration(text), Some(millis), "{text}");
        }
        for text in ["90", "-90s", "1 month", "", "soon"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_written_as_they_are_read() {
        assert_eq!(format(1_357_034_400_000), "2013-01-01T10:00:00Z");
        assert_eq!(format(i64::MAX), i64::MAX.to_string());
    }
}
