//! What a [`RecordingIo`](super::RecordingIo) recorded, and the crash images made of it.
//!
//! A trace is a file of entries, each appended with one `write` when its operation had been done:
//!
//! ```text
//!   length u32 LE | CRC-32 of the rest u32 LE | kind u8 | fields (u64 LE; u32 length + bytes)
//! ```
//!
//! A sync's entry names how many entries there were when it began: it covers those and no later
//! one. So whoever sees an acknowledgement at a time when the trace has n bytes may demand it of
//! every image that is cut at n bytes or later.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use super::{
    OpenMode,
    image::{Image, NodeId},
};

/// Capacity of the file system that a trace is replayed into: a trace fitted on its disk.
const CAPACITY_BYTES: u64 = u64::MAX / 2;
/// Bytes of an entry before its kind.
const ENTRY_HEADER_BYTES: usize = 8;

/// One recorded operation. `file` numbers an open handle, from its `Open` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Open {
        file: u64,
        path: PathBuf,
        existed: bool,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    RemoveFile {
        path: PathBuf,
    },
    /// `existing` is the deepest directory on the way that was there before.
    CreateDir {
        path: PathBuf,
        existing: PathBuf,
    },
    RemoveDir {
        path: PathBuf,
    },
    SyncDir {
        path: PathBuf,
        covers: u64,
    },
    Write {
        file: u64,
        position: u64,
        bytes: Vec<u8>,
    },
    Allocate {
        file: u64,
        length: u64,
    },
    SetLen {
        file: u64,
        length: u64,
    },
    SyncData {
        file: u64,
        covers: u64,
    },
}

impl Entry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; ENTRY_HEADER_BYTES];
        match self {
            Self::Open {
                file,
                path,
                existed,
            } => {
                out.push(0);
                put_number(&mut out, *file);
                put_path(&mut out, path);
                put_number(&mut out, u64::from(*existed));
            }
            Self::Rename { from, to } => {
                out.push(1);
                put_path(&mut out, from);
                put_path(&mut out, to);
            }
            Self::RemoveFile { path } => put_path(kind(&mut out, 2), path),
            Self::CreateDir { path, existing } => {
                out.push(3);
                put_path(&mut out, path);
                put_path(&mut out, existing);
            }
            Self::RemoveDir { path } => put_path(kind(&mut out, 4), path),
            Self::SyncDir { path, covers } => {
                out.push(5);
                put_path(&mut out, path);
                put_number(&mut out, *covers);
            }
            Self::Write {
                file,
                position,
                bytes,
            } => {
                put_numbers(kind(&mut out, 6), *file, *position);
                put_bytes(&mut out, bytes);
            }
            Self::Allocate { file, length } => put_numbers(kind(&mut out, 7), *file, *length),
            Self::SetLen { file, length } => put_numbers(kind(&mut out, 8), *file, *length),
            Self::SyncData { file, covers } => put_numbers(kind(&mut out, 9), *file, *covers),
        }
        seal(&mut out);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields { bytes };
        let entry = match fields.byte()? {
            0 => Self::Open {
                file: fields.number()?,
                path: fields.path()?,
                existed: fields.number()? == 1,
            },
            1 => Self::Rename {
                from: fields.path()?,
                to: fields.path()?,
            },
            2 => Self::RemoveFile {
                path: fields.path()?,
            },
            3 => Self::CreateDir {
                path: fields.path()?,
                existing: fields.path()?,
            },
            4 => Self::RemoveDir {
                path: fields.path()?,
            },
            5 => Self::SyncDir {
                path: fields.path()?,
                covers: fields.number()?,
            },
            6 => Self::Write {
                file: fields.number()?,
                position: fields.number()?,
                bytes: fields.slice()?.to_vec(),
            },
            7 => Self::Allocate {
                file: fields.number()?,
                length: fields.number()?,
            },
            8 => Self::SetLen {
                file: fields.number()?,
                length: fields.number()?,
            },
            9 => Self::SyncData {
                file: fields.number()?,
                covers: fields.number()?,
            },
            _ => return None,
        };
        fields.bytes.is_empty().then_some(entry)
    }
}

