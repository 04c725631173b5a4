//! What must hold of the binaries that people run: small, and without the switches of the tests.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::build::Binaries;

/// Largest release binary.
const BYTES_MAX: u64 = 25 << 20;
/// Environment variables of the feature `test-hooks`, as they stand in a binary that has it.
const TEST_HOOKS: [&str; 2] = ["MILLSTREAM_KILL_AT", "MILLSTREAM_TEST_IO"];

/// Refuses release binaries that are too large, or a release daemon with test hooks. The daemon under
/// test must have them: otherwise this would look for the wrong names.
///
/// # Errors
/// What was found, and where; a binary that cannot be read.
pub(crate) fn check(release: &Binaries, tested: &Binaries) -> Result<()> {
    for path in [&release.daemon, &release.cli] {
        let size_bytes = fs::metadata(path)
            .with_context(|| format!("cannot look at {}", path.display()))?
            .len();
        println!("{}: {:.1} MiB", path.display(), mebibytes(size_bytes));
        if size_bytes > BYTES_MAX {
            bail!(
                "{} has {size_bytes} bytes, at most {BYTES_MAX} are allowed",
                path.display()
            );
        }
    }
    for hook in TEST_HOOKS {
        if !holds(&tested.daemon, hook)? {
            bail!("{} does not know {hook}", tested.daemon.display());
        }
        if holds(&release.daemon, hook)? {
            bail!("{} has the test hook {hook}", release.daemon.display());
        }
    }
    Ok(())
}

fn holds(path: &Path, text: &str) -> Result<bool> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes()))
}

#[expect(clippy::cast_precision_loss, reason = "a size to look at")]
fn mebibytes(size_bytes: u64) -> f64 {
    size_bytes as f64 / f64::from(1 << 20)
}
