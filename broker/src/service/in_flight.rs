//! [`InFlightBytes`]: bounds the memory of requests that wait for the disk on the blocking pool
//! (`limits.in_flight_bytes_max`), and of what is decoded there (`limits.decoding_bytes_max`).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::value::ByteSize;

/// Bytes per permit: a semaphore counts to 2^29 at least, and this many times that is enough.
const UNIT_BYTES: u64 = 1 << 10;

/// Hands out shares of a bounded amount of memory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InFlightBytes {
    units: Arc<Semaphore>,
    max: u32,
}

/// A share; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    _permit: Option<OwnedSemaphorePermit>,
}

impl InFlightBytes {
    /// `max` bytes in all.
    #[must_use]
    pub fn new(max: ByteSize) -> Self {
        let units = u32::try_from(max.0 / UNIT_BYTES).unwrap_or(u32::MAX >> 3);
        let max = units.clamp(1, u32::MAX >> 3);
        Self {
            units: Arc::new(Semaphore::new(usize::try_from(max).unwrap_or(usize::MAX))),
            max,
        }
    }

    /// Waits for a share of `bytes`; one that is larger than the whole gets the whole.
    ///
    /// # Cancel safety
    /// Safe: a share is taken or not.
    pub async fn hold(&self, bytes: usize) -> Held {
        let units = u64::try_from(bytes)
            .unwrap_or(u64::MAX)
            .div_ceil(UNIT_BYTES);
        let units = u32::try_from(units).unwrap_or(self.max).min(self.max);
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await;
        // The semaphore is never closed, so there always is one.
        Held {
            _permit: permit.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_waits_until_another_is_given_back() {
        let in_flight = InFlightBytes::new(ByteSize::kib(64));
        let first = in_flight.hold(40 << 10).await;
        let waiting = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.hold(40 << 10).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.expect("gets its share");
    }

    #[tokio::test]
    async fn more_than_the_whole_gets_the_whole() {
        let in_flight = InFlightBytes::new(ByteSize::kib(64));
        let all = in_flight.hold(1 << 20).await;
        drop(all);
        in_flight.hold(1).await;
    }
}
