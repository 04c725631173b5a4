//! The native API: generated messages, clients and servers, and their conversion to domain types.
//!
//! `generated/` is written by `cargo xtask generate` from `proto/api`; never edit it by hand.

mod convert;

pub use convert::{error_to_wire, topic_id_from_wire};

/// The package `millstream.v1`: messages, `*_client` and `*_server` modules.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::restriction
)]
pub mod v1 {
    include!("generated/millstream.v1.rs");
}

/// The encoded `FileDescriptorSet` of the API, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptor.bin");
