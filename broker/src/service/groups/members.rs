//! Members: a stream each, on which a member says what it holds and is told what to hold.

use std::{collections::BTreeMap, sync::Arc};

pub use millstream_engine::group::Subscription;
use millstream_engine::group::{
    Alive, Event, Heartbeat, Leave, MemberRef, Owned, Push, Reply, StreamId, StreamReport, Ticket,
};
use millstream_proto::{ErrorCode, TopicId};
use tokio::sync::mpsc;

use super::{Assignment, PartitionId, replied};
pub use crate::coordinator::Outbox;
use crate::{
    coordinator::{MemberMessage, OffsetsPartition, member_channel},
    quorum::MetadataQuorum,
    service::{RequestContext, ServiceError, Services},
    uuid,
};

/// Who joins, or comes back.
#[derive(Debug, Clone)]
pub struct Joining {
    /// The group.
    pub group_id: String,
    /// The member; empty to be given an id.
    pub member_id: String,
    /// 0 to join anew, else the epoch that the member was told last.
    pub member_epoch: i32,
    /// Name of a static member.
    pub instance_id: Option<String>,
    /// Where it runs.
    pub rack_id: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Address of the client.
    pub client_host: String,
    /// How long it may be silent; 0 for the default.
    pub session_timeout_ms: u32,
    /// How long it may take to give up partitions; 0 for the default.
    pub rebalance_timeout_ms: u32,
    /// What it subscribes to.
    pub subscription: Subscription,
    /// The assignor it prefers; empty for the default.
    pub assignor: String,
    /// What it holds, when it comes back.
    pub owned: Assignment,
}

/// What a member is told.
#[derive(Debug, Clone)]
pub enum MemberAnswer {
    /// It is a member: the answer to a join, a heartbeat or a report.
    Alive(Alive),
    /// What to hold.
    Assigned(Assigned),
    /// It is a member no more, as it wanted.
    Left,
    /// The stream is over, mostly because the membership is.
    Ended(ServiceError),
}

