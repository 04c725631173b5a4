//! One partition's storage: segments in Kafka's file layout, append, flush, read, recovery.
//!
//! Synchronous, and the only crate with `unsafe` (in one module, `io/mmap.rs`). It knows nothing of
//! topics' configuration records, of leaders, or of the network.
//!
//! ```text
//!   log_start <= last_stable <= high_watermark <= log_end      asserted on every change
//!   in fsync topics also: high_watermark <= flushed            on every in-sync replica
//!   log_start <= flushed does not hold in general: delete_records may pass data never flushed
//! ```

pub mod hooks;
pub mod inspect;
pub mod io;

pub mod frame;
pub mod layout;
pub mod segment_meta;

pub mod clean_shutdown;
pub mod epoch;
pub mod flush_failure;
pub mod identity;
pub mod index;
pub mod log_start;
pub mod manifest;
pub mod metadata_witness;
pub mod producer;
pub mod recovery;
pub mod recovery_point;

#[cfg(test)]
mod framed_files;
#[cfg(test)]
mod golden;

pub mod compaction;
pub mod config;
pub mod context;
pub mod error;
pub mod metrics;
pub mod partition;

mod background;
mod flusher;
mod reclaim;
mod replaced;
mod reserve;
mod resources;
mod segment;
mod tail_cache;
mod walk;

pub use compaction::{
    Compactable, CompactionConfig, CompactionError, CompactionReport, CompactionRequest, Pace,
    Ratio, Throttle, Unhurried,
};
pub use config::{CompressionPolicy, Durability, LogConfig, LogLimits, TimestampPolicy};
pub use context::DataDirectory;
pub use error::{AppendError, Offline, ReadError, StorageError};
pub use index::AbortedTransaction;
pub use partition::{
    AppendContext, Appended, CheckedBatches, CheckedSlice, ClosedLog, EpochEnd, FileRange,
    LogObserver, LogState, Origin, PartitionLog, Positions, ReadBatches, ReadRequest, Slice,
    StoredRange, TimestampOffset,
};
pub use reserve::RESERVE_FILE;
