//! [`TailCache`]: the newest batches of all partitions in memory, bounded by their allocations.
//!
//! A partition's cached batches are contiguous in offset: new ones go to the back, old ones leave at
//! the front, the oldest of the whole directory first. It is an optimisation: a miss reads the file.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use millstream_proto::Offset;

/// What a cached batch costs beside its bytes: its place in both queues.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// The directory-wide bound and the order in which batches came.
#[derive(Debug)]
pub(crate) struct TailCache {
    bytes_max: usize,
    bytes: AtomicUsize,
    arrivals: Mutex<VecDeque<Arrival>>,
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
}

#[derive(Debug)]
struct Arrival {
    tail: Weak<PartitionTail>,
    sequence: u64,
}

/// The cached batches of one partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionTail {
    batches: Mutex<Batches>,
}

#[derive(Debug, Default)]
struct Batches {
    queue: VecDeque<CachedBatch>,
    next_sequence: u64,
}

#[derive(Debug)]
struct CachedBatch {
    sequence: u64,
    base_offset: Offset,
    last_offset: Offset,
    bytes: Bytes,
    charge: usize,
}

/// Batches found in the cache.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) slices: Vec<Bytes>,
    pub(crate) size_bytes: usize,
    pub(crate) last_offset: Offset,
}

impl TailCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: AtomicUsize::new(0),
            arrivals: Mutex::new(VecDeque::new()),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Adds a partition's next batch, `allocation_bytes` of memory behind it; drops the oldest ones
    /// of the directory beyond the bound. The partition's appends must be serialized by the caller.
    pub(crate) fn push(
        &self,
        tail: &Arc<PartitionTail>,
        (base_offset, last_offset): (Offset, Offset),
        bytes: Bytes,
        allocation_bytes: usize,
    ) {
        let charge = allocation_bytes.max(bytes.len()) + ENTRY_OVERHEAD_BYTES;
        if charge > self.bytes_max / 4 {
            // Larger than fits beside others: what is cached must stay contiguous, so it goes.
            self.clear(tail);
            return;
        }
        let sequence = tail.push(base_offset, last_offset, bytes, charge);
        self.bytes.fetch_add(charge, Ordering::Relaxed);
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.push_back(Arrival {
            tail: Arc::downgrade(tail),
            sequence,
        });
        let arrivals_max = self.bytes_max / ENTRY_OVERHEAD_BYTES;
        while self.bytes() > self.bytes_max || arrivals.len() > arrivals_max {
            let Some(oldest) = arrivals.pop_front() else {
                break;
            };
            if let Some(tail) = oldest.tail.upgrade() {
                let freed = tail.drop_up_to(oldest.sequence);
                self.bytes.fetch_sub(freed, Ordering::Relaxed);
            }
        }
    }

    /// Drops every batch that reaches `offset` or lies behind it.
    pub(crate) fn truncate(&self, tail: &PartitionTail, offset: Offset) {
        let freed = tail.drop_from(offset);
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
    }

    /// Drops every batch that ends before `offset`.
    pub(crate) fn drop_before(&self, tail: &PartitionTail, offset: Offset) {
        let freed = tail.drop_before(offset);
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
    }

    /// Drops all batches of a partition.
    pub(crate) fn clear(&self, tail: &PartitionTail) {
        self.truncate(tail, Offset::ZERO);
    }

    /// Whole batches from the one that contains `offset`, while they end before `end_exclusive` and
    /// within `max_bytes`; the first one regardless of its size. `None` on a miss.
    pub(crate) fn read(
        &self,
        tail: &PartitionTail,
        offset: Offset,
        max_bytes: usize,
        end_exclusive: Offset,
    ) -> Option<Hit> {
        let hit = tail.read(offset, max_bytes, end_exclusive);
        let counter = if hit.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.fetch_add(1, Ordering::Relaxed);
        hit
    }
}

impl PartitionTail {
    fn push(&self, base_offset: Offset, last_offset: Offset, bytes: Bytes, charge: usize) -> u64 {
        let mut batches = self.lock();
        let sequence = batches.next_sequence;
        batches.next_sequence += 1;
        batches.queue.push_back(CachedBatch {
            sequence,
            base_offset,
            last_offset,
            bytes,
            charge,
        });
        sequence
    }

    fn drop_up_to(&self, sequence: u64) -> usize {
        let mut batches = self.lock();
        let mut freed = 0;
        while let Some(first) = batches.queue.front()
            && first.sequence <= sequence
        {
            freed += first.charge;
            batches.queue.pop_front();
        }
        freed
    }

    fn drop_before(&self, offset: Offset) -> usize {
        let mut batches = self.lock();
        let mut freed = 0;
        while let Some(first) = batches.queue.front()
            && first.last_offset < offset
        {
            freed += first.charge;
            batches.queue.pop_front();
        }
        freed
    }

    fn drop_from(&self, offset: Offset) -> usize {
        let mut batches = self.lock();
        let mut freed = 0;
        while let Some(last) = batches.queue.back()
            && last.last_offset >= offset
        {
            freed += last.charge;
            batches.queue.pop_back();
        }
        if batches.queue.is_empty() {
            batches.queue = VecDeque::new();
        }
        freed
    }

