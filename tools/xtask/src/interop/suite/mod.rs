//! The tables of the matrix, each of which runs its cells on one broker.

pub(super) mod admin;
pub(super) mod connect;
pub(super) mod consume;
pub(super) mod groups;

pub(super) mod migration;
pub(super) mod produce;
pub(super) mod streams;
pub(super) mod tools;

mod describe;
mod members;
mod regex;

use super::client::{Client, Protocol};

/// The name of a row for a client that joins groups.
fn row(client: &Client, protocol: Protocol) -> String {
    match protocol {
        Protocol::Classic => client.name.to_owned(),
        Protocol::Consumer => format!("{}, KIP-848", client.name),
    }
}
