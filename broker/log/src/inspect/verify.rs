//! [`verify`]: what is on disk, checked against itself.

use std::path::Path;

use super::{InspectError, Report};
use crate::io::LogIo;

/// What [`verify`] takes for granted, and how deep it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Whether logs count as compacted where nothing on disk says.
    pub assume_compacted: bool,
    /// Whether records are decompressed and decoded, beside the checks of whole batches.
    pub decode_records: bool,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            assume_compacted: false,
            decode_records: true,
        }
    }
}

/// Checks a data directory, a partition's directory, or the segment that a file belongs to.
///
/// # Errors
/// A file that cannot be read. What is read and wrong is in the report.
pub fn verify(io: &dyn LogIo, path: &Path, options: VerifyOptions) -> Result<Report, InspectError> {
    let _ = (io, path, options);
    todo!()
}
