//! [`TransactionTracker`]: which batches belong to aborted transactions, and which markers still have
//! records.
//!
//! It sees every batch of a range in order. A marker is needed as long as a batch of its transaction
//! was seen: only when none is left may the marker go, after a time of its own, and the entry of an
//! aborted transaction with it.

use std::collections::{HashMap, HashSet, VecDeque};

use millstream_proto::{
    Offset, ProducerId,
    record::{
        BatchHeader,
        control::{EndTransactionMarker, TransactionResult},
    },
};

use crate::index::AbortedTransaction;

/// Follows transactions through a range of the log.
#[derive(Debug)]
pub(crate) struct TransactionTracker {
    /// Aborted transactions that begin further on, in order of their first offset.
    coming: VecDeque<AbortedTransaction>,
    aborted: HashMap<ProducerId, OngoingAbort>,
    /// Producers with a batch of a transaction that was not aborted and has not ended.
    others: HashSet<ProducerId>,
}

#[derive(Debug)]
struct OngoingAbort {
    transaction: AbortedTransaction,
    has_batches: bool,
}

/// What becomes of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    /// Batches of its transaction were seen. The entry that an aborted one keeps in the index.
    Needed(Option<AbortedTransaction>),
    /// None was: it may go once its delete horizon has passed.
    Unneeded,
}

impl TransactionTracker {
    /// Follows a range of the log given all aborted transactions that touch it.
    pub(crate) fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_unstable_by_key(|transaction| transaction.first_offset);
        Self {
            coming: aborted.into(),
            aborted: HashMap::new(),
            others: HashSet::new(),
        }
    }

    /// Sees a batch of records; true when they were aborted.
    pub(crate) fn see_records(&mut self, header: &BatchHeader) -> bool {
        self.reach(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id()) {
            Some(ongoing) => {
                ongoing.has_batches = true;
                true
            }
            None => {
                self.others.insert(header.producer_id());
                false
            }
        }
    }

    /// Sees a control batch with the marker in it, `None` where it holds none: emptied before, or of
    /// another kind.
    pub(crate) fn see_marker(
        &mut self,
        header: &BatchHeader,
        marker: Option<&EndTransactionMarker>,
    ) -> Marker {
        self.reach(header.last_offset());
        let producer_id = header.producer_id();
        match marker.map(|marker| marker.result) {
            Some(TransactionResult::Abort) => {
                self.others.remove(&producer_id);
                match self.aborted.remove(&producer_id) {
                    Some(ongoing) if ongoing.has_batches => {
                        Marker::Needed(Some(ongoing.transaction))
                    }
                    _ => Marker::Unneeded,
                }
            }
            Some(TransactionResult::Commit) if self.others.remove(&producer_id) => {
                Marker::Needed(None)
            }
            Some(TransactionResult::Commit) => Marker::Unneeded,
            None if header.record_count() == 0 => Marker::Unneeded,
            None => Marker::Needed(None),
        }
    }

    /// Transactions that begin at or before `offset` go on from here.
    fn reach(&mut self, offset: Offset) {
        while let Some(transaction) = self
            .coming
            .pop_front_if(|transaction| transaction.first_offset <= offset)
        {
            self.aborted
                .entry(transaction.producer_id)
                .or_insert(OngoingAbort {
                    transaction,
                    has_batches: false,
                });
        }
    }
}
