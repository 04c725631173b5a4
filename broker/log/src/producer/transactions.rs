//! [`OpenTransactions`]: which transactions hold back the last stable offset.

use std::collections::BTreeMap;

use millstream_proto::{Offset, ProducerId};

use crate::index::AbortedTransaction;

/// Transactions without a marker, and those whose marker the high watermark has not passed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenTransactions {
    /// By first offset.
    open: BTreeMap<Offset, ProducerId>,
    /// First offset to the marker's offset.
    undecided: BTreeMap<Offset, Offset>,
}

impl OpenTransactions {
    /// Notes the first record of a transaction.
    pub(super) fn begin(&mut self, first_offset: Offset, producer_id: ProducerId) {
        self.open.insert(first_offset, producer_id);
    }

    /// Notes the marker at `last_offset` and says what the last stable offset is right after it.
    pub(super) fn end(
        &mut self,
        producer_id: ProducerId,
        first_offset: Offset,
        last_offset: Offset,
    ) -> AbortedTransaction {
        self.open.remove(&first_offset);
        self.undecided.insert(first_offset, last_offset);
        let last_stable_offset = match self.open.first_key_value() {
            Some((first_open, _)) => *first_open,
            None => last_offset.checked_add(1).unwrap_or(Offset::MAX),
        };
        AbortedTransaction {
            producer_id,
            first_offset,
            last_offset,
            last_stable_offset,
        }
    }

    /// The first offset that a read_committed reader must not pass: of the earliest transaction that
    /// is open or whose marker is not yet below the high watermark.
    #[must_use]
    pub fn first_unstable(&self) -> Option<Offset> {
        let open = self.open.first_key_value().map(|(first, _)| *first);
        let undecided = self.undecided.first_key_value().map(|(first, _)| *first);
        match (open, undecided) {
            (Some(open), Some(undecided)) => Some(open.min(undecided)),
            (open, undecided) => open.or(undecided),
        }
    }

    /// Forgets ended transactions whose marker is below the high watermark.
    pub fn advance(&mut self, high_watermark: Offset) {
        self.undecided
            .retain(|_, last_offset| *last_offset >= high_watermark);
    }

    /// First offsets and producers of the open transactions.
    pub fn iter(&self) -> impl Iterator<Item = (Offset, ProducerId)> + '_ {
        self.open
            .iter()
            .map(|(offset, producer)| (*offset, *producer))
    }
}
