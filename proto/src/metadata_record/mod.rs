//! Records of the metadata log, and the bytes of its files; what they mean is in `docs/design/metadata-log.md`.
//!
//! ```text
//! file    | header, 16 bytes | frame | frame | ...      file.rs
//! frame   | header, 28 bytes | payload | end mark |     frame.rs
//! payload one record, several, or a snapshot's end      entry.rs, record.rs, wire.rs
//! ```
//! Everything here is a function of bytes, and no input panics.

pub mod entry;
pub mod file;
pub mod frame;
mod record;
pub mod wire;

pub use entry::Entry;
pub use file::{FileKind, FileStart, HeaderError};
pub use frame::{Frame, FrameError};
pub use record::{
    BrokerRegistered, MetadataRecord, PartitionRegistration, PartitionsAdded, ProducerIdsAllocated,
    TopicConfigChanged, TopicCreated, TopicDefaultsChanged, TopicDeleted,
};
pub use wire::WireError;
