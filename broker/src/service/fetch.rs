//! Fetch: whole record batches of one partition, from an offset on.

use std::sync::Arc;

use bytes::Bytes;
use millstream_log::{
    AbortedTransaction, CheckedBatches, CompressionPolicy, ReadBatches, ReadError, ReadRequest,
};
pub use millstream_log::{CheckedSlice, FileRange};
use millstream_proto::{LeaderEpoch, Offset, PartitionIndex, TopicId, record::Compression};

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

impl From<AbortedTransaction> for Aborted {
    fn from(transaction: AbortedTransaction) -> Self {
        Self {
            producer_id: transaction.producer_id.0,
            first_offset: transaction.first_offset,
        }
    }
}

/// Batches that were read, in slices of whole ones.
#[derive(Debug, Clone)]
pub struct Fetched<S = Bytes> {
    /// Back to back; none when nothing can be read now.
    pub batches: Vec<S>,
    /// Bytes of them in all.
    pub size_bytes: usize,
    /// Where the partition stands.
    pub offsets: Offsets,
    /// Transactions aborted in their range, for read_committed.
    pub aborted: Vec<Aborted>,
}

impl<S> Fetched<S> {
    /// Nothing was read.
    #[must_use]
    pub const fn nothing(offsets: Offsets) -> Self {
        Self {
            batches: Vec::new(),
            size_bytes: 0,
            offsets,
            aborted: Vec::new(),
        }
    }

    /// Whether nothing was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Adds what was read behind it.
    pub fn extend(&mut self, more: Self) {
        self.batches.extend(more.batches);
        self.size_bytes += more.size_bytes;
        self.offsets = more.offsets;
        for aborted in more.aborted {
            if !self.aborted.contains(&aborted) {
                self.aborted.push(aborted);
            }
        }
    }
}

