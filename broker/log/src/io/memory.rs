//! [`MemoryIo`]: a file system in memory with a live and a durable state.
//!
//! For tests of durability: [`MemoryIo::crash`] gives the file system as a power cut may leave it
//! (what that can be: `image.rs`). Maps are copies of the bytes at the time of mapping.

use std::{
    collections::BTreeSet,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{
    DirEntry, LockGuard, LogFile, LogIo, Map, Metadata, OpenMode, Space,
    image::{Image, NodeId},
};

/// Capacity when none is asked for.
const CAPACITY_BYTES_DEFAULT: u64 = 1 << 40;

/// A file system in memory; clones share it.
#[derive(Debug, Clone)]
pub struct MemoryIo {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    image: Image,
    locked: BTreeSet<NodeId>,
}

#[derive(Debug)]
struct MemoryFile {
    state: Arc<Mutex<State>>,
    node: NodeId,
    is_writable: bool,
    path: PathBuf,
}

#[derive(Debug)]
struct MemoryLock {
    file: MemoryFile,
}

impl Default for MemoryIo {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryIo {
    /// An empty file system with its root directory.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY_BYTES_DEFAULT)
    }

    /// An empty file system that is full at so many bytes of files.
    #[must_use]
    pub fn with_capacity(capacity_bytes: u64) -> Self {
        Self::of_image(Image::new(capacity_bytes))
    }

    pub(super) fn of_image(image: Image) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                image,
                locked: BTreeSet::new(),
            })),
        }
    }

    /// Changes when the file system is full, for disks that fill up and are freed.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        lock(&self.state).image.set_capacity(capacity_bytes);
    }

    /// The file system after a power cut now: what was synced, and any subset (chosen by the seed,
    /// torn at sectors) of what was done since. This one goes on as if nothing had happened.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        Self::of_image(lock(&self.state).image.crash(seed))
    }

    /// An independent copy of everything, durable and not; locks are free in it. What a process
    /// that was killed leaves to the next one.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::of_image(lock(&self.state).image.clone())
    }

    /// Does to a file what a failed flush does: what was unflushed looks clean from now on, and no
    /// later sync makes it durable.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn give_up_unsynced(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        let node = state.image.find(path)?;
        state.image.give_up_unsynced(node)
    }

    /// The whole live content of a file.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`.
    pub fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = lock(&self.state);
        Ok(state.image.bytes(state.image.find(path)?)?.to_vec())
    }

    fn open_file(&self, path: &Path, mode: OpenMode) -> io::Result<MemoryFile> {
        let node = lock(&self.state).image.open(path, mode)?;
        Ok(MemoryFile {
            state: Arc::clone(&self.state),
            node,
            is_writable: mode != OpenMode::Read,
            path: path.to_path_buf(),
        })
    }
}

/// A test that panicked while it held the lock has failed already.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogIo for MemoryIo {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(self.open_file(path, mode)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        lock(&self.state).image.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        lock(&self.state).image.remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        lock(&self.state).image.create_dir_all(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        lock(&self.state).image.remove_dir(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        lock(&self.state).image.list_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let image = &mut lock(&self.state).image;
        let node = image.find(path)?;
        image.sync_dir(node, image.sequence)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        lock(&self.state).image.metadata(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let state = lock(&self.state);
        state.image.find(path)?;
        Ok(state.image.space())
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let file = self.open_file(path, OpenMode::Create)?;
        let taken = lock(&self.state).locked.insert(file.node);
        Ok(taken.then(|| Box::new(MemoryLock { file }) as Box<dyn LockGuard>))
    }
}

impl MemoryFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.is_writable {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::EBADF))
        }
    }
}

impl LogFile for MemoryFile {
    fn write_all_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.check_writable()?;
        let bytes: Vec<u8> = buffers
            .iter()
            .flat_map(|buffer| buffer.iter().copied())
            .collect();
        lock(&self.state).image.write(self.node, position, bytes)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let state = lock(&self.state);
        let bytes = state.image.bytes(self.node)?;
        let start = usize::try_from(position)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let available = bytes.get(start..).unwrap_or_default();
        let count = available.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(available) {
            *to = *from;
        }
        Ok(count)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        lock(&self.state).image.allocate(self.node, length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        lock(&self.state).image.set_len(self.node, length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.state).image.bytes(self.node)?.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        let image = &mut lock(&self.state).image;
        image.sync_data(self.node, image.sequence)
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        let state = lock(&self.state);
        let bytes = state.image.bytes(self.node)?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mapped = bytes.get(..length).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Map::from_bytes(Bytes::copy_from_slice(mapped), &self.path))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl LockGuard for MemoryLock {
    fn describe_holder(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(&[IoSlice::new(text.as_bytes())], 0)
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        lock(&self.file.state).locked.remove(&self.file.node);
    }
}

#[cfg(test)]
mod tests;
