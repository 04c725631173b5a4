//! [`Segment`]: one segment of a live log: what is published of it, and its handles while it has any.
//!
//! A segment's published bytes never change: appends publish more of them, a truncation replaces the
//! segment by another one of the same file. File, map and indexes are opened when first needed and
//! given up when the directory's bounds ask for it; a segment with unflushed bytes keeps its file.

use std::{
    io, mem,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use millstream_proto::Offset;

use crate::{
    compaction::cleaned::FinishedSegment,
    index::{SegmentIndexes, TransactionIndex},
    io::{LogFile, LogIo, Map, OpenMode},
    layout::FileKind,
    resources::{MapPermit, OpenPermit, OpenSegments, exhausted},
    segment_meta::SegmentMeta,
};

/// Index entries that wait in memory before they are written: they are hints, so they may be late.
const PENDING_ENTRIES_MAX: usize = 128;
/// The active segment is mapped anew once this much was published beyond its map; until then what is
/// not mapped is read.
const REMAP_BYTES: u64 = 4 << 20;
/// What was appended to the active segment last is in the page cache without a look.
const RECENT_BYTES: u64 = 2 * REMAP_BYTES;
/// Bytes before and behind a range that finding its batches may look at.
const AROUND_BYTES: u64 = 64 << 10;

/// One segment of a live log.
#[derive(Debug)]
pub(crate) struct Segment {
    io: Arc<dyn LogIo>,
    dir: Arc<Path>,
    open_segments: Arc<OpenSegments>,
    base_offset: Offset,
    interval_bytes: u64,
    meta: Mutex<SegmentMeta>,
    handles: Mutex<Handles>,
    last_used: AtomicU64,
    /// Bytes were written that no flush covers.
    dirty: AtomicBool,
    /// Why its file is not the one that was sealed, once somebody looked; `None` when it is.
    identity: OnceLock<Option<String>>,
    identity_turn: Mutex<()>,
    /// Bytes whose checksums this process saw fit, as they were appended or read.
    checked: Mutex<Range<u64>>,
    /// The file holds stale batches beyond this size; cut when the last reader is gone.
    stale_tail: Mutex<Option<(Arc<dyn LogFile>, u64)>>,
}

#[derive(Debug, Default)]
struct Handles {
    file: Option<(Arc<dyn LogFile>, OpenPermit)>,
    map: Option<(Map, u64, MapPermit)>,
    indexes: Option<Box<SegmentIndexes>>,
    transactions: Option<Box<TransactionIndex>>,
    /// The index files did not fit the log and wait for a rebuild.
    index_damaged: bool,
    /// Its files belong to somebody else now: nothing is opened or written by name any more.
    abandoned: bool,
    /// What is open stays open: its names are about to go.
    pinned: bool,
    /// Its names are gone, durably.
    removed: bool,
}

impl Handles {
    /// The file where it is open; an error where it must not be opened by name any more; else `None`.
    fn known_file(&self) -> Option<io::Result<Arc<dyn LogFile>>> {
        match &self.file {
            Some((file, _)) => Some(Ok(Arc::clone(file))),
            None => self.abandoned.then(|| Err(abandoned())),
        }
    }
}

/// Where bytes of a segment come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A map of at least the published bytes asked for.
    Map(Map),
    /// The file, where mapping does not pay or is not allowed.
    File(Arc<dyn LogFile>),
}

/// What all segments of a partition share.
#[derive(Debug, Clone)]
pub(crate) struct SegmentDeps {
    pub(crate) io: Arc<dyn LogIo>,
    pub(crate) dir: Arc<Path>,
    pub(crate) open_segments: Arc<OpenSegments>,
    pub(crate) interval_bytes: u64,
}

impl Segment {
    /// A segment whose files exist.
    pub(crate) fn new(deps: &SegmentDeps, meta: SegmentMeta) -> Arc<Self> {
        Arc::new(Self {
            io: Arc::clone(&deps.io),
            dir: Arc::clone(&deps.dir),
            open_segments: Arc::clone(&deps.open_segments),
            base_offset: meta.base_offset,
            interval_bytes: deps.interval_bytes,
            meta: Mutex::new(meta),
            handles: Mutex::new(Handles::default()),
            last_used: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            identity: OnceLock::new(),
            identity_turn: Mutex::default(),
            checked: Mutex::new(0..0),
            stale_tail: Mutex::new(None),
        })
    }

