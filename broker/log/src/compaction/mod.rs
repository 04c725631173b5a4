//! Compaction: of each key the newest record stays.
//!
//! ```text
//!   log start                first dirty             last stable      log end
//!   ──┬──────────────────────────┬─────────────────────────┬──────┬─────┬──
//!     │ clean: no key twice      │ dirty                   │ not  │ act-│
//!     │                          │                         │ yet  │ ive │
//!   1.                           └── its keys go into a map┘
//!   2. └── segments are copied without what the map supersedes ──┘
//! ```
//! One pass fills the [`key_map`] from the dirty part ([`dirty_keys`]), as far as it has room, then copies
//! the segments from the start up to there, in groups that fit one segment: [`reader`] reads, [`filter`] decides
//! (with [`transactions`]), [`cleaned`] writes, [`swap`] puts the copy in the place of the originals in
//! a way that a crash may interrupt anywhere. What a pass did is in the manifest. Offsets never change,
//! and a segment still ends where the next begins.
//!
//! The live part, which looks at a log while it is appended to and read, is `partition/compact.rs` and `partition/swap.rs`.

pub(crate) mod cleaned;
mod config;
pub(crate) mod dirty_keys;
pub(crate) mod filter;
mod kept_records;
pub(crate) mod key_map;
mod pace;
pub(crate) mod plan;
pub(crate) mod reader;
mod report;
pub(crate) mod swap;
pub(crate) mod transactions;

pub use config::{CompactionConfig, Ratio};
pub use pace::{Pace, Throttle, Unhurried};
pub use plan::Compactable;
pub use report::{CompactionError, CompactionReport, CompactionRequest};
