//! The metadata quorum: the only authority on topics, partitions, configs, producer ids, brokers.
//!
//! A change is a [`MetadataRecord`]; [`MetadataQuorum::propose`] commits records in order, and the
//! [`MetadataImage`] is what all committed records add up to. Here [`local`] is the driver: one
//! node, one log. A quorum of several replaces the driver later, not the records.

mod file;
pub mod image;
pub mod local;
pub mod log;
mod snapshot;

use std::{io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tokio::sync::broadcast;

pub use file::OpenError;
pub use image::{BrokerImage, ImageError, MetadataImage, PartitionImage, TopicImage};
pub use local::LocalQuorum;
pub use log::{MetadataLog, MetadataLogOptions};
pub use millstream_proto::metadata_record::{
    BrokerRegistered, MetadataRecord, PartitionRegistration, PartitionsAdded, ProducerIdsAllocated,
    TopicConfigChanged, TopicCreated, TopicDefaultsChanged, TopicDeleted, WireError,
};

/// Commits metadata records and shows what they add up to.
#[async_trait]
pub trait MetadataQuorum: Send + Sync + std::fmt::Debug + 'static {
    /// Commits `records` together, all or none, after everything committed before. When it
    /// returns `Ok` they are durable and the image holds them.
    ///
    /// Each record states what it expects (a free name, the next partition index, the next
    /// producer id, ...) and is checked against the image in the order of commitment, so of two
    /// concurrent proposals that exclude each other one is refused.
    ///
    /// # Errors
    /// [`ProposeError::Refused`] when a record does not fit the image: nothing was written.
    /// See [`ProposeError::may_have_been_committed`] for the others.
    ///
    /// # Cancel safety
    /// A dropped future does not take the proposal back; it may or may not be committed.
    async fn propose(&self, records: Vec<MetadataRecord>) -> Result<Committed, ProposeError>;

    /// The newest committed image.
    fn image(&self) -> Arc<MetadataImage>;

    /// The committed image, and every delta after it in order.
    fn subscribe(&self) -> MetadataSubscription;
}

/// Where a proposal was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Index in the metadata log; [`MetadataImage::index`] is at least this now.
    pub index: u64,
}

/// Records that were committed under one index.
#[derive(Debug, Clone, PartialEq)]
pub struct MetadataDelta {
    /// Index in the metadata log.
    pub index: u64,
    /// Term of the leader that proposed it; 1 while the quorum is local.
    pub term: u64,
    /// In the order in which they apply.
    pub records: Vec<MetadataRecord>,
}

/// What a subscriber hears next.
#[derive(Debug, Clone)]
pub enum MetadataChange {
    /// The next delta.
    Delta(Arc<MetadataDelta>),
    /// The subscriber fell more than [`DELTAS_BUFFERED_MAX`] behind: this image replaces the deltas
    /// it missed; the next delta has a larger index.
    Image(Arc<MetadataImage>),
}

/// How many deltas wait for a slow subscriber before it gets an image instead.
pub const DELTAS_BUFFERED_MAX: usize = 1024;

/// An image and the deltas after it. Made by [`MetadataQuorum::subscribe`].
#[derive(Debug)]
pub struct MetadataSubscription {
    start: Arc<MetadataImage>,
    deltas: broadcast::Receiver<Arc<MetadataDelta>>,
    images: Arc<arc_swap::ArcSwap<MetadataImage>>,
    index: u64,
}

impl MetadataSubscription {
    /// `deltas` must have been subscribed before `images` is loaded here, so that none is missed.
    #[must_use]
    pub fn new(
        deltas: broadcast::Receiver<Arc<MetadataDelta>>,
        images: Arc<arc_swap::ArcSwap<MetadataImage>>,
    ) -> Self {
        let start = images.load_full();
        Self {
            index: start.index(),
            start,
            deltas,
            images,
        }
    }

    /// The image that the first change builds on.
    #[must_use]
    pub fn start_image(&self) -> &Arc<MetadataImage> {
        &self.start
    }

    /// Waits for the next change; `None` once the quorum is closed.
    ///
    /// [`MetadataQuorum::image`] may already be ahead of the change returned.
    ///
    /// # Cancel safety
    /// Safe: a change is handed out or stays.
    pub async fn next(&mut self) -> Option<MetadataChange> {
        loop {
            match self.deltas.recv().await {
                Ok(delta) if delta.index <= self.index => {}
                Ok(delta) => {
                    self.index = delta.index;
                    return Some(MetadataChange::Delta(delta));
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let image = self.images.load_full();
                    self.index = image.index();
                    return Some(MetadataChange::Image(image));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// Why a proposal was not committed, as far as is known.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// A record does not fit what is committed. Nothing was written.
    #[error(transparent)]
    Refused(#[from] ImageError),
    /// The disk has no room for it. Nothing was written; it may succeed once there is.
    #[error("no space left in {directory} for the metadata log")]
    DiskFull {
        /// Directory of the metadata log.
        directory: PathBuf,
    },
    /// The proposal is larger than a frame may be. Nothing was written.
    #[error("metadata proposal has {found} bytes, at most {max} are allowed")]
    TooLarge {
        /// Encoded bytes.
        found: usize,
        /// Most bytes of a frame's payload.
        max: usize,
    },
    /// Writing failed, now or before: the log takes no more proposals until the daemon restarts.
    #[error("metadata log {path} failed: {kind}: {reason}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// Kind of the first error.
        kind: io::ErrorKind,
        /// Text of the first error.
        reason: Arc<str>,
        /// Whether this very proposal was being written, so that a restart may find it committed.
        in_flight: bool,
    },
    /// The quorum is shut down.
    #[error("metadata quorum is closed")]
    Closed,
}

impl ProposeError {
    /// Whether the records may turn out to be committed although this error was returned.
    #[must_use]
    pub fn may_have_been_committed(&self) -> bool {
        match self {
            Self::Failed { in_flight, .. } => *in_flight,
            Self::Closed => true,
            Self::Refused(_) | Self::DiskFull { .. } | Self::TooLarge { .. } => false,
        }
    }

    /// Whether the same proposal may succeed later.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::Closed)
    }
}

#[cfg(test)]
mod tests;