impl From<Fetched> for Fetched<CheckedSlice> {
    fn from(fetched: Fetched) -> Self {
        let batches = fetched.batches.into_iter();
        Self {
            batches: batches.map(CheckedSlice::Memory).collect(),
            size_bytes: fetched.size_bytes,
            offsets: fetched.offsets,
            aborted: fetched.aborted,
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
        let request = self.request(max_bytes)?;
        let Some(read) = self.replica.read_cached(&request)? else {
            return Ok(None);
        };
        let Some(aborted) = self.aborted_in_memory(read.next_offset)? else {
            return Ok(None);
        };
        Ok(Some(fetched(&self.replica, read.load()?, aborted)))
    }

    /// As [`PartitionReader::read_from_memory`], but batches may also be in a file whose pages are in memory,
    /// for a socket that takes them from there; and nothing is counted before
    /// [`PartitionReader::count_fetched`].
    ///
    /// # Errors
    /// As [`PartitionReader::read_from_memory`].
    pub fn read_at_once(
        &mut self,
        max_bytes: usize,
    ) -> Result<Option<Fetched<CheckedSlice>>, FetchRefusal> {
        let read = self.try_at_once(max_bytes);
        let read = read.map_err(|error| self.refusal(&error))?;
        Ok(read.map(|(fetched, next)| {
            self.position = next;
            fetched
        }))
    }

    fn try_at_once(
        &self,
        max_bytes: usize,
    ) -> Result<Option<(Fetched<CheckedSlice>, Offset)>, PartitionError> {
        if let Some((fetched, next)) = self.try_memory(max_bytes)? {
            return Ok(Some((fetched.into(), next)));
        }
        let request = self.request(max_bytes)?;
        let Some(read) = self.replica.log()?.read_resident(&request) else {
            return Ok(None);
        };
        let aborted = self.aborted_in_memory(read.next_offset)?;
        Ok(aborted.map(|aborted| fetched(&self.replica, read, aborted)))
    }

    /// Transactions aborted from its position on; `None` where the disk knows.
    fn aborted_in_memory(&self, end: Offset) -> Result<Option<Vec<Aborted>>, PartitionError> {
        if self.isolation != Isolation::ReadCommitted || end <= self.position {
            return Ok(Some(Vec::new()));
        }
        let log = self.replica.log()?;
        let found = log.aborted_transactions_cached(self.position, end);
        Ok(found.map(|found| found.into_iter().map(Aborted::from).collect()))
    }

    /// As [`PartitionReader::read_from_memory`], from the disk, on the blocking pool: copies of the
    /// batches.
    ///
    /// # Errors
    /// Also damage, and what the disk says.
    ///
    /// # Cancel safety
    /// Safe: the position moves with the answer only.
    pub async fn read_from_disk(&mut self, max_bytes: usize) -> Result<Fetched, FetchRefusal> {
        let (fetched, next) = self.read_with(max_bytes, ReadBatches::load).await?;
        self.move_on(&fetched, next);
        Ok(fetched)
    }

    /// As [`PartitionReader::read_from_disk`], but batches may stay in their files, for a socket that takes
    /// them from there; and nothing is counted before [`PartitionReader::count_fetched`].
    ///
    /// # Errors
    /// As [`PartitionReader::read_from_disk`].
    ///
    /// # Cancel safety
    /// Safe: the position moves with the answer only.
    pub async fn read_in_files(
        &mut self,
        max_bytes: usize,
    ) -> Result<Fetched<CheckedSlice>, FetchRefusal> {
        let (fetched, next) = self.read_with(max_bytes, ReadBatches::check).await?;
        self.position = next;
        Ok(fetched)
    }

    /// Whether the topic has all batches stored with this codec.
    #[must_use]
    pub fn stores(&self, codec: Compression) -> bool {
        let log = self.replica.log();
        log.is_ok_and(|log| log.config().compression == CompressionPolicy::Fixed(codec))
    }

    /// Goes back to an offset at which it was: what was read from there on was not wanted.
    pub fn go_back(&mut self, position: Offset) {
        self.position = position;
    }

    /// Counts what a client gets of what was read from an offset on.
    pub fn count_fetched(&self, start: Offset, bytes: usize) {
        let records = span(start, self.position);
        self.replica.traffic().fetched(records, bytes);
        self.traffic.fetched(records, bytes);
    }

    /// Reads, and says where to go on.
    async fn read_with<S: Send + 'static>(
        &self,
        max_bytes: usize,
        check: fn(ReadBatches) -> Result<CheckedBatches<S>, ReadError>,
    ) -> Result<(Fetched<S>, Offset), FetchRefusal> {
        let held = self.in_flight.hold(max_bytes).await;
        let request = self.request(max_bytes);
        let request = request.map_err(|error| self.refusal(&error))?;
        let (replica, isolation) = (Arc::clone(&self.replica), self.isolation);
        let read = tokio::task::spawn_blocking(move || {
            let read = check(replica.log()?.read(&request)?)?;
            let (start, next) = (request.offset, read.next_offset);
            let aborted = match isolation {
                Isolation::ReadCommitted if next > start => aborted_in(&replica, start, next)?,
                _ => Vec::new(),
            };
            drop(held);
            Ok(fetched(&replica, read, aborted))
        });
        let read = read.await.unwrap_or(Err(PartitionError::Closed));
        read.map_err(|error| self.refusal(&error))
    }

    fn move_on<S>(&mut self, fetched: &Fetched<S>, next: Offset) {
        let start = std::mem::replace(&mut self.position, next);
        self.count_fetched(start, fetched.size_bytes);
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

/// What was read, and the offset after it.
fn fetched<S>(
    replica: &Replica,
    read: CheckedBatches<S>,
    aborted: Vec<Aborted>,
) -> (Fetched<S>, Offset) {
    let fetched = Fetched {
        batches: read.slices,
        size_bytes: read.size_bytes,
        offsets: replica.offsets_at(&read.positions),
        aborted,
    };
    (fetched, read.next_offset)
}

fn aborted_in(
    replica: &Replica,
    start: Offset,
    end: Offset,
) -> Result<Vec<Aborted>, PartitionError> {
    let found = replica.log()?.aborted_transactions(start, end)?;
    Ok(found.into_iter().map(Aborted::from).collect())
}
