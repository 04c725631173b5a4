//! [`MetadataLog`]: the framed, synced log of metadata records on one disk, with its snapshots.
//!
//! Synchronous; [`super::local`] runs it on a thread of its own. Invariants:
//!
//! - indexes of frames are consecutive over all files; a file's name is its first index;
//! - one append is one frame, one write, one sync, then one write and sync of the witness beside the
//!   directory: what the witness has seen is committed and never cut, what is after it was never
//!   acknowledged;
//! - a log file is removed only once a snapshot that covers it is durable;
//! - after a failed write or sync nothing is written any more: what is on disk is not known.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use millstream_log::{
    io::{LogFile, LogIo, OpenMode},
    metadata_witness::MetadataWitness,
};
use millstream_proto::metadata_record::{
    Entry, FileKind, FileStart, MetadataRecord, entry,
    file::HEADER_BYTES,
    frame::{self, Diagnosis},
};

use super::{
    file::{self, Listing, OpenError},
    image::MetadataImage,
    snapshot,
};

/// Term of everything while the quorum is local.
pub(super) const TERM: u64 = 1;

/// Bounds of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataLogOptions {
    /// Disk space reserved ahead of the log's end.
    pub preallocate_bytes: u64,
    /// A snapshot is due once the log has grown by this much.
    pub snapshot_bytes: u64,
}

/// Runs a write that found the disk full again, after giving up space that was held back.
pub type MakeRoom = dyn Fn(&mut dyn FnMut() -> io::Result<()>) -> io::Result<()> + Send + Sync;

/// An open metadata log.
#[derive(Debug)]
pub struct MetadataLog {
    io: Arc<dyn LogIo>,
    dir: PathBuf,
    options: MetadataLogOptions,
    file: Arc<dyn LogFile>,
    witness: MetadataWitness,
    first_index: u64,
    next_index: u64,
    end: u64,
    allocated: u64,
    failure: Option<AppendError>,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// Everything committed.
    pub image: MetadataImage,
    /// Bytes of a torn last write that were cut off; nobody was told that it succeeded.
    pub torn_bytes: u64,
}

/// Why records were not appended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// No room; nothing was written.
    #[error("no space left for the metadata log")]
    DiskFull,
    /// More than a frame holds; nothing was written.
    #[error("metadata proposal has {found} bytes")]
    TooLarge {
        /// Bytes of the payload.
        found: usize,
    },
    /// Writing or syncing failed: nothing is known about what is on disk after the last success.
    #[error("metadata log {path} failed: {reason}", path = path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Kind of the first error.
        kind: io::ErrorKind,
        /// Its text.
        reason: Arc<str>,
        /// Whether it was this append that failed, rather than one before.
        in_flight: bool,
    },
}

/// Files read so far while opening.
struct Replay {
    image: MetadataImage,
    torn_bytes: u64,
    /// The last log file: its first index and the end of its last whole frame.
    last: Option<(u64, u64)>,
}

