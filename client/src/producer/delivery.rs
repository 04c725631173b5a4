//! [`Delivery`]: a future of what became of one record.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use millstream_proto::grpc::v1;

use super::completion::{Completion, answer_of};
use crate::error::Result;

/// How safe an acknowledged record is at the moment of its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// On disk: fsynced by as many brokers as the acknowledgement's `replicas` says.
    Flushed,
    /// In the page cache of as many brokers as the acknowledgement's `replicas` says.
    Memory,
    /// Not known: the producer asked for no acknowledgement.
    Unknown,
}

impl Durability {
    pub(crate) const fn from_wire(durability: v1::Durability) -> Self {
        match durability {
            v1::Durability::Flushed => Self::Flushed,
            v1::Durability::Memory => Self::Memory,
            v1::Durability::Unspecified => Self::Unknown,
        }
    }
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acknowledgement {
    /// The partition.
    pub partition: i32,
    /// The record's offset; `None` with [`crate::Acks::None`], and for a retry so late that the
    /// broker knows only that it has the record.
    pub offset: Option<i64>,
    /// The record's time in milliseconds since the epoch, as the topic's timestamp type has it.
    pub timestamp_ms: i64,
    /// How safe the record is.
    pub durability: Durability,
    /// Replicas that are that safe.
    pub replicas: u32,
}

/// A record on its way: resolves once it is acknowledged or has finally failed. Dropping it cancels
/// nothing.
///
/// # Cancel safety
/// May be polled, dropped, or moved to another task and polled there at any time.
#[derive(Debug)]
#[must_use = "a delivery that nobody looks at hides a record that was not written"]
pub struct Delivery {
    completion: Arc<Completion>,
    /// Position of the record in its batch.
    index: u32,
    timestamp_ms: i64,
    waker_slot: Option<usize>,
}

impl Delivery {
    pub(crate) const fn new(completion: Arc<Completion>, index: u32, timestamp_ms: i64) -> Self {
        Self {
            completion,
            index,
            timestamp_ms,
            waker_slot: None,
        }
    }
}

impl Future for Delivery {
    type Output = Result<Acknowledgement>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let delivery = &mut *self;
        let parts = ready!(delivery.completion.poll(&mut delivery.waker_slot, context));
        Poll::Ready(
            answer_of(parts, delivery.index).map(|(offset, ack)| Acknowledgement {
                partition: delivery.completion.partition,
                offset,
                timestamp_ms: ack.log_append_time_ms.unwrap_or(delivery.timestamp_ms),
                durability: ack.durability,
                replicas: ack.replicas,
            }),
        )
    }
}
