//! [`CutIo`]: a file system whose power goes after so many changes.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use millstream_log::io::{
    DirEntry, LockGuard, LogFile, LogIo, Map, MemoryIo, Metadata, OpenMode, Space,
};

/// Lets that many changes (writes, lengths, renames, removals, syncs) through, then none.
#[derive(Debug, Clone)]
pub(super) struct CutIo {
    disk: MemoryIo,
    left: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CutFile {
    file: Arc<dyn LogFile>,
    left: Arc<AtomicU64>,
}

fn change(left: &AtomicU64) -> io::Result<()> {
    let spent = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    spent
        .map(drop)
        .map_err(|_| io::Error::other("power is gone"))
}

impl CutIo {
    pub(super) fn new(disk: MemoryIo, changes: u64) -> Self {
        let left = Arc::new(AtomicU64::new(changes));
        Self { disk, left }
    }

    pub(super) fn cut_after(&self, changes: u64) {
        self.left.store(changes, Ordering::SeqCst);
    }
}

impl LogIo for CutIo {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn LogFile>> {
        if mode != OpenMode::Read {
            change(&self.left)?;
        }
        let file = self.disk.open(path, mode)?;
        let left = Arc::clone(&self.left);
        Ok(Arc::new(CutFile { file, left }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        change(&self.left)?;
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        change(&self.left)?;
        self.disk.remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        change(&self.left)?;
        self.disk.create_dir_all(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        change(&self.left)?;
        self.disk.remove_dir(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        change(&self.left)?;
        self.disk.sync_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.disk.metadata(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.disk.try_lock(path)
    }
}

impl LogFile for CutFile {
    fn write_all_at(&self, buffers: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        change(&self.left)?;
        self.file.write_all_at(buffers, position)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        change(&self.left)?;
        self.file.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        change(&self.left)?;
        self.file.sync_data()
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        self.file.map(length)
    }

    fn path(&self) -> &Path {
        self.file.path()
    }
}
