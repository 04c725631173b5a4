//! Quarantine: partition directories that the metadata does not know are moved aside, never deleted.
//!
//! A directory may be unknown because the metadata is older than it (a restored backup), because it
//! was copied in by hand, or because a deletion was cut short. None of these is a reason to lose data
//! without being asked. They go to `<data_dir>/quarantine/<directory>.<number>`.

use std::{
    io,
    path::{Path, PathBuf},
};

use millstream_log::io::LogIo;

/// Name of the folder for them. No partition has it: theirs end with a number.
pub const DIRECTORY: &str = "quarantine";

/// Directories of one name that quarantine holds at most; then the operator must look.
const SAME_NAME_MAX: u32 = 10_000;

/// Moves `data_dir/name` into quarantine, durably, and returns where it is now.
///
/// # Errors
/// What the system says.
pub fn quarantine(io: &dyn LogIo, data_dir: &Path, name: &Path) -> io::Result<PathBuf> {
    let folder = data_dir.join(DIRECTORY);
    io.create_dir_all(&folder)?;
    let target = free_name(io, &folder, name)?;
    io.rename(&data_dir.join(name), &target)?;
    io.sync_dir(&folder)?;
    io.sync_dir(data_dir)?;
    tracing::warn!(
        from = %name.display(),
        to = %target.display(),
        "directory is not in the metadata: moved to quarantine, nothing deleted"
    );
    Ok(target)
}

fn free_name(io: &dyn LogIo, folder: &Path, name: &Path) -> io::Result<PathBuf> {
    for number in 1..=SAME_NAME_MAX {
        let target = folder.join(format!("{}.{number}", name.display()));
        match io.metadata(&target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(target),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Err(io::Error::other(format!(
        "quarantine holds {SAME_NAME_MAX} directories of that name"
    )))
}
