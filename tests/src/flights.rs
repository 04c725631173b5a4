//! The month of flights in `tests/data/nycflights13`.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;

use crate::binary;

/// Position of `carrier` in a row.
const CARRIER_AT: usize = 9;
/// Position of `tailnum` in a row.
const TAILNUM_AT: usize = 11;

/// A file of flights: its header row and its rows, each without the line end.
#[derive(Debug, Clone)]
pub struct Flights {
    text: String,
}

impl Flights {
    /// January 2013.
    ///
    /// # Errors
    /// When the file in the repository cannot be read.
    pub fn sample() -> Result<Self> {
        Self::read(&binary::data("nycflights13/flights-2013-01.csv.gz"))
    }

    /// Any file of the same form.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let mut text = String::new();
        let file = File::open(path).with_context(|| path.display().to_string())?;
        GzDecoder::new(file).read_to_string(&mut text)?;
        Ok(Self { text })
    }

    /// The whole file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The rows behind the header.
    pub fn rows(&self) -> impl Iterator<Item = &str> {
        self.text.lines().skip(1)
    }
}

/// The tail number of a row, its key in the topics of the tests.
///
/// # Panics
/// When the row is no row.
#[must_use]
pub fn tailnum(row: &str) -> &str {
    cell(row, TAILNUM_AT)
}

/// The airline of a row.
///
/// # Panics
/// When the row is no row.
#[must_use]
pub fn carrier(row: &str) -> &str {
    cell(row, CARRIER_AT)
}

fn cell(row: &str, at: usize) -> &str {
    row.split(',').nth(at).expect("a row has all columns")
}
