//! Offline, read-only inspection of log files: ours and Kafka's, which share their layout.
//!
//! - [`LogScan`] reads a `.log` batch by batch; [`dump_file`] decodes every other kind of file.
//! - [`verify`] checks a segment, a partition's directory or a whole data directory: everything
//!   that a checksum, continuity or recomputation can tell.
//!
//! Nothing here writes, and nothing needs the partition to be closed; what a running broker is
//! about to write may then look torn.

mod compaction;
mod dump;
mod report;
mod scan;
mod target;
mod verify;

pub use compaction::Compaction;
pub use dump::{Dump, ProducerRow, dump_file};
pub use report::{Finding, InspectError, Report};
pub use scan::{LogScan, ScanError, ScannedBatch};
pub use target::{Target, Writer, partition_files};
pub use verify::{VerifyOptions, verify};
