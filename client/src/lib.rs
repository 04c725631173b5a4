//! Client for the Millstream log broker.
//!
//! Everything starts with a [`Client`]:
//!
//! - [`Producer`] queues records, batches them and says for each where it went;
//! - [`Consumer`] is a stream of records, of partitions that are assigned to it or that its group
//!   gives it, and commits how far it came;
//! - [`Admin`] administers topics, configurations, groups and their offsets.
//!
//! ```no_run
//! use millstream::{Assignment, Client, NewTopic, Record, Start};
//!
//! #[tokio::main]
//! async fn main() -> millstream::Result<()> {
//!     let client = Client::connect("127.0.0.1:9192").await?;
//!     client.admin().create_topic(NewTopic::new("flights").partitions(8)).await?;
//!
//!     let producer = client.producer().build()?;
//!     let delivery = producer.send(Record::to("flights").key("N14228").value("EWR-IAH")).await?;
//!     let acknowledgement = delivery.await?;
//!     println!("partition {} offset {:?}", acknowledgement.partition, acknowledgement.offset);
//!     producer.close(std::time::Duration::from_secs(10)).await?;
//!
//!     let mut consumer = client.consumer().build()?;
//!     consumer.assign([Assignment::topic("flights").start(Start::Earliest).until_end()]).await?;
//!     while let Some(record) = consumer.recv().await? {
//!         println!("{} {:?}", record.offset, record.value);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Features
//! `lz4` and `zstd` (default), `gzip`, `snappy`: codecs that batches can be written and read with.
//! `json`: values to and from JSON through serde.

pub mod admin;
mod client;
mod connection;
pub mod consumer;
mod error;
mod isolation;
pub mod producer;

pub use admin::{Admin, CommitOffset, CommittedOffset, NewTopic};
pub use client::{Client, ClientBuilder};
pub use consumer::{
    Assignment, CommitHandle, ConsumedRecord, Consumer, ConsumerBuilder, IsolationLevel,
    MembershipStatus, OffsetReset, RebalanceListener, Revocation, RevokedFuture, RevokedPartition,
    Start, Subscription,
};
pub use error::{BrokerError, Error, Result};
pub use millstream_proto::{
    ErrorCode, TopicId,
    record::{Compression, Header, TimestampType},
};
pub use producer::{
    Acknowledgement, Acks, Delivery, Durability, Producer, ProducerBuilder, Record,
};

/// Compiles the snippet of the crate's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
