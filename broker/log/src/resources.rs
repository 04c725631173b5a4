//! [`OpenSegments`]: bounds on open files and mapped bytes over all partitions of a directory.
//!
//! A permit is taken before a segment opens its file or maps it, and goes with the handle. When the
//! bound is reached the least recently used segments give theirs up; one with unflushed bytes never
//! does, because closing it could lose the error of its write-back.

use std::{
    io, mem,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use crate::{context::DataDirectory, io::LogFile, segment::Segment};

/// Counts and bounds the handles of all segments of a data directory.
#[derive(Debug)]
pub(crate) struct OpenSegments {
    segments_max: usize,
    mapped_bytes_max: u64,
    open: AtomicUsize,
    mapped_bytes: AtomicU64,
    /// Logical time of the last use, for the order of eviction.
    clock: AtomicU64,
    holders: Mutex<Vec<Weak<Segment>>>,
    /// Whose dirty partitions are flushed when nothing else can be closed, and who frees blocks.
    directory: OnceLock<Weak<DataDirectory>>,
}

/// The right to hold one open segment file; returned on drop.
#[derive(Debug)]
pub(crate) struct OpenPermit(Arc<OpenSegments>);

impl Drop for OpenPermit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to hold a map of so many bytes; returned on drop.
#[derive(Debug)]
pub(crate) struct MapPermit {
    open_segments: Arc<OpenSegments>,
    bytes: u64,
}

impl Drop for MapPermit {
    fn drop(&mut self) {
        self.open_segments
            .mapped_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl OpenSegments {
    pub(crate) fn new(segments_max: usize, mapped_bytes_max: u64) -> Arc<Self> {
        Arc::new(Self {
            segments_max: segments_max.max(1),
            mapped_bytes_max,
            open: AtomicUsize::new(0),
            mapped_bytes: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            holders: Mutex::new(Vec::new()),
            directory: OnceLock::new(),
        })
    }

    /// Says whose segments they are.
    pub(crate) fn serve(&self, directory: &Arc<DataDirectory>) {
        // Set once, when the directory is opened.
        let _ = self.directory.set(Arc::downgrade(directory));
    }

    /// A tick of the logical clock.
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn segments_max(&self) -> usize {
        self.segments_max
    }

    pub(crate) fn open_count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn mapped_bytes(&self) -> u64 {
        self.mapped_bytes.load(Ordering::Relaxed)
    }

    /// The right to open one more file. Waits for the disk when every open one has unflushed bytes;
    /// `None` when that did not help. No lock of a segment may be held.
    pub(crate) fn open_permit(self: &Arc<Self>) -> Option<OpenPermit> {
        for attempt in 0..3 {
            if attempt == 2
                && let Some(directory) = self.directory.get().and_then(Weak::upgrade)
            {
                directory.flush_dirty();
                self.close_least_recent();
            }
            if self.open.fetch_add(1, Ordering::Relaxed) < self.segments_max {
                return Some(OpenPermit(Arc::clone(self)));
            }
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.close_least_recent();
        }
        None
    }

    /// The right to map `bytes`; `None` when that alone is beyond the bound (read the file then).
    pub(crate) fn map_permit(self: &Arc<Self>, bytes: u64) -> Option<MapPermit> {
        if bytes > self.mapped_bytes_max {
            return None;
        }
        for _ in 0..2 {
            let before = self.mapped_bytes.fetch_add(bytes, Ordering::Relaxed);
            if before.saturating_add(bytes) <= self.mapped_bytes_max {
                return Some(MapPermit {
                    open_segments: Arc::clone(self),
                    bytes,
                });
            }
            self.mapped_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.unmap_least_recent(bytes);
        }
        None
    }

    /// Takes the file of a removed segment that nobody reads any more, to free its blocks.
    pub(crate) fn reclaim(&self, file: Arc<dyn LogFile>) {
        if let Some(directory) = self.directory.get().and_then(Weak::upgrade) {
            directory.reclaimer.take(file);
        }
    }

    /// Remembers that a segment holds a file or a map.
    pub(crate) fn register(&self, segment: &Arc<Segment>) {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.len() > 2 * self.segments_max {
            holders.retain(|holder| holder.upgrade().is_some_and(|segment| segment.is_open()));
        }
        holders.push(Arc::downgrade(segment));
    }

    /// Closes an eighth of the open segments, least recently used first.
    fn close_least_recent(&self) {
        let quota = self.segments_max / 8 + 1;
        let mut closed = 0;
        for segment in self.least_recent_first() {
            if closed >= quota {
                break;
            }
            closed += usize::from(segment.try_close());
        }
    }

    fn unmap_least_recent(&self, bytes: u64) {
        let enough = self.mapped_bytes_max.saturating_sub(bytes);
        for segment in self.least_recent_first() {
            if self.mapped_bytes() <= enough {
                break;
            }
            segment.try_unmap();
        }
    }

    fn least_recent_first(&self) -> Vec<Arc<Segment>> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        let mut segments: Vec<_> = mem::take(&mut *holders)
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|segment| segment.is_open())
            .collect();
        // Cached: they are used meanwhile, and a sort may panic over an order that changes.
        segments.sort_by_cached_key(|segment| segment.last_used());
        segments.dedup_by(|a, b| Arc::ptr_eq(a, b));
        *holders = segments.iter().map(Arc::downgrade).collect();
        segments
    }
}

/// The error of a segment that found no permit.
pub(crate) fn exhausted() -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, "open segments exhausted")
}
