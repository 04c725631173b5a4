//! [`Map`]: read-only bytes of a file, guarded against the file shrinking underneath.

/// Read-only bytes of a file, cheap to clone; the mapping goes with the last clone.
#[derive(Debug, Clone)]
pub struct Map;
