//! Record batches, format v2: the unit of append, checksum, storage and transfer.
//!
//! Everything here is a function of bytes; no input panics. A batch on the wire and on the disk:
//!
//! ```text
//!  at  bytes  field                    covered by the CRC
//!   0   8     base offset              no: the broker sets it
//!   8   4     length of what follows   no
//!  12   4     partition leader epoch   no: the broker sets it
//!  16   1     magic, 2                 no
//!  17   4     CRC-32C of 21..end       -
//!  21   2     attributes               yes
//!  23   4     last offset delta        yes
//!  27   8     base timestamp           yes
//!  35   8     max timestamp            yes
//!  43   8     producer id, -1 none     yes
//!  51   2     producer epoch           yes
//!  53   4     base sequence            yes
//!  57   4     record count             yes
//!  61   -     records, compressed as attributes say
//!
//! attributes: bits 0-2 codec, 3 LogAppendTime, 4 transactional, 5 control, 6 delete horizon
//! ```
//!
//! All numbers are big-endian. Sources: Kafka's protocol guide ("Record Batch"), KIP-98, KIP-534.

mod batch;
mod builder;
pub mod compression;
pub mod control;
mod error;
mod header;
mod iter;
pub mod partitioner;
pub mod patch;
mod reader;
#[expect(
    clippy::module_inception,
    reason = "one main type per file, named as the file"
)]
mod record;
pub mod rewrite;
mod scan;
mod sequence;
mod varint;
mod view;

#[cfg(test)]
mod properties;

pub use batch::Batch;
pub use builder::{BatchBuilder, BatchOptions, BuildError, ProducerIdentity};
pub use compression::{Compression, CompressionError};
pub use error::{BatchError, RecordError, RewriteError};
pub use header::{BatchHeader, TimestampType};
pub use iter::{BatchIter, OwnedBatchIter};
pub use reader::RecordIter;
pub use record::{Header, Record};
pub use scan::{Part, Piece, RecordScan, RecordShape, RecordStart};
pub use sequence::sequence_after;
pub use view::BatchView;

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 61;
/// Bytes before the part that the length field counts: base offset and the length itself.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// The only batch format there is.
pub const MAGIC: i8 = 2;
/// A timestamp that is not set.
pub const NO_TIMESTAMP: i64 = -1;
/// A sequence, producer id or epoch that is not set.
pub const NO_SEQUENCE: i32 = -1;

/// Where the part starts that the CRC covers.
const CRC_COVERS_FROM: usize = 21;