/// What a member is to hold: all of it.
#[derive(Debug, Clone)]
pub struct Assigned {
    /// Its epoch, which its commits carry.
    pub member_epoch: i32,
    /// By topic.
    pub partitions: Vec<TopicPartitions>,
    /// Why the group was rebalanced last.
    pub reason: Arc<str>,
    /// Counts the assignments of the stream from 1.
    pub sequence: u64,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPartitions {
    /// Id of the topic.
    pub topic_id: TopicId,
    /// Its name.
    pub topic: String,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

/// What a member is told, to be read in order.
#[derive(Debug)]
pub struct MemberAnswers {
    messages: mpsc::Receiver<MemberMessage>,
    quorum: Arc<dyn MetadataQuorum>,
}

/// A member's side of its stream. Call [`Member::end_stream`] when the stream is over.
#[derive(Debug)]
pub struct Member {
    coordinator: Arc<OffsetsPartition>,
    member: MemberRef,
    stream: StreamId,
    instance_id: Option<String>,
    outbox: Outbox,
}

/// A heartbeat of a member without a stream (KIP-848). What is `None` did not change.
#[derive(Debug, Clone)]
pub struct Beat {
    /// The group.
    pub group_id: String,
    /// The member; empty to be given an id.
    pub member_id: String,
    /// 0 to join, -1 to leave, -2 to leave for a while as a static member, else the member's epoch.
    pub member_epoch: i32,
    /// Name of a static member.
    pub instance_id: Option<String>,
    /// Where it runs.
    pub rack_id: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Address of the client.
    pub client_host: String,
    /// How long it may take to give up partitions.
    pub rebalance_timeout_ms: Option<u32>,
    /// What it subscribes to.
    pub subscribing: Subscribing,
    /// The assignor it prefers.
    pub assignor: Option<String>,
    /// What it holds.
    pub owned: Option<Assignment>,
}

/// What a member without a stream subscribes to. What is `None` did not change.
#[derive(Debug, Clone)]
pub struct Subscribing {
    /// By name.
    pub topics: Option<Vec<String>>,
    /// By regular expression; empty for none.
    pub topic_regex: Option<String>,
}

/// What such a member is told.
#[derive(Debug, Clone)]
pub enum HeartbeatAnswer {
    /// It is a member.
    Alive(Alive),
    /// It is none any more, as it wanted.
    Left {
        /// Who.
        member_id: String,
        /// -1, or -2 where its partitions are kept for it.
        member_epoch: i32,
    },
}

/// The epochs with which a member leaves: for good, and for a while.
const LEAVES: i32 = -1;
const LEAVES_FOR_A_WHILE: i32 = -2;

impl Services {
    /// Hands a heartbeat to the group's coordinator.
    ///
    /// # Errors
    /// There is no coordinator now, or it refuses.
    ///
    /// # Cancel safety
    /// When it is dropped the heartbeat may or may not have been taken.
    pub async fn heartbeat(
        &self,
        _context: &RequestContext,
        beat: Beat,
    ) -> Result<HeartbeatAnswer, ServiceError> {
        let coordinator = self.coordinator(&beat.group_id).await?;
        let member_id = beat.member_id.clone();
        let replying = match beat.member_epoch {
            LEAVES | LEAVES_FOR_A_WHILE => {
                let leave = Leave {
                    keeps_partitions: beat.member_epoch == LEAVES_FOR_A_WHILE,
                    member: MemberRef {
                        group_id: Arc::from(beat.group_id),
                        member_id: Arc::from(beat.member_id),
                    },
                    instance_id: beat.instance_id,
                };
                coordinator.ask(|ticket| Event::Leave(ticket, leave))
            }
            _ => {
                let heartbeat = beat.into_heartbeat();
                let checked = coordinator.check_regex(heartbeat.subscription.as_ref());
                checked.and_then(|()| {
                    coordinator.ask(|ticket| Event::Heartbeat(ticket, Box::new(heartbeat)))
                })
            }
        };
        match replied(replying).await? {
            Reply::Alive(alive) => Ok(HeartbeatAnswer::Alive(*alive)),
            Reply::Left { member_epoch } => Ok(HeartbeatAnswer::Left {
                member_id,
                member_epoch,
            }),
            _ => Err(ServiceError::panicked()),
        }
    }

    /// A way to tell a member things, and its other end.
    #[must_use]
    pub fn member_answers(&self) -> (Outbox, MemberAnswers) {
        let (outbox, messages) = member_channel(self.config.groups.member_answers_max);
        let quorum = Arc::clone(&self.quorum);
        (outbox, MemberAnswers { messages, quorum })
    }

    /// Opens a member's stream. The answers go to `outbox`, whether it is taken in or not.
    ///
    /// # Errors
    /// There is no coordinator now, or the subscription is no regular expression.
    ///
    /// # Cancel safety
    /// When it is dropped nobody has joined.
    pub async fn join_group(
        &self,
        _context: &RequestContext,
        joining: Joining,
        outbox: Outbox,
    ) -> Result<Member, ServiceError> {
        let coordinator = Arc::clone(self.coordinator(&joining.group_id).await?);
        let heartbeat = heartbeat(joining);
        let member = heartbeat.member.clone();
        let instance_id = heartbeat.instance_id.clone();
        let stream = coordinator.open_stream(heartbeat, &outbox);
        Ok(Member {
            stream: stream.map_err(|error| ServiceError::coordinator(&error))?,
            coordinator,
            member,
            instance_id,
            outbox,
        })
    }
}

impl Beat {
    fn into_heartbeat(self) -> Heartbeat {
        let Subscribing {
            topics,
            topic_regex,
        } = self.subscribing;
        let subscription = (topics.is_some() || topic_regex.is_some()).then(|| Subscription {
            topics: topics.unwrap_or_default(),
            topic_regex,
        });
        let is_new = self.member_epoch == 0;
        let owned = self.owned.filter(|owned| !is_new || !owned.is_empty());
        Heartbeat {
            member: MemberRef {
                group_id: Arc::from(self.group_id),
                member_id: Arc::from(given_or_new(self.member_id)),
            },
            member_epoch: self.member_epoch,
            stream: None,
            instance_id: self.instance_id,
            rack_id: self.rack_id,
            client_id: self.client_id,
            client_host: self.client_host,
            session_timeout_ms: None,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            subscription,
            assignor: self.assignor,
            owned: owned.map(|partitions| Owned {
                partitions,
                sequence: None,
            }),
        }
    }
}

/// The id of a member, or a new one where it has none, as Kafka prints a UUID.
fn given_or_new(member_id: String) -> String {
    if member_id.is_empty() {
        TopicId::from_bytes(uuid::random()).to_string()
    } else {
        member_id
    }
}

fn heartbeat(joining: Joining) -> Heartbeat {
    let is_new = joining.member_epoch == 0;
    let owned = Owned {
        partitions: joining.owned,
        sequence: None,
    };
    Heartbeat {
        member: MemberRef {
            group_id: Arc::from(joining.group_id),
            member_id: Arc::from(given_or_new(joining.member_id)),
        },
        member_epoch: joining.member_epoch,
        stream: None,
        instance_id: joining.instance_id,
        rack_id: joining.rack_id,
        client_id: joining.client_id,
        client_host: joining.client_host,
        session_timeout_ms: Some(joining.session_timeout_ms),
        rebalance_timeout_ms: Some(joining.rebalance_timeout_ms),
        subscription: Some(joining.subscription),
        assignor: Some(joining.assignor),
        owned: (!is_new || !owned.partitions.is_empty()).then_some(owned),
    }
}

impl Member {
    /// The member is alive, and may say more.
    ///
    /// # Errors
    /// The subscription is no regular expression. What else is wrong is answered on the stream.
    pub fn report(
        &self,
        subscription: Option<Subscription>,
        owned: Option<(Assignment, u64)>,
    ) -> Result<(), ServiceError> {
        let checked = self.coordinator.check_regex(subscription.as_ref());
        checked.map_err(|error| ServiceError::coordinator(&error))?;
        let report = StreamReport {
            member: self.member.clone(),
            stream: self.stream,
            subscription,
            owned: owned.map(|(partitions, sequence)| Owned {
                partitions,
                sequence: Some(sequence),
            }),
        };
        self.ask(|ticket| Event::StreamReport(ticket, Box::new(report)))
    }

    /// The member goes. A static one may keep its partitions.
    ///
    /// # Errors
    /// There is no coordinator now.
    pub fn leave(&self, keeps_partitions: bool) -> Result<(), ServiceError> {
        let leave = Leave {
            member: self.member.clone(),
            instance_id: self.instance_id.clone(),
            keeps_partitions,
        };
        self.ask(|ticket| Event::Leave(ticket, leave))
    }

    fn ask(&self, event: impl FnOnce(Ticket) -> Event) -> Result<(), ServiceError> {
        let asked = self.coordinator.ask_on_stream(&self.outbox, event);
        asked.map_err(|error| ServiceError::coordinator(&error))
    }

    /// Returns when nobody reads the answers any more.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn is_unheard(&self) {
        self.outbox.closed().await;
    }

    /// The stream is over. A member that did not leave may come back for a while.
    pub fn end_stream(self) {
        self.coordinator.end_stream(self.member, self.stream);
    }
}

impl MemberAnswers {
    /// The next answer; `None` once nothing more will come.
    ///
    /// # Cancel safety
    /// Safe: an answer is handed out or stays.
    pub async fn next(&mut self) -> Option<MemberAnswer> {
        loop {
            let message = self.messages.recv().await?;
            if let Some(answer) = self.answer(message) {
                return Some(answer);
            }
        }
    }

