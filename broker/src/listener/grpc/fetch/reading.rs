//! [`Reading`]: one partition of a fetch stream, its credit, and where it stands in line.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use millstream_proto::{
    Offset, PartitionIndex,
    grpc::v1::{self, fetch_response::Response as Answer},
};

use super::wire;
use crate::{
    config::Limits,
    service::{
        RequestContext, ServiceError, Services,
        fetch::{FetchRefusal, FetchStart, Fetched, Isolation, Offsets, PartitionReader, Wakeups},
        offsets::checked_offset,
    },
};

/// What one stream may ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchLimits {
    pub(super) stream_credit_bytes_max: u64,
    pub(super) partitions_max: u32,
    partition_credit_bytes_max: u64,
}

impl FetchLimits {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            stream_credit_bytes_max: limits.fetch_stream_credit_bytes_max.0,
            partitions_max: limits.fetch_stream_partitions_max,
            partition_credit_bytes_max: limits.fetch_partition_credit_bytes_max.0,
        }
    }

    pub(super) fn check_partitions(&self, count: usize) -> Result<(), ServiceError> {
        let max = self.partitions_max;
        if u32::try_from(count).is_ok_and(|count| count < max) {
            return Ok(());
        }
        Err(ServiceError::invalid_request(
            format!("fetch stream reads {count} partition(s) already, at most {max} are allowed"),
            "remove some, open another stream, or raise limits.fetch_stream_partitions_max",
        ))
    }

    pub(super) fn check_stream_credit(&self, bytes: u64) -> Result<(), ServiceError> {
        let max = self.stream_credit_bytes_max;
        if bytes <= max {
            return Ok(());
        }
        Err(ServiceError::invalid_request(
            format!("fetch stream has {bytes} bytes of credit, at most {max} are allowed"),
            "grant less, or raise limits.fetch_stream_credit_bytes_max",
        ))
    }
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Its turn comes.
    InLine,
    /// It waits for credit.
    WithoutCredit,
    /// It waits for records.
    Parked,
    /// It is being read from disk.
    OnDisk,
}

/// One partition of a fetch stream.
#[derive(Debug)]
pub(super) struct Reading {
    /// Away while it is read from disk.
    reader: Option<PartitionReader>,
    /// Batch bytes that may still be sent; negative by at most one batch.
    credit: i64,
    place: Place,
    /// The high watermark that the client was told last.
    told: Option<Offset>,
}

/// What a turn brought.
pub(super) enum Turn {
    /// Batches of so many bytes.
    Data(Answer, usize),
    /// It parked, and the client learns where the log ends.
    News(Answer),
    /// It parked, and the client knows.
    Idle,
    /// Something arrived between reading and parking.
    Again,
    /// Its bytes are not in memory: read at most so many from disk.
    NeedsDisk(PartitionReader, usize),
    /// It ended.
    Failed(FetchRefusal),
}

/// Opens a partition as a client asks.
pub(super) fn open(
    services: &Services,
    context: &RequestContext,
    add: &v1::FetchAdd,
    isolation: Isolation,
) -> Result<Reading, FetchRefusal> {
    let start = FetchStart {
        topic_id: wire::topic_id(&add.topic_id).map_err(without_offsets)?,
        partition: PartitionIndex(add.partition),
        offset: checked_offset(add.offset).map_err(without_offsets)?,
        leader_epoch: wire::leader_epoch(add.leader_epoch),
        isolation,
    };
    Ok(Reading {
        reader: Some(services.open_reader(context, &start)?),
        credit: 0,
        place: Place::WithoutCredit,
        told: None,
    })
}

impl Reading {
    /// Credit that is left, as far as it is positive.
    pub(super) fn credit_left(&self) -> u64 {
        u64::try_from(self.credit).unwrap_or(0)
    }

    pub(super) fn grant(&mut self, bytes: u64, limits: &FetchLimits) -> Result<(), ServiceError> {
        let max = limits.partition_credit_bytes_max;
        let credit = i128::from(self.credit) + i128::from(bytes);
        match i64::try_from(credit) {
            Ok(credit) if credit <= i64::try_from(max).unwrap_or(i64::MAX) => {
                self.credit = credit;
                Ok(())
            }
            _ => Err(ServiceError::invalid_request(
                format!("partition has {credit} bytes of credit, at most {max} are allowed"),
                "grant less, or raise limits.fetch_partition_credit_bytes_max",
            )),
        }
    }

    pub(super) fn charge(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.credit = self.credit.saturating_sub(bytes);
    }

    /// Credit came, or a frame was sent: whether it must be put in line now.
    pub(super) fn go_on(&mut self) -> bool {
        if self.place != Place::WithoutCredit || self.credit <= 0 {
            return false;
        }
        self.place = Place::InLine;
        true
    }

