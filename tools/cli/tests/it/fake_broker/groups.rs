//! Groups: a member gets what `target` says, told again whenever that changes; commits are taken from
//! members, or from anybody where there are none.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _};
use millstream_proto::{
    ErrorCode,
    grpc::v1::{
        self,
        group_service_server::{GroupService, GroupServiceServer},
        member_request::Request as Said,
        member_response::Response as Told,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use super::{Answer, Group, Place, Shared, State, answer, error};

pub(super) fn service(shared: Arc<Shared>) -> GroupServiceServer<Groups> {
    GroupServiceServer::new(Groups(shared))
}

pub(super) struct Groups(Arc<Shared>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl GroupService for Groups {
    type MemberStream = Answers<v1::MemberResponse>;
    type CommitOffsetsStream = Answers<v1::CommitOffsetsResponse>;

    async fn member(
        &self,
        request: Request<Streaming<v1::MemberRequest>>,
    ) -> Answer<Self::MemberStream> {
        let (answers, receiver) = mpsc::channel(4);
        tokio::spawn(member(Arc::clone(&self.0), request.into_inner(), answers));
        answer(Box::pin(ReceiverStream::new(receiver)))
    }

    async fn commit_offsets(
        &self,
        request: Request<Streaming<v1::CommitOffsetsRequest>>,
    ) -> Answer<Self::CommitOffsetsStream> {
        let shared = Arc::clone(&self.0);
        let answers = request
            .into_inner()
            .map(move |commit| commit.map(|commit| shared.change(|state| state.commit(commit))));
        answer(Box::pin(answers))
    }

    async fn fetch_offsets(
        &self,
        request: Request<v1::FetchOffsetsRequest>,
    ) -> Answer<v1::FetchOffsetsResponse> {
        let request = request.into_inner();
        let state = self.0.state();
        let committed = state.groups.get(&request.group_id).map(|it| &it.committed);
        let is_asked = |place: &Place| {
            let mut asked = request.partitions.iter();
            request.partitions.is_empty()
                || asked.any(|it| it.topic == place.0 && it.partitions.contains(&place.1))
        };
        let offsets = committed.into_iter().flatten();
        let offsets = offsets.filter(|(place, _)| is_asked(place));
        let offsets = offsets.map(|(place, (offset, metadata))| v1::CommittedOffset {
            topic: place.0.clone(),
            partition: place.1,
            offset: *offset,
            leader_epoch: -1,
            metadata: metadata.clone(),
            commit_timestamp_ms: 1_357_034_400_000,
            ..Default::default()
        });
        answer(v1::FetchOffsetsResponse {
            error: None,
            offsets: offsets.collect(),
        })
    }

    async fn list_groups(
        &self,
        _: Request<v1::ListGroupsRequest>,
    ) -> Answer<v1::ListGroupsResponse> {
        let state = self.0.state();
        let groups = state.groups.iter().map(|(name, group)| {
            let described = describe(&state, name, group);
            v1::GroupListing {
                group_id: name.clone(),
                r#type: described.r#type,
                state: described.state,
                members: u32::try_from(group.members.len()).unwrap(),
            }
        });
        answer(v1::ListGroupsResponse {
            groups: groups.collect(),
            error: None,
        })
    }

    async fn describe_groups(
        &self,
        request: Request<v1::DescribeGroupsRequest>,
    ) -> Answer<v1::DescribeGroupsResponse> {
        let state = self.0.state();
        let names = request.into_inner().group_ids.into_iter();
        let groups = names.map(|name| match state.groups.get(&name) {
            Some(group) => describe(&state, &name, group),
            None => v1::GroupDescription {
                error: error(ErrorCode::GroupIdNotFound, "unknown group"),
                ..Default::default()
            },
        });
        answer(v1::DescribeGroupsResponse {
            groups: groups.collect(),
        })
    }

    async fn delete_groups(
        &self,
        request: Request<v1::DeleteGroupsRequest>,
    ) -> Answer<v1::DeleteGroupsResponse> {
        let names = request.into_inner().group_ids;
        let results = self.0.change(|state| {
            let results = names.into_iter().map(|group_id| {
                assert!(state.groups.remove(&group_id).is_some(), "it was described");
                v1::DeleteGroupResult {
                    group_id,
                    error: None,
                }
            });
            results.collect()
        });
        answer(v1::DeleteGroupsResponse { results })
    }

    async fn delete_offsets(
        &self,
        request: Request<v1::DeleteOffsetsRequest>,
    ) -> Answer<v1::DeleteOffsetsResponse> {
        let request = request.into_inner();
        let results = self.0.change(|state| {
            let group = state.group(&request.group_id);
            let results = request.offsets.into_iter().map(|offset| {
                let is_subscribed = !group.members.is_empty();
                if !is_subscribed {
                    let place = (offset.topic.clone(), offset.partition);
                    group.committed.remove(&place).unwrap();
                }
                let refusal = || error(ErrorCode::GroupSubscribedToTopic, "a member subscribes");
                v1::OffsetDeleteResult {
                    topic: offset.topic,
                    partition: offset.partition,
                    error: is_subscribed.then(refusal).flatten(),
                }
            });
            results.collect()
        });
        answer(v1::DeleteOffsetsResponse {
            error: None,
            results,
        })
    }
}

impl State {
    fn commit(&mut self, request: v1::CommitOffsetsRequest) -> v1::CommitOffsetsResponse {
        let request_id = request.request_id;
        let topics = &self.topics;
        let group = self.groups.entry(request.group_id).or_default();
        let mut ids = group.members.iter().map(|member| &member.member_id);
        if !group.members.is_empty() && !ids.any(|id| *id == request.member_id) {
            return v1::CommitOffsetsResponse {
                request_id,
                error: error(ErrorCode::UnknownMemberId, "only members may commit"),
                results: Vec::new(),
            };
        }
        let results = request.offsets.into_iter().map(|commit| {
            let mut names = topics.iter();
            let (name, _) = names
                .find(|(_, topic)| topic.id == commit.topic_id)
                .unwrap();
            let place = (name.clone(), commit.partition);
            group
                .committed
                .insert(place, (commit.offset, commit.metadata));
            v1::OffsetCommitResult::default()
        });
        v1::CommitOffsetsResponse {
            request_id,
            error: None,
            results: results.collect(),
        }
    }

    /// What a member is to hold, once it has joined.
    fn target(&self, group: &str, member_id: &str) -> Option<Vec<v1::TopicPartitions>> {
        let mut members = self.groups.get(group)?.members.iter();
        let member = members.find(|member| member.member_id == member_id)?;
        Some(member.target.clone())
    }

    fn join(&mut self, join: &v1::MemberJoin) {
        let subscribed = join.subscription.as_ref().unwrap().topics.iter();
        let all = subscribed.map(|name| v1::TopicPartitions {
            topic_id: self.topics[name].id.clone(),
            topic: name.clone(),
            partitions: (0..).take(self.topics[name].partitions.len()).collect(),
        });
        let all = all.collect();
        let group = self.groups.entry(join.group_id.clone()).or_default();
        let target = if group.members.is_empty() {
            all
        } else {
            Vec::new()
        };
        group.members.push(v1::GroupMember {
            member_id: join.member_id.clone(),
            client_id: join.client_id.clone(),
            client_host: "127.0.0.1".to_owned(),
            member_epoch: 1,
            subscription: join.subscription.clone(),
            target,
            state: "Stable".to_owned(),
            ..Default::default()
        });
    }
}

/// One member from its join until its stream ends.
async fn member(
    shared: Arc<Shared>,
    mut said: Streaming<v1::MemberRequest>,
    answers: mpsc::Sender<Result<v1::MemberResponse, Status>>,
) {
    let tell = async |told: Told| {
        let response = v1::MemberResponse {
            response: Some(told),
        };
        let _ = answers.send(Ok(response)).await;
    };
    let Ok(Some(v1::MemberRequest {
        request: Some(Said::Join(join)),
    })) = said.message().await
    else {
        return;
    };
    let (group, member_id) = (join.group_id.clone(), join.member_id.clone());
    shared.change(|state| state.join(&join));
    tell(Told::Joined(v1::MemberJoined {
        member_id: member_id.clone(),
        member_epoch: 1,
        heartbeat_interval_ms: 1_000,
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
    }))
    .await;
    let mut changed = shared.changed.subscribe();
    let mut told = None;
    let mut sequence = 0;
    loop {
        changed.borrow_and_update();
        let target = shared.state().target(&group, &member_id);
        if let Some(partitions) = target.filter(|target| told.as_ref() != Some(target)) {
            told = Some(partitions.clone());
            sequence += 1;
            tell(Told::Assignment(v1::MemberAssignment {
                member_epoch: 1,
                partitions,
                reason: String::new(),
                sequence,
            }))
            .await;
        }
        let message = tokio::select! {
            message = said.message() => message,
            _ = changed.changed() => continue,
        };
        let leaves = match message {
            Ok(Some(v1::MemberRequest {
                request: Some(Said::Owned(owned)),
            })) => {
                shared.change(|state| {
                    let mut members = state.group(&group).members.iter_mut();
                    let member = members
                        .find(|member| member.member_id == member_id)
                        .unwrap();
                    member.assigned = owned.partitions;
                });
                false
            }
            Ok(Some(v1::MemberRequest {
                request: Some(Said::Leave(_)),
            })) => true,
            Ok(Some(_)) => false,
            Ok(None) | Err(_) => true,
        };
        if leaves {
            tell(Told::Left(v1::MemberLeft {})).await;
            let is_other = |member: &v1::GroupMember| member.member_id != member_id;
            shared.change(|state| state.group(&group).members.retain(is_other));
            return;
        }
    }
}

fn describe(state: &State, name: &str, group: &Group) -> v1::GroupDescription {
    let held = group.members.iter().flat_map(|member| {
        let topics = member.assigned.iter();
        let places = topics.flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|partition| (topic.topic.clone(), *partition))
        });
        places.map(|place| (place, member.member_id.clone()))
    });
    let holders: BTreeMap<Place, String> = held.collect();
    let mut places: Vec<_> = group.committed.keys().chain(holders.keys()).collect();
    places.sort();
    places.dedup();
    let partitions = places.into_iter().map(|place| {
        let topic = &state.topics[&place.0];
        let log = &topic.partitions[usize::try_from(place.1).unwrap()];
        let committed = group.committed.get(place).cloned();
        let (committed_offset, metadata) = committed.unwrap_or((-1, String::new()));
        let is_committed = committed_offset >= 0;
        v1::GroupPartition {
            topic_id: topic.id.clone(),
            topic: place.0.clone(),
            partition: place.1,
            committed_offset,
            log_start_offset: log.log_start_offset,
            log_end_offset: log.log_end_offset,
            lag: if is_committed {
                log.log_end_offset - committed_offset
            } else {
                -1
            },
            lag_ms: group.lag_ms.get(place).copied().unwrap_or(-1),
            lag_ms_is_minimum: group.lag_ms_minima.contains(place),
            metadata,
            commit_timestamp_ms: if is_committed { 1_357_034_400_000 } else { 0 },
            member_id: holders.get(place).cloned().unwrap_or_default(),
        }
    });
    let is_simple = group.members.is_empty() && group.rebalances.is_empty();
    v1::GroupDescription {
        group_id: name.to_owned(),
        error: None,
        r#type: if is_simple {
            v1::GroupType::Simple.into()
        } else {
            v1::GroupType::Consumer.into()
        },
        state: if group.members.is_empty() {
            "Empty"
        } else {
            "Stable"
        }
        .to_owned(),
        group_epoch: 7,
        assignment_epoch: 7,
        assignor: if is_simple { "" } else { "uniform" }.to_owned(),
        coordinator_broker_id: 1,
        members: group.members.clone(),
        partitions: partitions.collect(),
        rebalances: group.rebalances.clone(),
    }
}