impl MetadataLog {
    /// Creates an empty log in a directory that has none, and makes it durable.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn create(io: &dyn LogIo, dir: &Path) -> Result<(), OpenError> {
        io.create_dir_all(dir)
            .map_err(OpenError::io("create", dir))?;
        create_file(io, dir, 1)?;
        let parent = parent(dir);
        MetadataWitness::create(io, parent, 0).map_err(OpenError::io("create a witness in", parent))
    }

    /// Whether the directory holds a metadata log to which something was ever written.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn holds_records(io: &dyn LogIo, dir: &Path) -> Result<bool, OpenError> {
        if committed(io, dir)? > 0 {
            return Ok(true);
        }
        let listing = match file::list(io, dir) {
            Err(OpenError::Missing { .. }) => return Ok(false),
            listing => listing?,
        };
        for index in &listing.logs {
            let path = file::path(FileKind::Log, dir, *index);
            let found = io.metadata(&path).map_err(OpenError::io("read", &path))?;
            if found.len > HEADER_BYTES as u64 {
                return Ok(true);
            }
        }
        Ok(!listing.snapshots.is_empty())
    }

    /// Opens the log of a directory, replays it, and cuts off a torn last write.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] where committed bytes have changed, [`OpenError::Missing`] where files
    /// are gone, [`OpenError::Lost`] where the last records are, [`OpenError::Newer`] where a newer build wrote, whatever the system says. Nothing
    /// was changed on disk then.
    pub fn open(
        io: Arc<dyn LogIo>,
        dir: &Path,
        options: MetadataLogOptions,
    ) -> Result<(Self, Opened), OpenError> {
        let listing = file::list(&*io, dir)?;
        let replay = Replay::run(&*io, dir, &listing)?;
        replay.check_committed(dir, committed(&*io, dir)?)?;
        let next_index = replay.image.index() + 1;
        let (first_index, end, file) = match replay.last {
            Some((first_index, end)) => {
                let file = cut(&*io, dir, first_index, end)?;
                (first_index, end.max(HEADER_BYTES as u64), file)
            }
            None => {
                let file = create_file(&*io, dir, next_index)?;
                (next_index, HEADER_BYTES as u64, file)
            }
        };
        let witness = MetadataWitness::open(&*io, parent(dir), replay.image.index())
            .map_err(OpenError::io("open the witness of", dir))?;
        let log = Self {
            io,
            dir: dir.to_path_buf(),
            options,
            file,
            witness,
            first_index,
            next_index,
            end,
            allocated: 0,
            failure: None,
        };
        log.remove_covered(&listing, replay.image.index());
        let opened = Opened {
            image: replay.image,
            torn_bytes: replay.torn_bytes,
        };
        Ok((log, opened))
    }

    /// Directory of the log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// File that is appended to.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Bytes of that file.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.end
    }

    /// Index that the next append gets.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.next_index
    }

    /// Appends records as one frame and syncs it. Returns its index. `make_room` is called when the
    /// disk is full, at most once; it says whether trying again makes sense.
    ///
    /// # Errors
    /// After [`AppendError::Failed`] every further append fails the same way.
    pub fn append(
        &mut self,
        records: &[MetadataRecord],
        make_room: &MakeRoom,
    ) -> Result<u64, AppendError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let bytes = entry::encode(self.next_index, TERM, records)
            .map_err(|found| AppendError::TooLarge { found })?;
        self.reserve(bytes.len() as u64, make_room)?;
        let written = self
            .file
            .write_all_at(&[IoSlice::new(&bytes)], self.end)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            return Err(self.fail(self.file.path().to_path_buf(), &error));
        }
        let index = self.next_index;
        if let Err(error) = self.witness.attest(index) {
            return Err(self.fail(self.witness.path().to_path_buf(), &error));
        }
        self.end += bytes.len() as u64;
        self.next_index += 1;
        Ok(index)
    }

    /// Whether the log has grown enough for a snapshot.
    #[must_use]
    pub fn is_snapshot_due(&self) -> bool {
        self.failure.is_none() && self.end >= self.options.snapshot_bytes
    }

    /// Replaces everything up to the image, which must be at the log's end, by a snapshot.
    ///
    /// # Errors
    /// Whatever the system says; the log goes on as it was, unless beginning its next file failed
    /// and what there is of that cannot be removed: then every further append fails.
    pub fn snapshot(&mut self, image: &MetadataImage) -> io::Result<()> {
        assert_eq!(image.index() + 1, self.next_index, "image is at the end");
        let bytes = snapshot::encode(image)
            .map_err(|found| io::Error::other(format!("{found} bytes fit in no frame")))?;
        let stored = snapshot::store(&*self.io, &self.dir, image.index(), &bytes);
        if let Err(error) = stored {
            let path = file::path(FileKind::Snapshot, &self.dir, image.index());
            // The old log goes on; what is left of the attempt is overwritten by the next one.
            let _ = self.io.remove_file(&path.with_extension("snapshot.tmp"));
            return Err(error);
        }
        if self.first_index < self.next_index {
            self.roll()?;
        }
        if let Ok(listing) = file::list(&*self.io, &self.dir) {
            self.remove_covered(&listing, image.index());
        }
        Ok(())
    }

    fn roll(&mut self) -> io::Result<()> {
        let file = match create_file(&*self.io, &self.dir, self.next_index) {
            Ok(file) => file,
            Err(error) => {
                let error = io::Error::other(error.to_string());
                self.remove_next_file(&error);
                return Err(error);
            }
        };
        // Without this, blocks reserved ahead would stay with a file that is about to go.
        let _ = self.file.set_len(self.end);
        self.file = file;
        self.first_index = self.next_index;
        self.end = HEADER_BYTES as u64;
        self.allocated = 0;
        Ok(())
    }

    /// After the next file could not be begun: the present one goes on only once that is gone for good.
    /// A start takes the file of the highest index for the log's end.
    fn remove_next_file(&mut self, reason: &io::Error) {
        let path = file::path(FileKind::Log, &self.dir, self.next_index);
        let removed = match self.io.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.io.sync_dir(&self.dir),
        };
        if removed.is_err() {
            self.fail(path, reason);
        }
    }

    /// Reserves blocks so that a full disk is noticed before anything is written.
    fn reserve(&mut self, bytes: u64, make_room: &MakeRoom) -> Result<(), AppendError> {
        let needed = self.end + bytes;
        if needed <= self.allocated {
            return Ok(());
        }
        let ahead = needed + self.options.preallocate_bytes;
        if self.file.allocate(ahead).is_ok() {
            self.allocated = ahead;
            return Ok(());
        }
        let mut exact = || self.file.allocate(needed);
        let reserved = match exact() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => make_room(&mut exact),
            reserved => reserved,
        };
        match reserved {
            Ok(()) => {
                self.allocated = needed;
                Ok(())
            }
            // Such a file system says that it is full when it is written to.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(AppendError::DiskFull),
            Err(error) => Err(self.fail(self.file.path().to_path_buf(), &error)),
        }
    }

    fn fail(&mut self, path: PathBuf, error: &io::Error) -> AppendError {
        let failure = |in_flight| AppendError::Failed {
            path: path.clone(),
            kind: error.kind(),
            reason: error.to_string().into(),
            in_flight,
        };
        let first = failure(true);
        self.failure = Some(failure(false));
        first
    }

    /// Removes what the newest snapshot covers. Failing leaves files that the next start removes.
    fn remove_covered(&self, listing: &Listing, index: u64) {
        let newest = listing.snapshots.last().copied().filter(|s| *s <= index);
        let Some(snapshot) = newest else {
            return;
        };
        let older = listing.snapshots.iter().filter(|s| **s < snapshot);
        let snapshots = older.map(|s| file::path(FileKind::Snapshot, &self.dir, *s));
        let logs = listing.logs.iter().enumerate().filter_map(|(at, _)| {
            let next = *listing.logs.get(at + 1)?;
            let first = *listing.logs.get(at)?;
            (next <= snapshot + 1).then(|| file::path(FileKind::Log, &self.dir, first))
        });
        let paths = snapshots.chain(logs).chain(listing.temporary.clone());
        paths.for_each(|path| drop(self.io.remove_file(&path)));
    }
}

