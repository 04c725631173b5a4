//! [`RebalanceListener`]: how an application learns which partitions come and go.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use millstream_proto::TopicName;

use super::committer::Committer;
use crate::{admin::CommitOffset, consumer::state::Shared, error::Result};

/// Learns which partitions come and go.
///
/// The methods run on the consumer's own task, one at a time. Partitions that stay with the member
/// go on being read meanwhile.
///
/// ```
/// use millstream::{RebalanceListener, Revocation};
///
/// struct SaveState;
///
/// impl RebalanceListener for SaveState {
///     fn revoked<'a>(&'a self, revocation: &'a Revocation) -> millstream::RevokedFuture<'a> {
///         Box::pin(async move {
///             // Write what was derived from the partitions' records, then say how far that is.
///             if let Err(error) = revocation.commit().await {
///                 eprintln!("records will come again: {error}");
///             }
///         })
///     }
/// }
/// ```
pub trait RebalanceListener: Send + Sync + 'static {
    /// These (topic, partition)s are being read from now on.
    fn assigned(&self, partitions: &[(String, i32)]) {
        let _ = partitions;
    }

    /// The group takes these partitions back. It waits: the next member reads them only once the
    /// returned future is done and, with auto commit, what was handed out is committed; or once the
    /// rebalance timeout has passed, which ends the membership.
    ///
    /// Called when the application has come back for more, in [`crate::Consumer::recv`] or
    /// [`crate::Consumer::close`], and so is done with every record handed out. From then on no
    /// record of these partitions is handed out.
    fn revoked<'a>(&'a self, revocation: &'a Revocation) -> RevokedFuture<'a> {
        let _ = revocation;
        Box::pin(std::future::ready(()))
    }

    /// The membership is over, for instance because the broker did not hear of the member for its
    /// session timeout: others may already read these partitions. Nothing can be committed.
    fn lost(&self, partitions: &[(String, i32)]) {
        let _ = partitions;
    }
}

/// What [`RebalanceListener::revoked`] returns.
pub type RevokedFuture<'a> = BoxFuture<'a, ()>;

/// A partition that is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevokedPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: i32,
    /// Offset after the last record handed out.
    pub position: i64,
}

/// Partitions that are taken back, and a last chance to commit them.
#[derive(Debug)]
pub struct Revocation {
    shared: Arc<Shared>,
    committer: Committer,
    partitions: Vec<RevokedPartition>,
    slots: Vec<u64>,
}

impl Revocation {
    pub(super) fn new(shared: &Arc<Shared>, committer: &Committer, slots: Vec<u64>) -> Self {
        let state = shared.state();
        let partitions = slots.iter().filter_map(|slot| state.committable(*slot));
        let partitions = partitions
            .map(|partition| RevokedPartition {
                topic: partition.topic,
                partition: partition.partition,
                position: partition.offset,
            })
            .collect();
        drop(state);
        Self {
            shared: Arc::clone(shared),
            committer: committer.clone(),
            partitions,
            slots,
        }
    }

    /// The partitions, with how far they were handed out.
    #[must_use]
    pub fn partitions(&self) -> &[RevokedPartition] {
        &self.partitions
    }

    /// Commits everything that was handed out of these partitions.
    ///
    /// # Errors
    /// As [`crate::Consumer::commit`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves it committed or not committed.
    pub async fn commit(&self) -> Result<()> {
        let all = {
            let state = self.shared.state();
            let slots = self.slots.iter();
            slots.filter_map(|slot| state.committable(*slot)).collect()
        };
        self.committer.enqueue(all).wait().await
    }

    /// Commits what was handed out and is not committed yet.
    pub(super) async fn commit_new(&self) -> Result<()> {
        let mut new = self.shared.state().uncommitted();
        new.retain(|committable| self.slots.contains(&committable.slot));
        self.committer.enqueue(new).wait().await
    }

    /// Commits these offsets of these partitions.
    ///
    /// # Errors
    /// As [`crate::Consumer::commit_offsets`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves it committed or not committed.
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = CommitOffset> + Send,
    ) -> Result<()> {
        let offsets: Vec<_> = offsets.into_iter().collect();
        self.committer.commit(&self.shared, offsets)?.wait().await
    }
}
