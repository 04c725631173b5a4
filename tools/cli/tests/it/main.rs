//! The binary itself: where no broker is there, and against a fake broker with groups.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the fake broker is part of the tests, where clippy.toml allows them"
)]

mod clients;
mod command_line;
mod consume_group;
mod fake_broker;
mod groups;
mod offsets;
mod refusals;
