//! [`ReplicaWatcher`]: what a coordinator hears of the partition that it keeps its state in.

/// Told that the high watermark moved or that the replica serves nothing more.
///
/// Called on whatever thread did it, without a lock of the replica held, possibly late and out of
/// order: read the replica anew. Must not block.
pub trait ReplicaWatcher: Send + Sync + std::fmt::Debug {
    /// Something changed.
    fn changed(&self);
}
