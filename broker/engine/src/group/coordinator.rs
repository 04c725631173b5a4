//! [`Coordinator`]: the groups of one partition of the offsets topic.

use std::sync::Arc;

use millstream_proto::group_record::GroupRecord;

use super::{
    Committed, Config, Event, GroupDescription, GroupListing, Now, OffsetReader, Outcome, Refusal,
    Topics,
};

/// The groups of one partition of the offsets topic, and what their members are about.
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    topics: Arc<Topics>,
}

impl Coordinator {
    /// A coordinator without groups: replay the partition's records, then hand it
    /// [`Event::Loaded`].
    #[must_use]
    pub fn new(config: Config, topics: Arc<Topics>) -> Self {
        Self { config, topics }
    }

    /// Takes in a record that the partition already has. Only for loading: the records of an
    /// [`Outcome`] are part of the state when `handle` returns.
    pub fn replay(&mut self, record: &GroupRecord) {
        let _ = record;
        todo!()
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Now, event: Event) -> Outcome {
        let _ = (now, event, &self.config, &self.topics);
        todo!()
    }

    /// Every group, by id.
    #[must_use]
    pub fn list(&self) -> Vec<GroupListing> {
        todo!()
    }

    /// A group in full.
    ///
    /// # Errors
    /// [`Refusal::GroupNotFound`].
    pub fn describe(&self, group_id: &str) -> Result<GroupDescription, Refusal> {
        let _ = group_id;
        todo!()
    }

    /// What a group committed: for these partitions, or for all. A partition without a commit is left
    /// out, and so is a commit for an earlier life of a topic's name.
    ///
    /// # Errors
    /// Where the reader is no member, or its epoch is stale. A group that does not exist committed
    /// nothing, which is no error.
    pub fn committed(
        &self,
        group_id: &str,
        reader: &OffsetReader,
        partitions: Option<&[(Arc<str>, i32)]>,
    ) -> Result<Vec<Committed>, Refusal> {
        let _ = (group_id, reader, partitions);
        todo!()
    }
}
