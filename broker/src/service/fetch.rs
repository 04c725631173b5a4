//! Fetch: whole record batches of one partition, from an offset on.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use millstream_log::{ReadBatches, ReadRequest};
use millstream_proto::{LeaderEpoch, Offset, PartitionIndex, TopicId};

use super::{RequestContext, ServiceError, Services, in_flight::InFlightBytes};
pub use crate::partition::{Isolation, Offsets, Wakeups};
use crate::partition::{Parked, PartitionError, Replica, Traffic, traffic::span};

/// Where a reader starts.
#[derive(Debug, Clone, Copy)]
pub struct FetchStart {
    /// The topic.
    pub topic_id: TopicId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// First offset wanted.
    pub offset: Offset,
    /// The leader epoch that the client knows, if it does.
    pub leader_epoch: Option<LeaderEpoch>,
    /// How far it sees.
    pub isolation: Isolation,
}

/// A transaction whose records the reader must drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    /// Its producer.
    pub producer_id: i64,
    /// Its first record.
    pub first_offset: Offset,
}

/// Batches that were read.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Whole batches back to back; empty when nothing can be read now.
    pub batches: Bytes,
    /// Where the partition stands.
    pub offsets: Offsets,
    /// Transactions aborted in their range, for read_committed.
    pub aborted: Vec<Aborted>,
}

impl Fetched {
    /// Nothing was read.
    #[must_use]
    pub const fn nothing(offsets: Offsets) -> Self {
        Self {
            batches: Bytes::new(),
            offsets,
            aborted: Vec::new(),
        }
    }
}

/// A refusal together with where the partition stands, as far as is known.
#[derive(Debug, Clone)]
pub struct FetchRefusal {
    /// Why.
    pub error: ServiceError,
    /// Where it stands.
    pub offsets: Option<Offsets>,
}

/// One reader's place in one partition.
#[derive(Debug)]
pub struct PartitionReader {
    replica: Arc<Replica>,
    position: Offset,
    isolation: Isolation,
    parked: Option<Parked>,
    in_flight: InFlightBytes,
    traffic: Arc<Traffic>,
}

impl Services {
    /// Opens a partition for reading.
    ///
    /// # Errors
    /// An unknown partition, a wrong leader epoch, an offset that the log does not have.
    pub fn open_reader(
        &self,
        _context: &RequestContext,
        start: &FetchStart,
    ) -> Result<PartitionReader, FetchRefusal> {
        let unknown = |error| FetchRefusal {
            error,
            offsets: None,
        };
        let replica = self
            .replica(start.topic_id, start.partition)
            .map_err(unknown)?;
        let reader = PartitionReader {
            replica,
            position: start.offset,
            isolation: start.isolation,
            parked: None,
            in_flight: self.in_flight.clone(),
            traffic: Arc::clone(&self.traffic),
        };
        let checked = reader.replica.check_leader_epoch(start.leader_epoch);
        checked.map_err(|error| reader.refusal(&error))?;
        Ok(reader)
    }
}

impl PartitionReader {
    /// The next offset that it reads.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Where the partition stands.
    ///
    /// # Errors
    /// Why it serves nothing.
    pub fn offsets(&self) -> Result<Offsets, FetchRefusal> {
        self.replica.offsets().map_err(|error| self.refusal(&error))
    }

    /// Exclusive end of what it may see now.
    ///
    /// # Errors
    /// Why the partition serves nothing.
    pub fn readable_end(&self) -> Result<Offset, FetchRefusal> {
        Ok(self.offsets()?.readable_end(self.isolation))
    }

    /// Reads the next batches from memory, at most `max_bytes` of them unless the first alone is
    /// larger, and moves on behind them; `None` when the disk is needed. Never blocks.
    ///
    /// # Errors
    /// An offset that the log does not have, a partition that serves nothing.
    pub fn read_from_memory(&mut self, max_bytes: usize) -> Result<Option<Fetched>, FetchRefusal> {
        let read = self.try_memory(max_bytes);
        match read.map_err(|error| self.refusal(&error))? {
            Some((fetched, next)) => {
                self.move_on(&fetched, next);
                Ok(Some(fetched))
            }
            None => Ok(None),
        }
    }