fn kind(out: &mut Vec<u8>, number: u8) -> &mut Vec<u8> {
    out.push(number);
    out
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_numbers(out: &mut Vec<u8>, first: u64, second: u64) {
    put_number(out, first);
    put_number(out, second);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_path(out: &mut Vec<u8>, path: &Path) {
    put_bytes(out, path.as_os_str().as_bytes());
}

/// Fills in length and checksum.
fn seal(out: &mut [u8]) {
    let (header, body) = out.split_at_mut(ENTRY_HEADER_BYTES);
    let length = u32::try_from(body.len()).expect("an operation moves less than 4 GiB");
    let (length_field, crc_field) = header.split_at_mut(4);
    length_field.copy_from_slice(&length.to_le_bytes());
    crc_field.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
}

struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.bytes.split_first_chunk::<8>()?;
        self.bytes = rest;
        Some(u64::from_le_bytes(*first))
    }

    fn slice(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (slice, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(slice)
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(std::ffi::OsString::from_vec(self.slice()?.to_vec()).into())
    }
}

/// A trace, read whole.
#[derive(Debug)]
pub struct Trace {
    entries: Vec<Entry>,
    /// End of each entry in the trace file, in bytes.
    ends: Vec<u64>,
}

impl Trace {
    /// Reads a trace up to its last whole entry: the process that wrote it may have been killed.
    ///
    /// # Errors
    /// Whatever the system says; `InvalidData` for an entry that is whole and wrong.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        let (mut entries, mut ends) = (Vec::new(), Vec::new());
        let mut rest = bytes.as_slice();
        while let Some((header, after)) = rest.split_first_chunk::<ENTRY_HEADER_BYTES>() {
            let [a, b, c, d, crc @ ..] = *header;
            let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let Some((body, next)) = after.split_at_checked(length) else {
                break;
            };
            let intact = crc32fast::hash(body) == u32::from_le_bytes(crc);
            let entry = intact
                .then(|| Entry::decode(body))
                .flatten()
                .ok_or_else(|| {
                    let position = bytes.len() - rest.len();
                    let reason = format!("{}: bad trace entry at byte {position}", path.display());
                    io::Error::new(io::ErrorKind::InvalidData, reason)
                })?;
            entries.push(entry);
            ends.push((bytes.len() - next.len()) as u64);
            rest = next;
        }
        Ok(Self { entries, ends })
    }

    /// Number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries lie wholly within the first so many bytes of the trace file.
    #[must_use]
    pub fn entries_within(&self, bytes: u64) -> usize {
        self.ends.partition_point(|end| *end <= bytes)
    }

    /// A replay of this trace from its start, on what was there (durably) before it.
    #[must_use]
    pub fn replay(&self) -> Replay<'_> {
        Replay {
            trace: self,
            done: 0,
            image: Image::new(CAPACITY_BYTES),
            files: HashMap::new(),
        }
    }

    /// Writes into `target` what a power cut after the first `cut` entries, with this seed, leaves
    /// of the directory `root` (as it was named to the recording process, absolute).
    ///
    /// # Errors
    /// Those of [`Replay::advance_to`] and [`Replay::crash_into`].
    pub fn rebuild(&self, cut: usize, seed: u64, root: &Path, target: &Path) -> io::Result<()> {
        let mut replay = self.replay();
        replay.advance_to(cut)?;
        replay.crash_into(seed, root, target)
    }
}

/// A trace being replayed; several cuts in ascending order cost one pass.
#[derive(Debug)]
pub struct Replay<'a> {
    trace: &'a Trace,
    done: usize,
    image: Image,
    files: HashMap<u64, NodeId>,
}

