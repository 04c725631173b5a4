//! The native API, from a generated client over a loopback socket to a real data directory and back.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod admin;
mod broker;
mod client;
mod disturbances;
mod fetch;
mod group_faults;
mod groups;
mod lost;
mod member;
mod produce;
mod refusals;
mod restart;
