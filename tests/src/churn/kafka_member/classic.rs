//! The classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
//!
//! An eager member names a protocol of its own beside that of cooperative ones, so that both can be
//! members of one generation (KIP-429's way from one to the other).

use std::{collections::BTreeSet, pin::pin};

use anyhow::Result;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest,
        JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
        SyncGroupResponse, consumer_protocol_assignment, consumer_protocol_subscription,
        join_group_request::JoinGroupRequestProtocol, join_group_response::JoinGroupResponseMember,
        leave_group_request::MemberIdentity, sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::{Decodable as _, Encodable as _},
};
use millstream_proto::TopicPartition;

use super::{
    Dialect, KafkaMember, REBALANCE_TIMEOUT, Verdict,
    leader::{Claim, assign},
};
use crate::{
    churn::{Standing, scene::place},
    kafka::{group_id, text, topic_name},
};

const JOIN_VERSION: i16 = 9;
const SYNC_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
const LEAVE_VERSION: i16 = 5;
/// Of what members say and are assigned: with the generation in which they were.
const EMBEDDED_VERSION: i16 = 3;
const PROTOCOL_TYPE: &str = "consumer";
const EAGER: &str = "range";
const COOPERATIVE: &str = "cooperative-sticky";

impl KafkaMember {
    /// Joins a generation, and holds its part of it.
    pub(super) async fn rebalance(&mut self) -> Result<Standing> {
        if self.dialect == Dialect::Eager {
            let all = self.reader.partitions().into_iter().collect();
            self.give_up(all).await?;
        }
        let joined = self.join_generation().await?;
        if joined.error_code == ResponseError::MemberIdRequired.code() {
            self.identity.member_id = joined.member_id.to_string();
            return Ok(Standing::Member);
        }
        match Verdict::of(joined.error_code)? {
            Verdict::Fine => {}
            refusal => return self.refused(refusal).await,
        }
        self.identity.member_id = joined.member_id.to_string();
        self.identity.epoch = joined.generation_id;
        let sent_at = self.witness.now();
        let synced = self.sync(&joined).await?;
        match Verdict::of(synced.error_code)? {
            Verdict::Fine => {}
            refusal => return self.refused(refusal).await,
        }
        // Only what is written outlives the daemon, and that is what has an assignment.
        self.witness.heard(sent_at);
        self.is_member = true;
        self.has_to_speak = false;
        self.confirmed();
        self.hold(read_assignment(synced.assignment)?).await?;
        self.witness.resumed();
        Ok(Standing::Member)
    }

    /// Waits until the generation begins; meanwhile the member works on what it still holds.
    async fn join_generation(&mut self) -> Result<JoinGroupResponse> {
        let request = self.join_request()?;
        self.witness.waits();
        let Self {
            coordinator,
            reader,
            identity,
            witness,
            ..
        } = self;
        let mut joined = pin!(coordinator.call(JOIN_VERSION, &request));
        loop {
            let mut work = pin!(reader.work(identity, witness));
            tokio::select! {
                joined = &mut joined => {
                    // A request that was begun is brought to its end.
                    work.await?;
                    return joined;
                }
                done = &mut work => done?,
            }
        }
    }

    fn join_request(&self) -> Result<JoinGroupRequest> {
        let metadata = self.subscription()?;
        let names: &[&str] = match self.dialect {
            Dialect::Eager => &[EAGER, COOPERATIVE],
            Dialect::Cooperative | Dialect::Consumer => &[COOPERATIVE],
        };
        let protocol = |name: &&str| {
            JoinGroupRequestProtocol::default()
                .with_name(text(name))
                .with_metadata(metadata.clone())
        };
        let identity = &self.identity;
        Ok(JoinGroupRequest::default()
            .with_group_id(group_id(&identity.group))
            .with_member_id(text(&identity.member_id))
            .with_group_instance_id(identity.instance_id.as_deref().map(text))
            .with_session_timeout_ms(i32::try_from(self.session().as_millis())?)
            .with_rebalance_timeout_ms(i32::try_from(REBALANCE_TIMEOUT.as_millis())?)
            .with_protocol_type(text(PROTOCOL_TYPE))
            .with_protocols(names.iter().map(protocol).collect()))
    }

    /// What the member subscribes to and holds, and since which generation.
    fn subscription(&self) -> Result<Bytes> {
        let held = self.reader.partitions();
        let owned = held.iter().map(|partition| {
            consumer_protocol_subscription::TopicPartition::default()
                .with_topic(topic_name(partition.topic.as_str()))
                .with_partitions(vec![partition.partition.0])
        });
        let topics = self.topics.iter().map(|topic| text(&topic.name));
        let subscription = ConsumerProtocolSubscription::default()
            .with_topics(topics.collect())
            .with_owned_partitions(owned.collect())
            .with_generation_id(self.identity.epoch);
        let mut bytes = BytesMut::new();
        bytes.put_i16(EMBEDDED_VERSION);
        subscription.encode(&mut bytes, EMBEDDED_VERSION)?;
        Ok(bytes.freeze())
    }

