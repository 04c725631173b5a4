//! Locks, identities and refusals of a data directory.
