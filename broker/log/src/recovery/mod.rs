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
//! recovery point is fdatasynced, its directory too, before it counts as flushed.

mod recovered;

pub use recovered::{Boot, CorruptRange, Recovered, RecoveryError, RecoveryInput, RecoveryReport};

use std::path::Path;

use crate::io::LogIo;

/// Recovers one partition. After a clean shutdown ([`Boot::Clean`]) it only opens it.
///
/// # Errors
/// The disk failed, or the directory belongs to another topic. Bad bytes are no error: they are
/// cut or reported, see [`Recovered`].
pub fn recover_partition(
    io: &dyn LogIo,
    dir: &Path,
    input: &RecoveryInput,
) -> Result<Recovered, RecoveryError> {
    let _ = (io, dir, input);
    todo!()
}