    /// Asks for its assignment; the leader brings those of all.
    async fn sync(&mut self, joined: &JoinGroupResponse) -> Result<SyncGroupResponse> {
        let assignments = if joined.skip_assignment {
            Vec::new()
        } else {
            self.assignments(&joined.members)?
        };
        let identity = &self.identity;
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(&identity.group))
            .with_member_id(text(&identity.member_id))
            .with_group_instance_id(identity.instance_id.as_deref().map(text))
            .with_generation_id(identity.epoch)
            .with_protocol_type(joined.protocol_type.clone())
            .with_protocol_name(joined.protocol_name.clone())
            .with_assignments(assignments);
        self.coordinator.call(SYNC_VERSION, &request).await
    }

    /// Who is to hold what; nothing where the member does not lead, as it is told of no members then.
    fn assignments(
        &self,
        members: &[JoinGroupResponseMember],
    ) -> Result<Vec<SyncGroupRequestAssignment>> {
        let claims: Vec<Claim> = members.iter().map(read_claim).collect::<Result<_>>()?;
        let topics = self.topics.iter();
        let partitions = topics
            .flat_map(|topic| (0..topic.partitions).map(|partition| place(&topic.name, partition)));
        let assigned = assign(&claims, &partitions.collect::<Vec<_>>());
        let assignments = claims.iter().zip(assigned).map(|(claim, partitions)| {
            Ok(SyncGroupRequestAssignment::default()
                .with_member_id(text(&claim.member_id))
                .with_assignment(write_assignment(&partitions)?))
        });
        assignments.collect()
    }

    pub(super) async fn classic_heartbeat(&mut self) -> Result<Standing> {
        let identity = &self.identity;
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&identity.group))
            .with_member_id(text(&identity.member_id))
            .with_group_instance_id(identity.instance_id.as_deref().map(text))
            .with_generation_id(identity.epoch);
        let sent_at = self.witness.now();
        let answer = self.coordinator.call(HEARTBEAT_VERSION, &request).await?;
        match Verdict::of(answer.error_code)? {
            Verdict::Fine => {
                self.witness.heard(sent_at);
                self.confirmed();
                Ok(Standing::Member)
            }
            refusal => self.refused(refusal).await,
        }
    }

    pub(super) async fn leave_generation(&mut self) -> Result<()> {
        let member = MemberIdentity::default()
            .with_member_id(text(&self.identity.member_id))
            .with_group_instance_id(self.identity.instance_id.as_deref().map(text));
        let request = LeaveGroupRequest::default()
            .with_group_id(group_id(&self.identity.group))
            .with_members(vec![member]);
        let answer = self.coordinator.call(LEAVE_VERSION, &request).await?;
        Verdict::of(answer.error_code).map(drop)
    }
}

/// What a member said that it holds.
fn read_claim(member: &JoinGroupResponseMember) -> Result<Claim> {
    let mut bytes = member.metadata.clone();
    let version = bytes.try_get_i16()?;
    let said = ConsumerProtocolSubscription::decode(&mut bytes, version)?;
    let owned = said.owned_partitions.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| place(&topic.topic, *partition))
    });
    Ok(Claim {
        member_id: member.member_id.to_string(),
        generation: said.generation_id,
        owned: owned.collect(),
    })
}

fn write_assignment(partitions: &[TopicPartition]) -> Result<Bytes> {
    let assigned = partitions.iter().map(|partition| {
        consumer_protocol_assignment::TopicPartition::default()
            .with_topic(topic_name(partition.topic.as_str()))
            .with_partitions(vec![partition.partition.0])
    });
    let assignment =
        ConsumerProtocolAssignment::default().with_assigned_partitions(assigned.collect());
    let mut bytes = BytesMut::new();
    bytes.put_i16(EMBEDDED_VERSION);
    assignment.encode(&mut bytes, EMBEDDED_VERSION)?;
    Ok(bytes.freeze())
}

/// The partitions of an assignment; a member that got none may be told so by no bytes at all.
fn read_assignment(mut bytes: Bytes) -> Result<BTreeSet<TopicPartition>> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let version = bytes.try_get_i16()?;
    let assignment = ConsumerProtocolAssignment::decode(&mut bytes, version)?;
    let partitions = assignment.assigned_partitions.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| place(&topic.topic, *partition))
    });
    Ok(partitions.collect())
}
