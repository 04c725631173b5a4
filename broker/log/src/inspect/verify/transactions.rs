//! [`Replay`]: producer state recomputed from the batches, and transaction indexes against it.
//!
//! What compaction took away cannot be recomputed: the first offset of an aborted transaction
//! without records, and a last stable offset that rested on such a transaction of another
//! producer. There the index is believed where it is possible.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use millstream_proto::{
    Offset, ProducerId,
    record::{
        RecordError,
        control::{ControlRecord, EndTransactionMarker, TransactionResult},
    },
};

use super::super::{Compaction, Report, ScannedBatch};
use crate::{
    index::{AbortedTransaction, TransactionIndex},
    producer::ProducerState,
};

/// Bytes that the records of a control batch may have.
const CONTROL_BYTES_MAX: usize = 64 * 1024;

/// Producer state as the batches read so far make it.
pub(super) struct Replay {
    pub(super) state: ProducerState,
    /// Whether everything before was seen: from offset 0 or a snapshot, without a bad batch.
    pub(super) is_complete: bool,
    compaction: Compaction,
    /// Aborts of the segment being read, in order.
    aborts: Vec<SeenAbort>,
    /// Offset of each producer's last marker.
    markers: HashMap<ProducerId, Offset>,
    /// Offset of each producer's last transactional batch or marker.
    active_until: HashMap<ProducerId, Offset>,
    doubts: Vec<Doubt>,
}

/// An abort marker.
#[derive(Clone, Copy)]
struct SeenAbort {
    producer_id: ProducerId,
    marker: Offset,
    /// `None` where no record of the transaction was seen.
    first_offset: Option<Offset>,
    last_stable_offset: Offset,
    previous_marker: Option<Offset>,
}

/// An entry whose last stable offset is below the recomputed one: possible if another producer's
/// transaction was open there, which its later batches tell.
struct Doubt {
    file: PathBuf,
    position: u64,
    entry: AbortedTransaction,
    computed: Offset,
}

impl Replay {
    pub(super) fn new(state: Option<ProducerState>, compaction: Compaction) -> Self {
        Self {
            is_complete: state.is_some(),
            state: state.unwrap_or_default(),
            compaction,
            aborts: Vec::new(),
            markers: HashMap::new(),
            active_until: HashMap::new(),
            doubts: Vec::new(),
        }
    }

    /// Takes a batch with a right CRC into account.
    pub(super) fn see(&mut self, batch: &ScannedBatch) -> Result<(), String> {
        if batch.is_transactional() {
            self.active_until
                .insert(batch.producer_id(), batch.last_offset());
        }
        if !batch.is_control() {
            self.state.apply(batch.header(), batch.base_offset(), 0);
            return Ok(());
        }
        if let Some(marker) = marker_of(batch).map_err(|error| error.to_string())? {
            self.see_marker(batch, marker);
        }
        Ok(())
    }

    fn see_marker(&mut self, batch: &ScannedBatch, marker: EndTransactionMarker) {
        let (producer_id, offset) = (batch.producer_id(), batch.base_offset());
        let ended = self.state.apply_marker(batch.header(), &marker, offset, 0);
        let previous_marker = self.markers.insert(producer_id, offset);
        if marker.result == TransactionResult::Commit {
            return;
        }
        let first_open = self
            .state
            .transactions()
            .iter()
            .next()
            .map(|(first, _)| first);
        let after_marker = offset.checked_add(1).unwrap_or(Offset::MAX);
        self.aborts.push(SeenAbort {
            producer_id,
            marker: offset,
            first_offset: ended.map(|ended| ended.first_offset),
            last_stable_offset: first_open.unwrap_or(after_marker),
            previous_marker,
        });
    }

