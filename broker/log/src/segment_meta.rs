//! [`SegmentMeta`]: what is known of a segment without opening it.

use millstream_proto::Offset;

/// The timestamp of a segment or batch that has none.
pub const NO_TIMESTAMP: i64 = -1;

/// What is known of a segment without opening it. 48 bytes, so that many segments cost little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentMeta {
    /// Offset that names its files; no record in it is earlier.
    pub base_offset: Offset,
    /// Bytes of its `.log` that count. The file may be longer: reserved space, or the stale tail
    /// of a truncation.
    pub size_bytes: u64,
    /// Offset of its last record; `None` while it holds no batch.
    pub last_offset: Option<Offset>,
    /// Largest record timestamp in milliseconds; [`NO_TIMESTAMP`] while it holds none.
    pub max_timestamp_ms: i64,
    /// Last offset of the earliest batch that holds the largest timestamp; the base offset while
    /// there is none.
    pub max_timestamp_offset: Offset,
}

impl SegmentMeta {
    /// A segment without batches.
    #[must_use]
    pub const fn empty(base_offset: Offset) -> Self {
        Self {
            base_offset,
            size_bytes: 0,
            last_offset: None,
            max_timestamp_ms: NO_TIMESTAMP,
            max_timestamp_offset: base_offset,
        }
    }

    /// Offset that the next record after this segment gets.
    ///
    /// # Panics
    /// Never in practice: a last offset of `i64::MAX` is refused at append.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        match self.last_offset {
            Some(last) => last
                .checked_add(1)
                .expect("append refuses the largest offset"),
            None => self.base_offset,
        }
    }

    /// Takes one more batch into account, written at the present end.
    pub fn add_batch(&mut self, last_offset: Offset, size_bytes: u64, max_timestamp_ms: i64) {
        self.size_bytes += size_bytes;
        self.last_offset = Some(last_offset);
        if max_timestamp_ms > self.max_timestamp_ms {
            self.max_timestamp_ms = max_timestamp_ms;
            self.max_timestamp_offset = last_offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_batch_with_the_largest_timestamp_is_kept() {
        let offset = |value| Offset::new(value).unwrap();
        let mut meta = SegmentMeta::empty(offset(10));
        assert_eq!(meta.end_offset(), offset(10));
        meta.add_batch(offset(14), 100, 7);
        meta.add_batch(offset(19), 50, 9);
        meta.add_batch(offset(20), 25, 9);
        meta.add_batch(offset(21), 25, 3);
        assert_eq!(meta.end_offset(), offset(22));
        assert_eq!(meta.size_bytes, 200);
        assert_eq!(
            (meta.max_timestamp_ms, meta.max_timestamp_offset),
            (9, offset(19))
        );
    }
}
