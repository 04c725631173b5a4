//! Decoding of Kafka's requests, which may come from anybody.
//!
//! The crate `kafka-protocol` turns bytes into requests, but it takes capacities from counts that it has
//! not compared with anything: eight bytes can ask for 154 GB. So nothing reaches it before [`check`]
//! has walked the bytes by the request's [`layout`], without allocating:
//!
//! ```text
//! frame ─▶ RequestHeader::parse ─▶ body ─▶ check, by layout and Limits ─▶ kafka-protocol ─▶ request
//!                 │                          │                              │
//!                 └──── DecodeError ─────────┴──────── DecodeError ─────────┘
//! ```
//!
//! Produce is the exception: it is read by hand along the same [`Walk`](walk::Walk), which then is its check.
//!
//! Which requests there are, and in which versions, is one table: [`apis`]. Responses are ours and trusted;
//! they are encoded by `kafka-protocol` or by hand, not here.

mod apis;
mod check;
mod cursor;
mod decode;
mod error;
mod header;
mod layout;
#[rustfmt::skip]
mod layouts;
mod produce;
#[cfg(test)]
mod tests;
mod walk;

pub use apis::{Served, ServedRequest, response_header_version, served};
pub use check::{Limits, check};
pub use decode::decode;
pub use error::{DecodeError, Problem};
pub use header::RequestHeader;
pub use produce::{ProducePartition, ProduceRequest, ProduceTopic, TopicRef};
