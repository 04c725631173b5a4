//! The real binary: what it says when it refuses, and its life from start to stop.

#[path = "daemon/lifecycle.rs"]
mod lifecycle;
#[path = "daemon/process.rs"]
mod process;
#[path = "daemon/refusals.rs"]
mod refusals;
