//! truncate
