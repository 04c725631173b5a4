//! Recovery: what of a partition's directory is believed after a start.
//!
//! ```text
//!            recovery point                       log end
//!  ──────────────┬──────────────────────────────────┬───────
//!   bad batch =  │ another boot: cut at the first   │ stale or
//!   corruption,  │ bad batch                        │ reserved
//!   never cut    │ same boot: only the last write   │ bytes
//!                │ may be torn, else corruption     │
//! ```
//! A corrupt range answers CORRUPT_MESSAGE, the rest stays readable. What is kept above the
//! recovery point is fdatasynced, its directory too, before it counts as flushed; in the same boot
//! it is copied to new files first, as a flush may have failed without leaving a marker and the page
//! cache would hide that.
//!
//! Reading comes first ([`walk`]), then one decision ([`plan`]), then the writes ([`apply`]), in an
//! order that any crash leaves for the next recovery to repeat.
//!
//! What a live log owes to recovery: a manifest entry is written as sealed only after the segment's
//! fdatasync; before a truncation the recovery point is lowered and the manifest entries are removed,
//! both durably; the epoch history is stored before the first batch of an epoch.

mod apply;
mod clean;
mod damage;
mod inventory;
mod parallel;
mod plan;
mod recovered;
mod resync;
mod scan;
mod segments;
mod walk;

#[cfg(test)]
mod tests;

pub use parallel::{RecoveryJob, recover_all};
pub use recovered::{Boot, CorruptRange, Recovered, RecoveryError, RecoveryInput, RecoveryReport};
pub use resync::next_readable;
pub use scan::BatchScanner;

use std::path::Path;

use inventory::Inventory;
use walk::Findings;

use crate::io::LogIo;

/// Recovers one partition. After a clean shutdown ([`Boot::Clean`]) it only opens it. A directory
/// without segments gets one.
///
/// # Errors
/// The disk failed, or the directory belongs to another topic. Bad bytes are no error: they are
/// cut or reported, see [`Recovered`].
pub fn recover_partition(
    io: &dyn LogIo,
    dir: &Path,
    input: &RecoveryInput,
) -> Result<Recovered, RecoveryError> {
    let mut report = RecoveryReport::default();
    let inventory = Inventory::take(io, dir, input, &mut report)?;
    if let Boot::Clean(clean) = input.boot
        && let Some(recovered) = clean::open(io, dir, &inventory, clean, input, &report)?
    {
        return Ok(recovered);
    }
    let findings = Findings::new(&inventory, report);
    let decided = segments::decide(io, dir, &inventory, findings, input)?;
    apply::apply(io, dir, inventory, decided, input)
}