    /// A new, empty segment: creates its files. Durable only once the directory is synced.
    pub(crate) fn create(deps: &SegmentDeps, base_offset: Offset) -> io::Result<Arc<Self>> {
        let segment = Self::new(deps, SegmentMeta::empty(base_offset));
        let permit = segment.open_segments.open_permit().ok_or_else(exhausted)?;
        let file = segment.io.open(&segment.log_path(), OpenMode::CreateNew)?;
        if let Err(error) = segment.create_indexes() {
            segment.remove_files();
            return Err(error);
        }
        // Nobody but this process writes it from now on.
        segment.set_identity(None);
        {
            let mut handles = segment.handles();
            handles.file = Some((file, permit));
            handles.indexes = Some(Box::new(SegmentIndexes::new(
                base_offset,
                deps.interval_bytes,
            )));
            handles.transactions = Some(Box::default());
        }
        segment.touch();
        segment.open_segments.register(&segment);
        Ok(segment)
    }

    fn create_indexes(&self) -> io::Result<()> {
        for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
            let file = self.io.open(&self.path_of(kind), OpenMode::Create)?;
            file.set_len(0)?;
        }
        Ok(())
    }

    /// Removes the names of its files, as far as they exist; open handles and maps stay valid.
    /// Returns the first failure.
    pub(crate) fn remove_files(&self) -> Option<io::Error> {
        let mut failure = None;
        for kind in FileKind::ALL {
            match self.io.remove_file(&self.path_of(kind)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    failure.get_or_insert(error);
                }
                _ => {}
            }
        }
        failure
    }

    pub(crate) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    pub(crate) fn path_of(&self, kind: FileKind) -> PathBuf {
        kind.path(&self.dir, self.base_offset)
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.path_of(FileKind::Log)
    }

    /// What is published of it.
    pub(crate) fn meta(&self) -> SegmentMeta {
        *self.lock_meta()
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.lock_meta().size_bytes
    }

    pub(crate) fn end_offset(&self) -> Offset {
        self.lock_meta().end_offset()
    }

    /// Why its file is not the one that was sealed, when that is known; inside, `None` says that it is.
    pub(crate) fn identity(&self) -> Option<&Option<String>> {
        self.identity.get()
    }

    /// Notes what a look at the file found, unless that is known already; returns what is known.
    pub(crate) fn set_identity(&self, foreign: Option<String>) -> &Option<String> {
        self.identity.get_or_init(|| foreign)
    }

    /// Held by whoever compares the file.
    pub(crate) const fn identity_turn(&self) -> &Mutex<()> {
        &self.identity_turn
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Clears the mark before a flush: bytes written from now on need another one.
    pub(crate) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn mark_dirty(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    pub(crate) fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    fn touch(&self) {
        self.last_used
            .store(self.open_segments.tick(), Ordering::Relaxed);
    }

    pub(crate) fn is_open(&self) -> bool {
        let handles = self.handles();
        handles.file.is_some() || handles.map.is_some()
    }

    /// The file for writing, marked dirty so that it stays open until a flush covers it. Mark it again
    /// after the write: a flush in between clears the mark.
    pub(crate) fn file_for_append(self: &Arc<Self>) -> io::Result<Arc<dyn LogFile>> {
        loop {
            self.open_file()?;
            // The bounds may have closed it again: the mark and the handle belong together.
            if let Some((file, _)) = &self.handles().file {
                self.mark_dirty();
                return Ok(Arc::clone(file));
            }
        }
    }

    /// The file, opened when it is not.
    pub(crate) fn open_file(self: &Arc<Self>) -> io::Result<Arc<dyn LogFile>> {
        self.touch();
        if let Some((file, _)) = &self.handles().file {
            return Ok(Arc::clone(file));
        }
        let permit = self.open_segments.open_permit().ok_or_else(exhausted)?;
        if let Some(known) = self.handles().known_file() {
            return known;
        }
        let opened = self.io.open(&self.log_path(), OpenMode::Write);
        let mut handles = self.handles();
        // Its name may have been somebody else's already when it was opened.
        if let Some(known) = handles.known_file() {
            return known;
        }
        let file = opened?;
        handles.file = Some((Arc::clone(&file), permit));
        drop(handles);
        self.open_segments.register(self);
        Ok(file)
    }

    /// Publishes one more batch, written at the present end.
    ///
    /// # Errors
    /// When the batch cannot be indexed; nothing is published then.
    pub(crate) fn publish(
        &self,
        last_offset: Offset,
        size_bytes: u64,
        max_timestamp_ms: i64,
    ) -> io::Result<()> {
        let mut handles = self.handles();
        self.load_indexes(&mut handles)?;
        let mut meta = self.lock_meta();
        if let Some(indexes) = &mut handles.indexes {
            indexes
                .add_batch(last_offset, meta.size_bytes, size_bytes, max_timestamp_ms)
                .map_err(io::Error::other)?;
        }
        meta.add_batch(last_offset, size_bytes, max_timestamp_ms);
        let published = meta.size_bytes;
        drop(meta);
        self.note_checked(published - size_bytes..published);
        if let Some(indexes) = &mut handles.indexes
            && indexes.pending() > 0
            && indexes.pending().is_multiple_of(PENDING_ENTRIES_MAX)
        {
            // A hint: when it cannot be written now (the disk is full) it stays pending until as many
            // entries have come again.
            let _ = self.write_pending(indexes);
        }
        Ok(())
    }

    /// Whether the checksums of these bytes fitted before. What was changed behind the back of this process
    /// since then is for the reader to find, who checks them, too.
    pub(crate) fn is_checked(&self, range: &Range<u64>) -> bool {
        let checked = self.lock_checked();
        checked.start <= range.start && range.end <= checked.end
    }

    /// Whether the range is what was appended last.
    pub(crate) fn is_recent(&self, range: &Range<u64>) -> bool {
        self.size_bytes().saturating_sub(range.start) <= RECENT_BYTES
    }

    /// Whether reading so many bytes from the batch of an offset on waits for nothing, as far as one can
    /// tell: what it needs is open, the bytes were checked before and are in the page cache.
    pub(crate) fn is_resident(&self, offset: Offset, max_bytes: u64, is_sealed: bool) -> bool {
        let Ok(handles) = self.handles.try_lock() else {
            return false;
        };
        let Some(indexes) = &handles.indexes else {
            return false;
        };
        if handles.index_damaged || self.identity.get().is_none() {
            return false;
        }
        let size_bytes = self.size_bytes();
        let start = indexes.offset.lookup(offset);
        let start = start.map_or(0, |entry| u64::from(entry.position));
        let end = start.saturating_add(max_bytes).saturating_add(AROUND_BYTES);
        let range = start..end.min(size_bytes);
        let index = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
        let is_there = match &handles.map {
            Some((map, mapped, _)) => {
                let covers = range.end <= *mapped && (size_bytes <= *mapped || !is_sealed);
                covers && map.is_resident(index(range.start)..index(range.end))
            }
            None => false,
        };
        let is_open = handles.file.is_some() && !is_sealed;
        (is_there || (is_open && self.is_recent(&range))) && self.is_checked(&range)
    }

    /// Notes that they fit. One run of bytes is remembered, which grows with whoever appends or reads on.
    pub(crate) fn note_checked(&self, range: Range<u64>) {
        let mut checked = self.lock_checked();
        let touches = range.start <= checked.end && checked.start <= range.end;
        *checked = match touches {
            true => checked.start.min(range.start)..checked.end.max(range.end),
            false => range,
        };
    }

    fn lock_checked(&self) -> MutexGuard<'_, Range<u64>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` on the segment's indexes, loaded or rebuilt when they are not in memory.
    pub(crate) fn with_indexes<T>(&self, f: impl FnOnce(&SegmentIndexes) -> T) -> io::Result<T> {
        let mut handles = self.handles();
        self.load_indexes(&mut handles)?;
        handles
            .indexes
            .as_deref()
            .map(f)
            .ok_or_else(|| io::Error::other("indexes are not loaded"))
    }

    /// Replaces indexes that do not fit the log.
    pub(crate) fn replace_indexes(&self, indexes: SegmentIndexes) {
        self.handles().indexes = Some(Box::new(indexes));
    }

    pub(crate) fn empty_indexes(&self) -> SegmentIndexes {
        SegmentIndexes::new(self.base_offset, self.interval_bytes)
    }

    /// Runs `f` on the aborted transactions of the segment.
    pub(crate) fn with_transactions<T>(
        &self,
        f: impl FnOnce(&mut TransactionIndex) -> T,
    ) -> io::Result<T> {
        let mut handles = self.handles();
        if handles.transactions.is_none() {
            if handles.abandoned {
                return Err(abandoned());
            }
            let path = self.path_of(FileKind::TransactionIndex);
            let bytes = crate::frame::read_file(&*self.io, &path)?.unwrap_or_default();
            let mut index = TransactionIndex::decode(&bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            index.truncate(self.end_offset());
            handles.transactions = Some(Box::new(index));
        }
        handles
            .transactions
            .as_deref_mut()
            .map(f)
            .ok_or_else(|| io::Error::other("transaction index is not loaded"))
    }

    /// Runs `f` on the aborted transactions where they are in memory.
    pub(crate) fn with_known_transactions<T>(
        &self,
        f: impl FnOnce(&TransactionIndex) -> T,
    ) -> Option<T> {
        self.handles().transactions.as_deref().map(f)
    }

    /// Adds the last time entry and writes what is pending, when the segment is rolled or closed.
    pub(crate) fn seal_indexes(&self) -> io::Result<()> {
        let mut handles = self.handles();
        self.load_indexes(&mut handles)?;
        if let Some(indexes) = &mut handles.indexes {
            indexes.seal().map_err(io::Error::other)?;
            self.write_pending(indexes)?;
        }
        Ok(())
    }

    /// Writes index entries that wait in memory.
    pub(crate) fn write_pending_indexes(&self) -> io::Result<()> {
        match &mut *self.handles() {
            Handles {
                indexes: Some(indexes),
                abandoned: false,
                ..
            } => self.write_pending(indexes),
            _ => Ok(()),
        }
    }

    /// Its names go to somebody else: by a truncation, or a deletion after which a namesake may come.
    /// Handles and maps that are open stay valid.
    pub(crate) fn abandon(&self) {
        let mut handles = self.handles();
        handles.abandoned = true;
        handles.indexes = None;
    }

    fn write_pending(&self, indexes: &mut SegmentIndexes) -> io::Result<()> {
        if indexes.pending() == 0 {
            return Ok(());
        }
        let open = |kind| self.io.open(&self.path_of(kind), OpenMode::Create);
        indexes.write_pending(&*open(FileKind::OffsetIndex)?, &*open(FileKind::TimeIndex)?)
    }

    fn load_indexes(&self, handles: &mut Handles) -> io::Result<()> {
        if handles.indexes.is_some() {
            return Ok(());
        }
        if handles.abandoned {
            handles.indexes = Some(Box::new(self.empty_indexes()));
            return Ok(());
        }
        let meta = self.meta();
        let indexes = match SegmentIndexes::load(&*self.io, &self.dir, &meta, self.interval_bytes) {
            Ok(indexes) => indexes,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                handles.index_damaged = true;
                self.empty_indexes()
            }
            Err(error) => return Err(error),
        };
        handles.indexes = Some(Box::new(indexes));
        Ok(())
    }

    /// Whether the index files were found not to fit the log since the last call.
    pub(crate) fn take_index_damaged(&self) -> bool {
        mem::take(&mut self.handles().index_damaged)
    }

    /// Where to read published bytes up to `end` from.
    pub(crate) fn source(self: &Arc<Self>, end: u64, sealed: bool) -> io::Result<Source> {
        self.touch();
        let published = self.size_bytes();
        let mapped = match &self.handles().map {
            Some((map, length, _)) if end <= *length => return Ok(Source::Map(map.clone())),
            Some((_, length, _)) => *length,
            None => 0,
        };
        let file = self.open_file()?;
        if !sealed && published.saturating_sub(mapped) < REMAP_BYTES {
            return Ok(Source::File(file));
        }
        let old = self.handles().map.take();
        drop(old);
        let Some(permit) = self.open_segments.map_permit(published) else {
            return Ok(Source::File(file));
        };
        let map = file.map(published)?;
        self.handles().map = Some((map.clone(), published, permit));
        self.open_segments.register(self);
        Ok(Source::Map(map))
    }

    /// Forgets a map that faulted: what was mapped is not there any more.
    pub(crate) fn drop_map(&self) {
        let map = self.handles().map.take();
        drop(map);
    }

    /// Gives file, map and indexes up, unless unflushed bytes need the file or somebody is at it.
    pub(crate) fn try_close(&self) -> bool {
        let Ok(mut handles) = self.handles.try_lock() else {
            return false;
        };
        let Some((file, _)) = &handles.file else {
            return false;
        };
        // Whoever has the file in hand may be writing: the mark comes back after that.
        if handles.pinned || self.is_dirty() || Arc::strong_count(file) > 1 {
            return false;
        }
        let abandoned = handles.abandoned;
        if let Some(indexes) = &mut handles.indexes
            && !abandoned
            && self.write_pending(indexes).is_err()
        {
            return false;
        }
        let given_up = std::mem::take(&mut *handles);
        handles.abandoned = abandoned;
        drop(handles);
        drop(given_up);
        true
    }

    /// Opens all that readers need, and keeps it whatever the bounds ask for.
    pub(crate) fn pin(self: &Arc<Self>) -> io::Result<()> {
        self.handles().pinned = true;
        let opened = self
            .open_file()
            .and_then(|_| self.with_indexes(|_| ()))
            .and_then(|()| self.with_transactions(|_| ()));
        if opened.is_err() {
            self.unpin();
        }
        opened
    }

    /// What is open may be given up again.
    pub(crate) fn unpin(&self) {
        self.handles().pinned = false;
    }

    /// Its names go to the compacted segment that takes its place. Readers that have this one go on
    /// with what [`Segment::pin`] opened.
    pub(crate) fn retire(&self) {
        self.handles().abandoned = true;
    }

    /// Its names are gone, durably: with the last reader the blocks of its file, if that is open, may go.
    pub(crate) fn note_removed(&self) {
        self.handles().removed = true;
    }

    /// A compacted segment, of which everything is open already.
    pub(crate) fn adopt(deps: &SegmentDeps, finished: FinishedSegment) -> io::Result<Arc<Self>> {
        let segment = Self::new(deps, finished.entry.meta);
        let permit = segment.open_segments.open_permit().ok_or_else(exhausted)?;
        segment.set_identity(None);
        *segment.handles() = Handles {
            file: Some((finished.file, permit)),
            indexes: Some(Box::new(finished.indexes)),
            transactions: Some(Box::new(finished.aborted)),
            ..Handles::default()
        };
        segment.touch();
        segment.open_segments.register(&segment);
        Ok(segment)
    }

    /// Gives the map up.
    pub(crate) fn try_unmap(&self) {
        if let Ok(mut handles) = self.handles.try_lock() {
            let map = handles.map.take();
            drop(handles);
            drop(map);
        }
    }

    /// Gives reserved blocks beyond the published bytes back. Maps never reach beyond those.
    pub(crate) fn release_reserved(self: &Arc<Self>) -> io::Result<()> {
        let size_bytes = self.size_bytes();
        self.open_file()?.set_len(size_bytes)
    }

    /// The same file as a sealed segment that ends at `meta`, for a truncation. The stale tail beyond
    /// is cut once the last reader of this segment is gone.
    pub(crate) fn cut(
        self: &Arc<Self>,
        deps: &SegmentDeps,
        meta: SegmentMeta,
    ) -> io::Result<Arc<Self>> {
        let file = self.open_file()?;
        let permit = self.open_segments.open_permit().ok_or_else(exhausted)?;
        let cut = Self::new(deps, meta);
        if let Some(known) = self.identity() {
            cut.set_identity(known.clone());
        }
        // A flush that still works on this segment keeps its own handle.
        cut.dirty.store(self.is_dirty(), Ordering::Release);
        cut.handles().file = Some((Arc::clone(&file), permit));
        cut.touch();
        cut.open_segments.register(&cut);
        self.abandon();
        *self.lock_stale_tail() = Some((file, meta.size_bytes));
        Ok(cut)
    }

    fn lock_stale_tail(&self) -> MutexGuard<'_, Option<(Arc<dyn LogFile>, u64)>> {
        self.stale_tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_meta(&self) -> MutexGuard<'_, SegmentMeta> {
        self.meta.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn abandoned() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "the segment was truncated away or deleted",
    )
}

/// The last reader of a truncated segment is gone: its stale batches can be cut off. The log is right
/// without it (a segment ends where the next begins), so a failure is left to the next start.
impl Drop for Segment {
    fn drop(&mut self) {
        if let Some((file, size_bytes)) = self.lock_stale_tail().take()
            && file.len().is_ok_and(|length| length > size_bytes)
        {
            let _ = file.set_len(size_bytes);
        }
        let handles = mem::take(&mut *self.handles());
        if handles.removed
            && let Some((file, _)) = handles.file
        {
            self.open_segments.reclaim(file);
        }
    }
}
