//! Pure state machines of the broker: functions of state, event and time given as arguments.
//!
//! No runtime, no files, no clock, no randomness, and no iteration whose order is not fixed, so that
//! the whole protocol can run in a deterministic simulation. The broker feeds events and executes the
//! actions that come back.

pub mod group;
pub mod replication;
