//! [`FetchedReader`]: turns the batches of one answer into records, lazily.
//!
//! It drops what the consumer must not see: records before the position (a batch is sent whole),
//! records at or after the end, control batches, and with read_committed the records of aborted
//! transactions. Those are found as Kafka's consumer does it: the broker lists (producer id, first
//! offset) of aborted transactions in the range; from that offset on a producer's transactional
//! batches are dropped, up to the marker that ends its transaction.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use millstream_proto::{
    TopicName,
    grpc::v1,
    record::{
        Batch, OwnedBatchIter, RecordIter, TimestampType,
        control::{ControlRecord, TransactionResult},
    },
};

use super::{ConsumedRecord, builder::ConsumerConfig};
use crate::error::{Error, Result};

/// Batches of one partition as they came.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) batches: Bytes,
    pub(crate) aborted: Vec<v1::AbortedTransaction>,
}

impl Fetched {
    /// Bytes that count against the credit.
    pub(crate) fn bytes(&self) -> i64 {
        i64::try_from(self.batches.len()).unwrap_or(i64::MAX)
    }
}

/// Which records of a partition are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) slot: u64,
    pub(crate) generation: u64,
    pub(crate) topic: TopicName,
    pub(crate) partition: i32,
    /// Offset of the next record.
    pub(crate) position: i64,
    /// The offset before which reading ends.
    pub(crate) until: Option<i64>,
    /// Leader epoch of the last batch opened, -1 for none.
    pub(crate) leader_epoch: i32,
}

/// Reads the records of one answer.
#[derive(Debug)]
pub(crate) struct FetchedReader {
    pub(crate) wanted: Wanted,
    pub(crate) bytes: i64,
    batches: OwnedBatchIter,
    /// Aborted transactions that do not begin before the batch being read, by first offset.
    aborted_ahead: VecDeque<(i64, i64)>,
    /// Producers inside an aborted transaction.
    aborting: HashSet<i64>,
    batch: Option<OpenBatch>,
}

#[derive(Debug)]
struct OpenBatch {
    records: RecordIter,
    timestamp_type: TimestampType,
    end_offset: i64,
}

impl FetchedReader {
    pub(crate) fn new(wanted: Wanted, fetched: Fetched) -> Self {
        let bytes = fetched.bytes();
        let aborted = fetched.aborted.iter();
        let mut aborted: Vec<_> = aborted
            .map(|aborted| (aborted.first_offset, aborted.producer_id))
            .collect();
        aborted.sort_unstable();
        Self {
            wanted,
            bytes,
            batches: OwnedBatchIter::new(fetched.batches),
            aborted_ahead: aborted.into(),
            aborting: HashSet::new(),
            batch: None,
        }
    }

    /// The next record; `None` at the end of the answer, or of what is wanted.
    pub(crate) fn next(&mut self, config: &ConsumerConfig) -> Option<Result<ConsumedRecord>> {
        loop {
            if self
                .wanted
                .until
                .is_some_and(|until| self.wanted.position >= until)
            {
                return None;
            }
            if let Some(batch) = &mut self.batch {
                match batch.records.next() {
                    Some(Ok(record)) if record.offset.get() < self.wanted.position => {}
                    Some(Ok(record))
                        if self
                            .wanted
                            .until
                            .is_some_and(|until| record.offset.get() >= until) =>
                    {
                        self.wanted.position = self.wanted.until.unwrap_or(self.wanted.position);
                    }
                    Some(Ok(record)) => {
                        self.wanted.position = record.offset.get() + 1;
                        return Some(Ok(ConsumedRecord {
                            topic: self.wanted.topic.clone(),
                            partition: self.wanted.partition,
                            offset: record.offset.get(),
                            timestamp_ms: record.timestamp,
                            timestamp_type: batch.timestamp_type,
                            key: record.key,
                            value: record.value,
                            headers: record.headers,
                        }));
                    }
                    Some(Err(error)) => return Some(Err(self.corrupt(&error))),
                    None => {
                        // Compaction may have taken the batch's last records.
                        self.wanted.position = self.wanted.position.max(batch.end_offset);
                        self.batch = None;
                    }
                }
                continue;
            }
            match self.batches.next()? {
                Ok(batch) => {
                    if let Err(error) = self.open(&batch, config) {
                        return Some(Err(error));
                    }
                }
                Err(error) => return Some(Err(self.corrupt(&error))),
            }
        }
    }

    /// Starts reading a batch, or passes over it.
    fn open(&mut self, batch: &Batch, config: &ConsumerConfig) -> Result<()> {
        let end_offset = batch.last_offset().get().saturating_add(1);
        if config.check_crcs {
            batch.verify_crc().map_err(|error| self.corrupt(&error))?;
        }
        self.wanted.leader_epoch = batch.header().leader_epoch().0;
        while let Some((_, producer_id)) = self
            .aborted_ahead
            .pop_front_if(|(first_offset, _)| *first_offset < end_offset)
        {
            self.aborting.insert(producer_id);
        }
        let producer_id = batch.producer_id().0;
        if batch.is_control() {
            if self.is_abort_marker(batch, config)? {
                self.aborting.remove(&producer_id);
            }
            self.wanted.position = self.wanted.position.max(end_offset);
        } else if end_offset <= self.wanted.position {
            // Only the first batch of a fetch may lie before what is wanted.
        } else if batch.is_transactional() && self.aborting.contains(&producer_id) {
            self.wanted.position = end_offset;
        } else {
            let records = batch.records(config.decompressed_bytes_max);
            self.batch = Some(OpenBatch {
                records: records.map_err(|error| self.corrupt(&error))?,
                timestamp_type: batch.timestamp_type(),
                end_offset,
            });
        }
        Ok(())
    }

    fn is_abort_marker(&self, batch: &Batch, config: &ConsumerConfig) -> Result<bool> {
        let mut records = batch
            .records(config.decompressed_bytes_max)
            .map_err(|error| self.corrupt(&error))?;
        let Some(record) = records
            .next()
            .transpose()
            .map_err(|error| self.corrupt(&error))?
        else {
            return Ok(false);
        };
        let marker = ControlRecord::decode(&record).map_err(|error| self.corrupt(&error))?;
        Ok(matches!(
            marker,
            ControlRecord::EndTransaction(marker) if marker.result == TransactionResult::Abort
        ))
    }

    fn corrupt(&self, reason: &dyn std::error::Error) -> Error {
        Error::Corrupt {
            topic: self.wanted.topic.to_string(),
            partition: self.wanted.partition,
            offset: self.wanted.position,
            reason: reason.to_string(),
        }
    }
}