/// The data directory: the witness stands beside the metadata directory.
fn parent(dir: &Path) -> &Path {
    dir.parent().unwrap_or(dir)
}

/// Up to where the log was committed; 0 where nothing says.
fn committed(io: &dyn LogIo, dir: &Path) -> Result<u64, OpenError> {
    let testimony = MetadataWitness::load(io, parent(dir)).map_err(OpenError::Witness)?;
    let Some(testimony) = testimony else {
        return Ok(0);
    };
    if let Some(error) = testimony.damage {
        tracing::warn!(%error, "half of the metadata witness is torn or damaged, the other half is believed");
    }
    Ok(testimony.index)
}

/// Creates an empty log file durably; a file of that name has never held a frame.
fn create_file(
    io: &dyn LogIo,
    dir: &Path,
    first_index: u64,
) -> Result<Arc<dyn LogFile>, OpenError> {
    let path = file::path(FileKind::Log, dir, first_index);
    let create = || {
        let file = io.open(&path, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_all_at(&[IoSlice::new(&FileKind::Log.header())], 0)?;
        file.sync_data()?;
        io.sync_dir(dir)?;
        Ok(file)
    };
    create().map_err(OpenError::io("create", &path))
}

/// Opens the last log file for appending, and cuts what is beyond its last whole frame.
fn cut(
    io: &dyn LogIo,
    dir: &Path,
    first_index: u64,
    end: u64,
) -> Result<Arc<dyn LogFile>, OpenError> {
    if end < HEADER_BYTES as u64 {
        return create_file(io, dir, first_index);
    }
    let path = file::path(FileKind::Log, dir, first_index);
    let open = || {
        let file = io.open(&path, OpenMode::Write)?;
        // Also releases blocks that were reserved, which would read as zeros.
        file.set_len(end)?;
        // What replay believed may still be in memory only, when the process alone was killed.
        file.sync_data()?;
        io.sync_dir(dir)?;
        Ok(file)
    };
    open().map_err(OpenError::io("open", &path))
}

impl Replay {
    fn run(io: &dyn LogIo, dir: &Path, listing: &Listing) -> Result<Self, OpenError> {
        let image = match listing.snapshots.last() {
            Some(index) => snapshot::load(io, dir, *index)?,
            None => MetadataImage::default(),
        };
        let mut replay = Self {
            image,
            torn_bytes: 0,
            last: None,
        };
        // A snapshot removes the logs before it only once the next one is there.
        if listing.logs.is_empty() {
            return Err(replay.missing(dir));
        }
        for (at, first_index) in listing.logs.iter().enumerate() {
            let is_last = at + 1 == listing.logs.len();
            replay.file(io, dir, *first_index, is_last)?;
        }
        Ok(replay)
    }

    /// What somebody was told of must be there.
    fn check_committed(&self, dir: &Path, committed: u64) -> Result<(), OpenError> {
        if self.image.index() >= committed {
            return Ok(());
        }
        Err(OpenError::Lost {
            path: dir.to_path_buf(),
            found: self.image.index(),
            committed,
        })
    }

    fn missing(&self, dir: &Path) -> OpenError {
        OpenError::Missing {
            path: dir.to_path_buf(),
            index: self.image.index() + 1,
        }
    }

    fn file(
        &mut self,
        io: &dyn LogIo,
        dir: &Path,
        first_index: u64,
        is_last: bool,
    ) -> Result<(), OpenError> {
        let path = file::path(FileKind::Log, dir, first_index);
        let bytes = file::read(io, &path)?;
        if file::check_header(&path, FileKind::Log, &bytes)? == FileStart::Unwritten {
            if is_last && first_index == self.image.index() + 1 {
                self.last = Some((first_index, 0));
                return Ok(());
            }
            return Err(OpenError::corrupt(&path, 0, "header is missing"));
        }
        if first_index > self.image.index() + 1 {
            return Err(self.missing(dir));
        }
        let end = self.frames(&path, first_index, &bytes, is_last)?;
        self.last = Some((first_index, end as u64));
        Ok(())
    }

    /// Replays the frames of a file, and returns where the last whole one ends.
    fn frames(
        &mut self,
        path: &Path,
        first_index: u64,
        bytes: &[u8],
        is_last: bool,
    ) -> Result<usize, OpenError> {
        let mut position = HEADER_BYTES;
        let mut index = first_index;
        while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
            let (frame, size) = match frame::decode(rest) {
                Ok(decoded) => decoded,
                Err(error) => {
                    let diagnosis = frame::diagnose(rest, position, error);
                    return match diagnosis {
                        Diagnosis::Torn if is_last => {
                            self.check_end(path, position, index, is_last)?;
                            self.torn_bytes = rest.len() as u64;
                            Ok(position)
                        }
                        Diagnosis::Torn => Err(OpenError::frame(path, position, error)),
                        Diagnosis::Damaged(error) => Err(OpenError::frame(path, position, error)),
                    };
                }
            };
            if frame.index != index {
                let reason = format!("frame has index {}, expected {index}", frame.index);
                return Err(OpenError::corrupt(path, position, reason));
            }
            let entry = entry::decode(&frame).map_err(|e| OpenError::wire(path, position, e))?;
            self.apply(path, position, index, frame.term, &entry)?;
            index += 1;
            position += size;
        }
        self.check_end(path, position, index, is_last)?;
        Ok(position)
    }

    /// A snapshot is made of what the log holds, so the last file ends at or after it.
    fn check_end(
        &self,
        path: &Path,
        position: usize,
        next_index: u64,
        is_last: bool,
    ) -> Result<(), OpenError> {
        if is_last && next_index <= self.image.index() {
            let snapshot = self.image.index();
            let reason = format!("log ends before index {next_index}, a snapshot holds {snapshot}");
            return Err(OpenError::corrupt(path, position, reason));
        }
        Ok(())
    }

    fn apply(
        &mut self,
        path: &Path,
        position: usize,
        index: u64,
        term: u64,
        entry: &Entry,
    ) -> Result<(), OpenError> {
        let Entry::Records(records) = entry else {
            let reason = "a snapshot's end stands in the log";
            return Err(OpenError::corrupt(path, position, reason));
        };
        if index <= self.image.index() {
            return Ok(());
        }
        self.image
            .apply_all(records)
            .map_err(|error| OpenError::corrupt(path, position, error))?;
        self.image.advance_to(index, term);
        Ok(())
    }
}
