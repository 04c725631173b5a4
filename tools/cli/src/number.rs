//! Whole numbers of the command line, with words for what is none.

use std::{ops::RangeInclusive, str::FromStr};

/// A parser for arguments: a whole number in a range. A range that goes up to the largest 64-bit
/// number has no end that is worth telling.
pub(crate) fn within<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Copy + Into<i128> + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| expected((*range.start()).into(), (*range.end()).into()))
    }
}

fn expected(least: i128, most: i128) -> String {
    if most >= i64::MAX.into() {
        format!("expected a whole number of at least {least}")
    } else {
        format!("expected a whole number from {least} to {most}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_in_the_range_is_told_the_range() {
        assert_eq!(within(0..=7)("7"), Ok(7));
        for text in ["8", "-1", "many", "", "99999999999999999999"] {
            let expected = Err("expected a whole number from 0 to 7".to_owned());
            assert_eq!(within(0..=7)(text), expected, "{text}");
        }
        let expected = Err("expected a whole number of at least 1".to_owned());
        assert_eq!(within(1..=u64::MAX)("0"), expected);
    }
}
