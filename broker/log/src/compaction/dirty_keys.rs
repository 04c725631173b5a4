//! [`DirtyKeys`]: the newest offset of each key in the dirty part of a log, batch by batch.
//!
//! What was aborted supersedes nothing and does not enter.

use millstream_proto::{
    Offset,
    record::{Batch, RecordError},
};

use super::{
    filter::{RECORD_BYTES_MAX, marker_of},
    key_map::KeyMap,
    transactions::TransactionTracker,
};

/// Fills a map from batches that come in order.
#[derive(Debug)]
pub(crate) struct DirtyKeys {
    pub(crate) map: KeyMap,
    /// Follows the transactions of the dirty part.
    pub(crate) transactions: TransactionTracker,
    pub(crate) first_dirty: Offset,
}

impl DirtyKeys {
    /// Takes the next batch; the offset of its first record that the full map could not take.
    ///
    /// # Errors
    /// Records that cannot be read.
    pub(crate) fn add(&mut self, batch: &Batch) -> Result<Option<Offset>, RecordError> {
        if batch.is_control() {
            let marker = marker_of(batch)?;
            self.transactions.see_marker(batch, marker.as_ref());
            return Ok(None);
        }
        if self.transactions.see_records(batch) || batch.last_offset() < self.first_dirty {
            return Ok(None);
        }
        let mut records = batch.scan(RECORD_BYTES_MAX)?;
        while let Some(start) = records.start()? {
            if start.offset < self.first_dirty {
                continue;
            }
            let mut key = self.map.fingerprinting();
            let shape = records.rest::<RecordError>(|piece| {
                key.see(piece);
                Ok(())
            })?;
            if shape.has_key && !self.map.put(key.finish(), start.offset) {
                return Ok(Some(start.offset));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use millstream_proto::{
        ProducerEpoch, ProducerId,
        record::{BatchBuilder, BatchOptions, ProducerIdentity},
    };

    use super::*;
    use crate::index::AbortedTransaction;

    const P: ProducerId = ProducerId(7);

    fn offset(value: i64) -> Offset {
        Offset::new(value).unwrap()
    }

    fn batch(base: i64, is_transactional: bool, keys: &[&str]) -> Batch {
        let producer = ProducerIdentity {
            id: P,
            epoch: ProducerEpoch(0),
            base_sequence: 0,
        };
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: offset(base),
            producer: Some(producer),
            is_transactional,
            ..BatchOptions::default()
        });
        for key in keys {
            builder
                .append(0, Some(key.as_bytes()), Some(b"v"), &[])
                .unwrap();
        }
        Batch::parse(builder.finish().unwrap()).unwrap()
    }

    fn keys(first_dirty: i64, aborted: Vec<AbortedTransaction>) -> DirtyKeys {
        DirtyKeys {
            map: KeyMap::new(0),
            transactions: TransactionTracker::new(aborted),
            first_dirty: offset(first_dirty),
        }
    }

    fn newest(keys: &DirtyKeys, key: &str) -> Option<i64> {
        let found = keys.map.get(keys.map.fingerprint(key.as_bytes()));
        found.map(Offset::get)
    }

    #[test]
    fn records_from_the_first_dirty_offset_on_enter_and_aborted_ones_do_not() {
        let aborted = AbortedTransaction {
            producer_id: P,
            first_offset: offset(20),
            last_offset: offset(22),
            last_stable_offset: offset(23),
        };
        let mut keys = keys(11, vec![aborted]);
        assert_eq!(keys.add(&batch(10, false, &["a", "b"])).unwrap(), None);
        assert_eq!(keys.add(&batch(20, true, &["b", "c"])).unwrap(), None);
        let found = ["a", "b", "c"].map(|key| newest(&keys, key));
        assert_eq!(found, [None, Some(11), None]);
    }

    #[test]
    fn a_full_map_says_where_it_ended_within_a_batch() {
        let mut keys = keys(0, Vec::new());
        let many: Vec<String> = (0..20).map(|key| key.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let full_at = keys.add(&batch(0, false, &many)).unwrap().unwrap();
        assert_eq!(full_at.get(), i64::try_from(keys.map.len()).unwrap());
        assert_eq!(newest(&keys, &full_at.to_string()), None);
    }
}
