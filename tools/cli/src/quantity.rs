//! Numbers as people read them: counts with separators, bytes, seconds, rates.

use std::time::Duration;

/// `27004` as `27,004`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun, in the plural where it belongs.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// Bytes in decimal units, as rates are quoted: `2.5 MB`.
pub(crate) fn bytes(number: u64) -> String {
    let value = float(number);
    match number {
        0..1_000 => format!("{number} B"),
        1_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.2} GB", value / 1e9),
    }
}

/// A time as long as people want to know it: `0.4 s`, `12 min`, `3.5 h`, `2.1 d`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match time.as_secs() {
        0 if time.is_zero() => "0 s".to_owned(),
        0..100 => format!("{seconds:.1} s"),
        100..6_000 => format!("{:.0} min", seconds / 60.0),
        6_000..172_800 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} d", seconds / 86_400.0),
    }
}

/// How much of something passed in a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Throughput {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

impl Throughput {
    /// Records per second.
    pub(crate) fn records_per_s(self) -> f64 {
        float(self.records) / self.seconds()
    }

    /// Megabytes (10^6) per second.
    pub(crate) fn mb_per_s(self) -> f64 {
        float(self.bytes) / 1e6 / self.seconds()
    }

    fn seconds(self) -> f64 {
        self.time.as_secs_f64().max(1e-9)
    }
}

impl std::fmt::Display for Throughput {
    /// `27,004 records, 2.5 MB in 0.21 s: 128,590 records/s, 11.9 MB/s`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}, {} in {:.2} s: {} records/s, {:.1} MB/s",
            counted(self.records, "record"),
            bytes(self.bytes),
            self.time.as_secs_f64(),
            count(whole(self.records_per_s())),
            self.mb_per_s()
        )
    }
}

/// The nearest float; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) const fn float(number: u64) -> f64 {
    number as f64
}

/// The nearest whole number of a rate, which is finite and not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and rates are not negative"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators_every_three_digits() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (336_776, "336,776"),
            (1_000_000, "1,000,000"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(2, "record"), "2 records");
    }

    #[test]
    fn bytes_change_units_at_powers_of_a_thousand() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_000), "1.0 kB");
        assert_eq!(bytes(2_450_000), "2.5 MB");
        assert_eq!(bytes(3_000_000_000), "3.00 GB");
    }

    #[test]
    fn times_change_units_where_the_smaller_one_gets_long() {
        for (millis, text) in [
            (0, "0 s"),
            (430, "0.4 s"),
            (99_900, "99.9 s"),
            (100_000, "2 min"),
            (5_999_000, "100 min"),
            (9_000_000, "2.5 h"),
            (172_800_000, "2.0 d"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn throughput_reads_as_a_sentence() {
        let throughput = Throughput {
            records: 27_004,
            bytes: 2_500_000,
            time: Duration::from_millis(500),
        };
        assert_eq!(
            throughput.to_string(),
            "27,004 records, 2.5 MB in 0.50 s: 54,008 records/s, 5.0 MB/s"
        );
    }
}