    fn read(&self, offset: Offset, max_bytes: usize, end_exclusive: Offset) -> Option<Hit> {
        let batches = self.lock();
        let first = batches
            .queue
            .partition_point(|batch| batch.last_offset < offset);
        let mut hit = Hit {
            slices: Vec::new(),
            size_bytes: 0,
            last_offset: offset,
        };
        for batch in batches.queue.range(first..) {
            if hit.slices.is_empty() && batch.base_offset > offset {
                return None;
            }
            let size_bytes = hit.size_bytes + batch.bytes.len();
            if batch.last_offset >= end_exclusive
                || (size_bytes > max_bytes && !hit.slices.is_empty())
            {
                break;
            }
            hit.slices.push(batch.bytes.clone());
            hit.size_bytes = size_bytes;
            hit.last_offset = batch.last_offset;
        }
        let covers = batches.queue.get(first).is_some();
        covers.then_some(hit)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PartitionTail {
    fn drop(&mut self) {
        debug_assert!(
            self.lock().queue.is_empty(),
            "a partition clears its tail before it goes"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(value: i64) -> Offset {
        Offset::new(value).unwrap()
    }

    fn push(cache: &TailCache, tail: &Arc<PartitionTail>, base: i64, last: i64, size: usize) {
        let bytes = Bytes::from(vec![u8::try_from(base).unwrap(); size]);
        cache.push(tail, (offset(base), offset(last)), bytes, size);
    }

    #[test]
    fn reads_start_at_the_batch_that_contains_the_offset() {
        let (cache, tail) = (TailCache::new(1 << 20), Arc::new(PartitionTail::default()));
        push(&cache, &tail, 10, 14, 100);
        push(&cache, &tail, 15, 19, 100);
        push(&cache, &tail, 20, 24, 100);
        let hit = cache.read(&tail, offset(16), 200, offset(100)).unwrap();
        assert_eq!(hit.slices.len(), 2);
        assert_eq!(hit.slices[0][0], 15);
        assert_eq!((hit.size_bytes, hit.last_offset), (200, offset(24)));
        cache.clear(&tail);
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn the_first_batch_comes_even_when_larger_than_asked() {
        let (cache, tail) = (TailCache::new(1 << 20), Arc::new(PartitionTail::default()));
        push(&cache, &tail, 0, 0, 100);
        push(&cache, &tail, 1, 1, 100);
        let hit = cache.read(&tail, offset(0), 1, offset(100)).unwrap();
        assert_eq!(hit.slices.len(), 1);
        cache.clear(&tail);
    }

    #[test]
    fn batches_that_reach_the_end_are_left_out() {
        let (cache, tail) = (TailCache::new(1 << 20), Arc::new(PartitionTail::default()));
        push(&cache, &tail, 0, 4, 100);
        push(&cache, &tail, 5, 9, 100);
        let hit = cache.read(&tail, offset(0), 1000, offset(9)).unwrap();
        assert_eq!(hit.slices.len(), 1);
        assert!(
            cache
                .read(&tail, offset(5), 1000, offset(9))
                .unwrap()
                .slices
                .is_empty()
        );
        cache.clear(&tail);
    }

    #[test]
    fn what_is_before_the_cache_is_a_miss() {
        let (cache, tail) = (TailCache::new(1 << 20), Arc::new(PartitionTail::default()));
        push(&cache, &tail, 5, 9, 100);
        assert!(cache.read(&tail, offset(4), 1000, offset(100)).is_none());
        assert!(cache.read(&tail, offset(10), 1000, offset(100)).is_none());
        cache.clear(&tail);
    }

    #[test]
    fn the_oldest_batches_of_all_partitions_leave_first_and_the_bound_holds() {
        let cache = TailCache::new(8 * 1024);
        let tails: Vec<_> = (0..3).map(|_| Arc::new(PartitionTail::default())).collect();
        for round in 0..50 {
            for tail in &tails {
                push(&cache, tail, round, round, 500);
                assert!(cache.bytes() <= 8 * 1024);
            }
        }
        for tail in &tails {
            assert!(cache.read(tail, offset(0), 1, offset(100)).is_none());
            assert!(cache.read(tail, offset(49), 1, offset(100)).is_some());
            cache.clear(tail);
        }
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn truncation_drops_every_batch_that_reaches_the_offset() {
        let (cache, tail) = (TailCache::new(1 << 20), Arc::new(PartitionTail::default()));
        push(&cache, &tail, 0, 4, 100);
        push(&cache, &tail, 5, 9, 100);
        cache.truncate(&tail, offset(7));
        assert!(cache.read(&tail, offset(5), 1, offset(100)).is_none());
        assert!(cache.read(&tail, offset(4), 1, offset(100)).is_some());
        cache.clear(&tail);
    }

    #[test]
    fn a_batch_too_large_for_the_cache_leaves_no_gap() {
        let (cache, tail) = (TailCache::new(4096), Arc::new(PartitionTail::default()));
        push(&cache, &tail, 0, 0, 100);
        push(&cache, &tail, 1, 1, 4000);
        push(&cache, &tail, 2, 2, 100);
        assert!(cache.read(&tail, offset(0), 9000, offset(9)).is_none());
        assert!(cache.read(&tail, offset(1), 9000, offset(9)).is_none());
        assert!(cache.read(&tail, offset(2), 9000, offset(9)).is_some());
        cache.clear(&tail);
    }
}
