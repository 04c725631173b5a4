//! [`DiskIo`]: the real file system.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice},
    num::NonZero,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{FallocateFlags, FlockOperation},
    io::{Errno, retry_on_intr},
};

use super::{Descriptor, DirEntry, LockGuard, LogFile, LogIo, Map, Metadata, OpenMode, Space};

/// Mode of every new file: the owner alone.
const FILE_MODE: u32 = 0o600;
/// Mode of every new directory.
const DIR_MODE: u32 = 0o700;
/// Most buffers that one `pwritev` takes (`IOV_MAX` of Linux).
const WRITE_BUFFERS_MAX: usize = 1024;

/// The real file system, through plain system calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskIo;

#[derive(Debug)]
struct DiskFile {
    file: Arc<File>,
    path: PathBuf,
}

#[derive(Debug)]
struct DiskLock {
    file: File,
}

impl LogIo for DiskIo {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn LogFile>> {
        let file = Arc::new(options(mode).open(path)?);
        Ok(Arc::new(DiskFile {
            file,
            path: path.to_path_buf(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let is_dir = entry.file_type()?.is_dir();
            entries.push(DirEntry {
                name: entry.file_name().into(),
                is_dir,
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let directory = File::open(path)?;
        if !directory.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(retry_on_intr(|| rustix::fs::fsync(&directory))?)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let metadata = fs::metadata(path)?;
        let is_dir = metadata.is_dir();
        Ok(Metadata {
            is_dir,
            len: if is_dir { 0 } else { metadata.len() },
        })
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let answer = retry_on_intr(|| rustix::fs::statvfs(path))?;
        Ok(Space {
            total: answer.f_blocks.saturating_mul(answer.f_frsize),
            available: answer.f_bavail.saturating_mul(answer.f_frsize),
        })
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let file = options(OpenMode::Create).open(path)?;
        let locked =
            retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive));
        match locked {
            Ok(()) => Ok(Some(Box::new(DiskLock { file }))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn options(mode: OpenMode) -> OpenOptions {
    let mut options = File::options();
    options.read(true).mode(FILE_MODE);
    match mode {
        OpenMode::Read => &mut options,
        OpenMode::Write => options.write(true),
        OpenMode::Create => options.write(true).create(true).truncate(false),
        OpenMode::CreateNew => options.write(true).create_new(true),
    };
    options
}

impl LogFile for DiskFile {
    fn write_all_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut position = position;
        for group in buffers.chunks(WRITE_BUFFERS_MAX) {
            let wanted: usize = group.iter().map(|buffer| buffer.len()).sum();
            let written = retry_on_intr(|| rustix::io::pwritev(&self.file, group, position))?;
            if written < wanted {
                self.write_rest(group, written, position)?;
            }
            position += wanted as u64;
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::KEEP_SIZE;
        Ok(retry_on_intr(|| {
            rustix::fs::fallocate(&self.file, flags, 0, length)
        })?)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::ftruncate(&self.file, length))?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::fdatasync(&self.file))?)
    }

    /// Linux begins to write dirty pages that are given up, and keeps those that it has yet to write
    /// (`mm/fadvise.c`). Unlike `fdatasync` it waits for no commit of the file system's journal.
    fn begin_write_back(&self, position: u64, length: u64) {
        let _ = rustix::fs::fadvise(
            &self.file,
            position,
            NonZero::new(length),
            rustix::fs::Advice::DontNeed,
        );
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        Map::of_file(&self.file, length, &self.path)
    }

    fn descriptor(&self) -> Option<Descriptor> {
        Some(Descriptor::of(&self.file))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl DiskFile {
    /// What a short `pwritev` left of a group: rare (a signal, a nearly full disk), so one buffer
    /// at a time will do.
    fn write_rest(&self, group: &[IoSlice<'_>], done: usize, position: u64) -> io::Result<()> {
        let mut start = 0;
        for buffer in group {
            let skip = done.saturating_sub(start).min(buffer.len());
            if let Some(rest) = buffer.get(skip..).filter(|rest| !rest.is_empty()) {
                self.file
                    .write_all_at(rest, position + (start + skip) as u64)?;
            }
            start += buffer.len();
        }
        Ok(())
    }
}

impl LockGuard for DiskLock {
    fn describe_holder(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(text.as_bytes(), 0)
    }
}
