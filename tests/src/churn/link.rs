//! [`Link`]: the connection of one raw member, with the three streams that it works on.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use millstream_proto::{TopicPartition, grpc::v1};

use super::scene::place;
use crate::{
    Native,
    native::{CommitStream, FetchStream, Joining, MemberStream},
};

/// Credit of each partition that is read.
const CREDIT_BYTES: u64 = 256 << 10;

/// A connection with a membership on it.
#[derive(Debug)]
pub(super) struct Link {
    native: Native,
    pub(super) stream: MemberStream,
    pub(super) commits: CommitStream,
    pub(super) fetch: FetchStream,
}

/// What a request to join leads to.
#[derive(Debug)]
pub(super) enum Linking {
    Linked(Box<Link>),
    Refused(v1::Error),
}

impl Link {
    /// Connects and joins.
    ///
    /// # Errors
    /// When the daemon cannot be reached.
    pub(super) async fn open(daemon: SocketAddr, join: v1::MemberJoin) -> Result<Linking> {
        let native = Native::connect(daemon).await?;
        let stream = match native.join_group(join).await? {
            Joining::Joined(stream) => stream,
            Joining::Refused(error) => return Ok(Linking::Refused(error)),
        };
        Ok(Linking::Linked(Box::new(Self {
            commits: native.commits().await?,
            fetch: native.fetch().await?,
            stream,
            native,
        })))
    }

    /// Reads a partition from an offset; answers under which id.
    ///
    /// # Errors
    /// When the stream is broken.
    pub(super) async fn read(
        &mut self,
        topic_id: &Bytes,
        partition: i32,
        offset: i64,
    ) -> Result<u64> {
        self.fetch
            .add(topic_id, partition, offset, CREDIT_BYTES)
            .await
    }

    /// Where the group is in a partition: what is committed, else its beginning.
    ///
    /// # Errors
    /// When the broker does not answer, or refuses.
    pub(super) async fn committed(
        &self,
        group: &str,
        topic_id: &Bytes,
        partition: &TopicPartition,
    ) -> Result<i64> {
        let wanted = v1::TopicPartitions {
            topic_id: topic_id.clone(),
            topic: partition.topic.to_string(),
            partitions: vec![partition.partition.0],
        };
        let request = v1::FetchOffsetsRequest {
            group_id: group.to_owned(),
            member_id: String::new(),
            member_epoch: -1,
            partitions: vec![wanted],
        };
        let answer = self.native.fetch_offsets(request).await?;
        let error = answer.error.or_else(|| {
            let mut offsets = answer.offsets.iter();
            offsets.find_map(|offset| offset.error.clone())
        });
        if let Some(error) = error {
            anyhow::bail!("{}: {}", error.name, error.message);
        }
        let found = answer.offsets.into_iter().next();
        Ok(found.context("one offset a partition")?.offset.max(0))
    }
}

/// Partitions with the ids of their topics, as requests list them.
pub(super) fn to_wire<'a>(
    partitions: impl IntoIterator<Item = (&'a TopicPartition, &'a Bytes)>,
) -> Vec<v1::TopicPartitions> {
    let each = |(partition, topic_id): (&TopicPartition, &Bytes)| v1::TopicPartitions {
        topic_id: topic_id.clone(),
        topic: partition.topic.to_string(),
        partitions: vec![partition.partition.0],
    };
    partitions.into_iter().map(each).collect()
}

/// Partitions with the ids of their topics, out of what the broker lists.
pub(super) fn from_wire(topics: &[v1::TopicPartitions]) -> Vec<(TopicPartition, Bytes)> {
    let each = |topic: &v1::TopicPartitions| {
        let (name, id) = (topic.topic.clone(), topic.topic_id.clone());
        let partitions = topic.partitions.clone();
        partitions
            .into_iter()
            .map(move |partition| (place(&name, partition), id.clone()))
    };
    topics.iter().flat_map(each).collect()
}