    fn answer(&self, message: MemberMessage) -> Option<MemberAnswer> {
        Some(match message {
            MemberMessage::Reply(Reply::Alive(alive)) => MemberAnswer::Alive(*alive),
            MemberMessage::Reply(Reply::Left { .. }) => MemberAnswer::Left,
            MemberMessage::Reply(Reply::Refused(refusal)) | MemberMessage::Closed(refusal) => {
                MemberAnswer::Ended(ServiceError::group(&refusal))
            }
            MemberMessage::Assigned(push) => MemberAnswer::Assigned(self.assigned(push)),
            MemberMessage::Lost(error) => MemberAnswer::Ended(ServiceError::coordinator(&error)),
            MemberMessage::Overflow => MemberAnswer::Ended(overflow()),
            // A member asks for nothing else on its stream.
            MemberMessage::Reply(
                Reply::Committed(_)
                | Reply::OffsetsDeleted(_)
                | Reply::GroupDeleted
                | Reply::Joined(_)
                | Reply::MemberIdRequired { .. }
                | Reply::Synced(_)
                | Reply::Heard { .. }
                | Reply::MembersLeft(_),
            ) => return None,
        })
    }

    fn assigned(&self, push: Push) -> Assigned {
        let image = self.quorum.image();
        let name = |id| image.topic_by_id(id).map(|topic| topic.name.to_string());
        Assigned {
            member_epoch: push.member_epoch,
            partitions: by_topic(&push.assignment, name),
            reason: push.reason,
            sequence: push.sequence,
        }
    }
}

/// The partitions by topic. Topics without a name are gone, and their partitions are left out.
pub(super) fn by_topic<'a>(
    partitions: impl IntoIterator<Item = &'a PartitionId>,
    name: impl Fn(TopicId) -> Option<String>,
) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let of_topic = topics.entry(partition.topic_id).or_default();
        of_topic.push(partition.partition);
    }
    let named = |(topic_id, partitions)| {
        Some(TopicPartitions {
            topic_id,
            topic: name(topic_id)?,
            partitions,
        })
    };
    topics.into_iter().filter_map(named).collect()
}

pub(super) fn overflow() -> ServiceError {
    ServiceError::new(
        ErrorCode::NetworkException,
        "member does not read its stream: more than groups.member_answers_max answers wait",
        "open the stream again with the member's id and epoch, and read it while it is open",
    )
}
