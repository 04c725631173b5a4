//! The protocol of KIP-848: ConsumerGroupHeartbeat.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, consumer_group_heartbeat_request::TopicPartitions,
    consumer_group_heartbeat_response::Assignment,
};
use millstream_proto::TopicPartition;

use super::{KafkaMember, REBALANCE_TIMEOUT, Verdict};
use crate::{
    churn::{Standing, scene::place},
    kafka::{group_id, text, topic_name},
};

/// The version in which members make their ids themselves; before, the broker did.
const CLIENT_MADE_ID: i16 = 1;
/// The epoch of a member that leaves.
const LEAVES: i32 = -1;

impl KafkaMember {
    /// Half of the members speak the version before the last.
    const fn version(&self) -> i16 {
        if self.witness.number().0.is_multiple_of(2) {
            CLIENT_MADE_ID
        } else {
            CLIENT_MADE_ID - 1
        }
    }

    /// Shows that it is alive, says what is news, and takes in what it is to hold.
    pub(super) async fn consumer_heartbeat(&mut self) -> Result<Standing> {
        if self.identity.member_id.is_empty() && self.version() == CLIENT_MADE_ID {
            self.identity.member_id = format!("{:032x}", rand::random::<u128>());
        }
        let sent_at = self.witness.now();
        let request = self.heartbeat_request()?;
        let version = self.version();
        let answer = self.coordinator.call(version, &request).await?;
        match Verdict::of(answer.error_code)? {
            Verdict::Fine => {}
            refusal => return self.refused(refusal).await,
        }
        let member_id = answer.member_id.context("an answer names its member")?;
        self.identity.member_id = member_id.to_string();
        self.identity.epoch = answer.member_epoch;
        self.witness.heard(sent_at);
        self.is_member = true;
        self.has_to_speak = false;
        self.confirmed();
        if let Some(assignment) = answer.assignment {
            self.hold(self.read(&assignment)?).await?;
        }
        Ok(Standing::Member)
    }

    fn heartbeat_request(&self) -> Result<ConsumerGroupHeartbeatRequest> {
        let identity = &self.identity;
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(&identity.group))
            .with_member_id(text(&identity.member_id))
            .with_member_epoch(identity.epoch);
        let request = if self.has_to_speak {
            request.with_topic_partitions(Some(self.owned()))
        } else {
            request
        };
        if self.is_member && !self.is_back {
            return Ok(request);
        }
        let names = self.topics.iter().map(|topic| topic_name(&topic.name));
        Ok(request
            .with_rebalance_timeout_ms(i32::try_from(REBALANCE_TIMEOUT.as_millis())?)
            .with_subscribed_topic_names(Some(names.collect())))
    }

    fn owned(&self) -> Vec<TopicPartitions> {
        let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for partition in self.reader.partitions() {
            let topic = topics.entry(partition.topic.to_string()).or_default();
            topic.push(partition.partition.0);
        }
        let held = self.topics.iter().filter_map(|topic| {
            let partitions = topics.remove(&topic.name)?;
            Some(
                TopicPartitions::default()
                    .with_topic_id(topic.id)
                    .with_partitions(partitions),
            )
        });
        held.collect()
    }

    fn read(&self, assignment: &Assignment) -> Result<BTreeSet<TopicPartition>> {
        let mut assigned = BTreeSet::new();
        for topic in &assignment.topic_partitions {
            let mut known = self.topics.iter();
            let known = known.find(|known| known.id == topic.topic_id);
            let name = &known.context("a topic it subscribes to")?.name;
            assigned.extend(topic.partitions.iter().map(|at| place(name, *at)));
        }
        Ok(assigned)
    }

    pub(super) async fn leave_consumers(&mut self) -> Result<()> {
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(&self.identity.group))
            .with_member_id(text(&self.identity.member_id))
            .with_member_epoch(LEAVES);
        let version = self.version();
        let answer = self.coordinator.call(version, &request).await?;
        Verdict::of(answer.error_code).map(drop)
    }
}
