//! Putting a cleaned segment in the place of those that it was made of.
//!
//! ```text
//!   before    0.log 0.index ... 100.log 100.index ... 200.log ...
//!             0.log.cleaned 0.index.cleaned ...               durable, no name is looked at
//!   commit    the manifest says: 0 is the cleaned segment, 100 and 200 go     one durable write
//!   after     0.log.cleaned -> 0.log ..., 100.* and 200.* removed, directory fsynced
//!   end       the manifest forgets the swap
//! ```
//! A crash before the commit leaves files that nobody looks at; one after it leaves a swap that the
//! next start completes. Each step may be repeated, so it does not matter how far it came.

use std::{io, path::Path};

use millstream_proto::Offset;

use super::cleaned::{KINDS, cleaned_path};
use crate::{
    hooks,
    io::{LogIo, OpenMode},
    layout::FileKind,
    manifest::{self, Manifest, ManifestEntry, PendingSwap},
};

/// Completes a swap that the manifest says was committed and forgets it, durably. Returns why it
/// could not be: then the segments before it are still there, and the manifest vouches for none.
///
/// # Errors
/// What the disk says; it may be called again.
pub(crate) fn complete_interrupted(
    io: &dyn LogIo,
    dir: &Path,
    manifest: &mut Manifest,
) -> io::Result<Option<String>> {
    let Some(swap) = manifest.swap().cloned() else {
        return Ok(None);
    };
    let mut refused = None;
    match manifest.get(swap.base_offset).copied() {
        Some(entry) if is_there(io, dir, &entry)? => put_in_place(io, dir, &swap)?,
        _ => {
            refused = Some(format!(
                "the compacted segment {} is gone before it took its place",
                swap.base_offset
            ));
            manifest.retain(|entry| entry.meta.base_offset != swap.base_offset);
        }
    }
    manifest.end_swap();
    manifest.store(io, dir)?;
    Ok(refused)
}

/// Whether the cleaned `.log` is there, or is in its place already.
fn is_there(io: &dyn LogIo, dir: &Path, entry: &ManifestEntry) -> io::Result<bool> {
    let base_offset = entry.meta.base_offset;
    if exists(io, &cleaned_path(FileKind::Log, dir, base_offset))? {
        return Ok(true);
    }
    let file = match io.open(&FileKind::Log.path(dir, base_offset), OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    Ok(file.len()? == entry.meta.size_bytes
        && manifest::checksum_file(&*file, entry.meta.size_bytes)? == entry.checksums.log)
}

fn exists(io: &dyn LogIo, path: &Path) -> io::Result<bool> {
    match io.metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the cleaned files their names and removes the segments that are merged into them; durable on
/// return.
pub(crate) fn put_in_place(io: &dyn LogIo, dir: &Path, swap: &PendingSwap) -> io::Result<()> {
    for kind in KINDS {
        let path = kind.path(dir, swap.base_offset);
        let cleaned = cleaned_path(kind, dir, swap.base_offset);
        if kind == FileKind::TransactionIndex && !swap.has_transactions {
            remove_if_there(io, &path)?;
            continue;
        }
        match io.rename(&cleaned, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        hooks::reached(hooks::Phase::Compaction);
    }
    for base_offset in &swap.merged {
        remove_segment(io, dir, *base_offset)?;
        hooks::reached(hooks::Phase::Compaction);
    }
    io.sync_dir(dir)
}

/// The `.log` goes last: as long as it is there, so is what belongs to it. Producer states stay: one
/// of them may be the newest before the next segment.
fn remove_segment(io: &dyn LogIo, dir: &Path, base_offset: Offset) -> io::Result<()> {
    for kind in KINDS {
        remove_if_there(io, &kind.path(dir, base_offset))?;
    }
    Ok(())
}

fn remove_if_there(io: &dyn LogIo, path: &Path) -> io::Result<()> {
    match io.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