    /// Forgets the aborts of the segment that was read, after the check of its index.
    pub(super) fn check_index(
        &mut self,
        file: &Path,
        index: Option<&TransactionIndex>,
        report: &mut Report,
    ) {
        let aborts = std::mem::take(&mut self.aborts);
        let entries = index.map(TransactionIndex::entries).unwrap_or_default();
        let mut expected = aborts.iter().peekable();
        let positions = (0_u64..).step_by(TransactionIndex::ENTRY_BYTES);
        for (position, entry) in positions.zip(entries) {
            while let Some(missing) = expected.next_if(|abort| abort.marker < entry.last_offset) {
                self.report_missing(file, missing, report);
            }
            match expected.next_if(|abort| abort.marker == entry.last_offset) {
                Some(abort) => self.check_entry(file, position, entry, abort, report),
                None if self.is_complete => {
                    let reason = format!("no abort marker is at offset {}", entry.last_offset);
                    report.add_at(file, position, reason);
                }
                None => {}
            }
        }
        for missing in expected {
            self.report_missing(file, missing, report);
        }
    }

    fn report_missing(&self, file: &Path, abort: &SeenAbort, report: &mut Report) {
        // A marker without records of its own makes no entry.
        if self.is_complete && abort.first_offset.is_some() {
            let reason = format!("no entry for the abort marker at offset {}", abort.marker);
            report.add_file(file, reason);
        }
    }

    fn check_entry(
        &mut self,
        file: &Path,
        position: u64,
        entry: &AbortedTransaction,
        abort: &SeenAbort,
        report: &mut Report,
    ) {
        if entry.producer_id != abort.producer_id {
            let reason = format!(
                "entry has producer {}, the marker at offset {} has {}",
                entry.producer_id, abort.marker, abort.producer_id
            );
            report.add_at(file, position, reason);
        }
        if let Some(reason) = self.first_offset_problem(entry, abort) {
            report.add_at(file, position, reason);
        }
        if self.is_complete && entry.last_stable_offset != abort.last_stable_offset {
            self.doubts.push(Doubt {
                file: file.to_path_buf(),
                position,
                entry: *entry,
                computed: abort.last_stable_offset,
            });
        }
    }

    fn first_offset_problem(
        &self,
        entry: &AbortedTransaction,
        abort: &SeenAbort,
    ) -> Option<String> {
        let found = entry.first_offset;
        let was_compacted = self.compaction.covers(entry.first_offset);
        let fits = match abort.first_offset {
            // Earlier records of the transaction may be gone.
            Some(first) if was_compacted => found <= first,
            Some(first) => !self.is_complete || found == first,
            None => was_compacted || !self.is_complete,
        };
        let is_after = abort.previous_marker.is_none_or(|marker| found > marker);
        if fits && is_after {
            return None;
        }
        let expected = abort
            .first_offset
            .map_or_else(|| "none".to_owned(), |first| first.to_string());
        Some(format!(
            "entry has first offset {found}, the log has {expected}"
        ))
    }

    /// Settles, at the end of the log, what only later batches could tell.
    pub(super) fn finish(&mut self, report: &mut Report) {
        for doubt in std::mem::take(&mut self.doubts) {
            if !self.may_be(&doubt) {
                let reason = format!(
                    "entry has last stable offset {}, expected {}",
                    doubt.entry.last_stable_offset, doubt.computed
                );
                report.add_at(&doubt.file, doubt.position, reason);
            }
        }
    }

    fn may_be(&self, doubt: &Doubt) -> bool {
        let entry = &doubt.entry;
        let other_was_open = self.active_until.iter().any(|(producer_id, until)| {
            *producer_id != entry.producer_id && *until > entry.last_offset
        });
        let claimed = entry.last_stable_offset;
        other_was_open && claimed < doubt.computed && self.compaction.covers(claimed)
    }
}

/// The marker in a control batch; `None` for other control records.
fn marker_of(batch: &ScannedBatch) -> Result<Option<EndTransactionMarker>, RecordError> {
    if batch.record_count() == 0 {
        // Emptied by compaction, which leaves markers of committed and aborted transactions alike
        // until nothing depends on them: only the end of the transaction is left to know.
        return Ok(Some(EndTransactionMarker::new(
            TransactionResult::Commit,
            -1,
        )));
    }
    for record in batch.records(CONTROL_BYTES_MAX)? {
        match ControlRecord::decode(&record?) {
            Ok(ControlRecord::EndTransaction(marker)) => return Ok(Some(marker)),
            Ok(_) => {}
            Err(_) => {
                return Err(RecordError::Field {
                    index: 0,
                    field: "control record",
                });
            }
        }
    }
    Ok(None)
}