    /// Its partition moved: whether it must be put in line now.
    pub(super) fn moved(&mut self) -> bool {
        if self.place != Place::Parked {
            return false;
        }
        self.place = Place::WithoutCredit;
        self.go_on()
    }

    /// Tells where the partition stands.
    pub(super) fn news(&mut self, fetch_id: u64) -> Result<Answer, FetchRefusal> {
        let reader = self.reader.as_ref();
        let offsets = reader.map_or_else(|| Err(gone()), PartitionReader::offsets)?;
        self.told = Some(offsets.high_watermark);
        Ok(data(fetch_id, &offsets, Vec::new(), Bytes::new()))
    }

    /// Takes its turn: reads at most `frame_bytes`, or what its credit allows.
    pub(super) fn turn(&mut self, fetch_id: u64, frame_bytes: u32, wakeups: &Arc<Wakeups>) -> Turn {
        let Some(mut reader) = self.reader.take() else {
            return Turn::Failed(gone());
        };
        let max_bytes = u64::from(frame_bytes).min(self.credit_left());
        let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let read = reader.read_from_memory(max_bytes);
        match read {
            Ok(None) => {
                self.place = Place::OnDisk;
                Turn::NeedsDisk(reader, max_bytes)
            }
            Ok(Some(fetched)) => self.was_read(fetch_id, reader, fetched, wakeups),
            Err(refusal) => Turn::Failed(refusal),
        }
    }

    /// Takes in what was read from disk.
    pub(super) fn disk_read_done(
        &mut self,
        fetch_id: u64,
        reader: PartitionReader,
        result: Result<Fetched, FetchRefusal>,
        wakeups: &Arc<Wakeups>,
    ) -> Turn {
        match result {
            Ok(fetched) => self.was_read(fetch_id, reader, fetched, wakeups),
            Err(refusal) => Turn::Failed(refusal),
        }
    }

    fn was_read(
        &mut self,
        fetch_id: u64,
        reader: PartitionReader,
        fetched: Fetched,
        wakeups: &Arc<Wakeups>,
    ) -> Turn {
        let reader = self.reader.insert(reader);
        if !fetched.is_empty() {
            self.place = Place::WithoutCredit;
            self.told = Some(fetched.offsets.high_watermark);
            let bytes = fetched.size_bytes;
            let aborted = fetched.aborted.iter();
            let aborted = aborted.map(|transaction| v1::AbortedTransaction {
                producer_id: transaction.producer_id,
                first_offset: transaction.first_offset.get(),
            });
            let aborted = aborted.collect();
            let batches = concatenate(fetched.batches, bytes);
            let answer = data(fetch_id, &fetched.offsets, aborted, batches);
            return Turn::Data(answer, bytes);
        }
        match reader.park(wakeups, fetch_id) {
            Ok(true) => {
                self.place = Place::Parked;
                let high_watermark = Some(fetched.offsets.high_watermark);
                if self.told == high_watermark {
                    return Turn::Idle;
                }
                self.told = high_watermark;
                Turn::News(data(fetch_id, &fetched.offsets, Vec::new(), Bytes::new()))
            }
            Ok(false) => {
                self.place = Place::WithoutCredit;
                Turn::Again
            }
            Err(refusal) => Turn::Failed(refusal),
        }
    }
}

fn data(
    fetch_id: u64,
    offsets: &Offsets,
    aborted_transactions: Vec<v1::AbortedTransaction>,
    batches: Bytes,
) -> Answer {
    Answer::Data(v1::FetchData {
        fetch_id,
        high_watermark: offsets.high_watermark.get(),
        last_stable_offset: offsets.last_stable.get(),
        log_start_offset: offsets.log_start.get(),
        aborted_transactions,
        batches,
    })
}

/// One field of a message holds them all.
fn concatenate(mut slices: Vec<Bytes>, size_bytes: usize) -> Bytes {
    if let [only] = &mut *slices {
        return std::mem::take(only);
    }
    let mut joined = BytesMut::with_capacity(size_bytes);
    slices
        .iter()
        .for_each(|slice| joined.extend_from_slice(slice));
    joined.freeze()
}

/// The end of a partition's reading.
pub(super) fn failed(fetch_id: u64, refusal: FetchRefusal) -> Answer {
    let offset =
        |read: fn(&Offsets) -> Offset| refusal.offsets.as_ref().map_or(-1, |o| read(o).get());
    Answer::Failed(v1::FetchFailed {
        fetch_id,
        log_start_offset: offset(|offsets| offsets.log_start),
        high_watermark: offset(|offsets| offsets.high_watermark),
        error: Some(wire::error(refusal.error)),
    })
}

/// A refusal that does not know where the partition stands.
pub(super) fn without_offsets(error: ServiceError) -> FetchRefusal {
    FetchRefusal {
        error,
        offsets: None,
    }
}

/// A turn panicked while it had the reader.
fn gone() -> FetchRefusal {
    without_offsets(ServiceError::panicked())
}