impl Replay<'_> {
    /// Puts the files under `base` where `root` is, durable from the start: for a trace that began
    /// on a directory that was not empty. Before any [`Replay::advance_to`].
    ///
    /// # Errors
    /// Whatever the system says of reading `base`.
    pub fn start_from(&mut self, base: &Path, root: &Path) -> io::Result<()> {
        for entry in fs::read_dir(base)? {
            let entry = entry?;
            let at = root.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.image.adopt_dir(&at)?;
                self.start_from(&entry.path(), &at)?;
            } else {
                self.image.adopt_file(&at, fs::read(entry.path())?)?;
            }
        }
        Ok(())
    }

    /// Replays up to the first `cut` entries; never backwards.
    ///
    /// # Errors
    /// `InvalidData` when an entry contradicts those before it.
    pub fn advance_to(&mut self, cut: usize) -> io::Result<()> {
        while self.done < cut.min(self.trace.len()) {
            let number = self.done;
            self.step(number).map_err(|error| {
                let entry = self.trace.entries.get(number);
                let reason = format!("trace entry {number} ({entry:.200?}) cannot be: {error}");
                io::Error::new(io::ErrorKind::InvalidData, reason)
            })?;
            self.done += 1;
        }
        Ok(())
    }

    fn step(&mut self, number: usize) -> io::Result<()> {
        let Some(entry) = self.trace.entries.get(number) else {
            return Ok(());
        };
        self.image.sequence = number as u64;
        let file = |id: &u64| self.files.get(id).copied().ok_or(io::ErrorKind::NotFound);
        match entry {
            Entry::Open {
                file,
                path,
                existed,
            } => {
                self.adopt_parent(path)?;
                let mode = if *existed {
                    OpenMode::Write
                } else {
                    OpenMode::CreateNew
                };
                let node = self.image.open(path, mode)?;
                self.files.insert(*file, node);
            }
            Entry::Rename { from, to } => {
                self.adopt_parent(to)?;
                self.image.rename(from, to)?;
            }
            Entry::RemoveFile { path } => self.image.remove_file(path)?,
            Entry::CreateDir { path, existing } => {
                self.image.adopt_dir(existing)?;
                self.image.create_dir_all(path)?;
            }
            Entry::RemoveDir { path } => self.image.remove_dir(path)?,
            Entry::SyncDir { path, covers } => {
                let node = self.image.adopt_dir(path)?;
                self.image.sync_dir(node, *covers)?;
            }
            Entry::Write {
                file: id,
                position,
                bytes,
            } => {
                let node = file(id)?;
                self.image.write(node, *position, bytes.clone())?;
            }
            Entry::Allocate { file: id, length } => self.image.allocate(file(id)?, *length)?,
            Entry::SetLen { file: id, length } => self.image.set_len(file(id)?, *length)?,
            Entry::SyncData { file: id, covers } => self.image.sync_data(file(id)?, *covers)?,
        }
        Ok(())
    }

    /// The trace holds the creation of every directory that was not there before it began.
    fn adopt_parent(&mut self, path: &Path) -> io::Result<()> {
        self.image
            .adopt_dir(path.parent().unwrap_or(Path::new("")))?;
        Ok(())
    }

    /// Writes what a power cut now leaves of `root` into the new directory `target`.
    ///
    /// # Errors
    /// Whatever the system says of writing; `AlreadyExists` when `target` is there.
    pub fn crash_into(&self, seed: u64, root: &Path, target: &Path) -> io::Result<()> {
        let after = self.image.crash(seed);
        fs::create_dir(target)?;
        match after.find(root) {
            Ok(_) => export(&after, root, target),
            Err(_) => Ok(()),
        }
    }
}

fn export(image: &Image, from: &Path, to: &Path) -> io::Result<()> {
    for entry in image.list_dir(from)? {
        let (source, target) = (from.join(&entry.name), to.join(&entry.name));
        if entry.is_dir {
            fs::create_dir(&target)?;
            export(image, &source, &target)?;
        } else {
            fs::write(&target, image.bytes(image.find(&source)?)?)?;
        }
    }
    Ok(())
}
