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

pub mod io;
