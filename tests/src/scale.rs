//! Sizes of tests that have a short form in CI and a long one by environment variable.

use std::{env, str::FromStr};

/// The number in environment variable `name`, or `default` without it.
///
/// # Panics
/// When the variable is set and is no number: a soak of the wrong length proves nothing.
#[must_use]
pub fn from_environment<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Err(_) => default,
        Ok(text) => match text.parse() {
            Ok(number) => number,
            Err(_) => panic!("{name} is {text:?}, expected a number"),
        },
    }
}