    fn try_memory(&self, max_bytes: usize) -> Result<Option<(Fetched, Offset)>, PartitionError> {
        if self.isolation == Isolation::ReadCommitted {
            // The aborted transactions are on disk.
            return Ok(None);
        }
        let read = self.replica.read_cached(&self.request(max_bytes)?)?;
        read.map(|read| fetched(&self.replica, read, self.position, self.isolation))
            .transpose()
    }

    /// As [`PartitionReader::read_from_memory`], from the disk, on the blocking pool.
    ///
    /// # Errors
    /// Also damage, and what the disk says.
    ///
    /// # Cancel safety
    /// Safe: the position moves with the answer only.
    pub async fn read_from_disk(&mut self, max_bytes: usize) -> Result<Fetched, FetchRefusal> {
        let held = self.in_flight.hold(max_bytes).await;
        let request = self.request(max_bytes);
        let request = request.map_err(|error| self.refusal(&error))?;
        let (replica, isolation) = (Arc::clone(&self.replica), self.isolation);
        let read = tokio::task::spawn_blocking(move || {
            let read = replica.log()?.read(&request)?;
            let fetched = fetched(&replica, read, request.offset, isolation);
            drop(held);
            fetched
        });
        let read = read.await.unwrap_or(Err(PartitionError::Closed));
        let (fetched, next) = read.map_err(|error| self.refusal(&error))?;
        self.move_on(&fetched, next);
        Ok(fetched)
    }

    fn move_on(&mut self, fetched: &Fetched, next: Offset) {
        let (records, bytes) = (span(self.position, next), fetched.batches.len());
        self.replica.traffic().fetched(records, bytes);
        self.traffic.fetched(records, bytes);
        self.position = next;
    }

    fn request(&self, max_bytes: usize) -> Result<ReadRequest, PartitionError> {
        Ok(ReadRequest {
            offset: self.position,
            max_bytes,
            end_exclusive: self.replica.offsets()?.readable_end(self.isolation),
        })
    }

    /// Parks until more can be read at its position, which `wakeups` will tell with `token`; `false`
    /// when it can be already.
    ///
    /// # Errors
    /// Why the partition serves nothing.
    pub fn park(&mut self, wakeups: &Arc<Wakeups>, token: u64) -> Result<bool, FetchRefusal> {
        self.parked = None;
        let parked = self
            .replica
            .park(self.position, self.isolation, wakeups, token);
        self.parked = parked.map_err(|error| self.refusal(&error))?;
        Ok(self.parked.is_some())
    }

    fn refusal(&self, error: &PartitionError) -> FetchRefusal {
        FetchRefusal {
            error: ServiceError::of_partition(self.replica.partition(), error),
            offsets: self.replica.offsets().ok(),
        }
    }
}

/// Takes the bytes out of what was read; waits for the disk where they are not in memory.
fn fetched(
    replica: &Replica,
    read: ReadBatches,
    start: Offset,
    isolation: Isolation,
) -> Result<(Fetched, Offset), PartitionError> {
    let read = read.load()?;
    let next = read.next_offset;
    let offsets = replica.offsets_at(&read.positions);
    let aborted = match isolation {
        Isolation::ReadCommitted if next > start => aborted_in(replica, start, next)?,
        _ => Vec::new(),
    };
    let batches = concatenate(read.batches);
    let fetched = Fetched {
        batches,
        offsets,
        aborted,
    };
    Ok((fetched, next))
}

fn aborted_in(
    replica: &Replica,
    start: Offset,
    end: Offset,
) -> Result<Vec<Aborted>, PartitionError> {
    let found = replica.log()?.aborted_transactions(start, end)?;
    let aborted = found.into_iter().map(|transaction| Aborted {
        producer_id: transaction.producer_id.0,
        first_offset: transaction.first_offset,
    });
    Ok(aborted.collect())
}

fn concatenate(mut slices: Vec<Bytes>) -> Bytes {
    match slices.len() {
        0 => Bytes::new(),
        1 => slices.pop().unwrap_or_default(),
        _ => {
            let mut joined = BytesMut::with_capacity(slices.iter().map(Bytes::len).sum());
            slices
                .iter()
                .for_each(|slice| joined.extend_from_slice(slice));
            joined.freeze()
        }
    }
}
