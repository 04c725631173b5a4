//! A group member and its commits as they are on the wire, for tests.

use std::collections::BTreeSet;

use bytes::Bytes;
use millstream_proto::grpc::v1::{
    self, group_service_client::GroupServiceClient, member_request::Request as Said,
    member_response::Response as Answer,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::client::within;

/// Who is no member.
pub(crate) const NOBODY: (&str, i32) = ("", -1);

pub(crate) fn groups(channel: &Channel) -> GroupServiceClient<Channel> {
    GroupServiceClient::new(channel.clone())
}

/// A request to join anew.
pub(crate) fn join(group_id: &str, member_id: &str, topics: &[&str]) -> v1::MemberJoin {
    v1::MemberJoin {
        group_id: group_id.into(),
        member_id: member_id.into(),
        client_id: "test".into(),
        subscription: Some(subscription(topics, "")),
        ..v1::MemberJoin::default()
    }
}

pub(crate) fn subscription(topics: &[&str], topic_regex: &str) -> v1::MemberSubscription {
    v1::MemberSubscription {
        topics: topics.iter().map(ToString::to_string).collect(),
        topic_regex: topic_regex.into(),
    }
}

/// A member's stream.
pub(crate) struct Member {
    requests: mpsc::Sender<v1::MemberRequest>,
    answers: Streaming<v1::MemberResponse>,
    pub(crate) joined: v1::MemberJoined,
    /// The newest assignment.
    pub(crate) epoch: i32,
    pub(crate) topics: Vec<v1::TopicPartitions>,
    pub(crate) reason: String,
    sequence: u64,
}

impl Member {
    /// Joins and waits for the first assignment.
    pub(crate) async fn join(channel: &Channel, join: v1::MemberJoin) -> Self {
        let mut member = Self::joined(channel, join).await;
        member.assigned().await;
        member
    }

    /// Joins, trying again while the coordinator loads.
    pub(crate) async fn join_once_loaded(channel: &Channel, join: v1::MemberJoin) -> Self {
        loop {
            let (requests, mut answers) = Self::open(channel, Said::Join(join.clone())).await;
            match next(&mut answers).await.expect("stream goes on") {
                Some(Answer::Failed(error)) if error.name == "COORDINATOR_LOAD_IN_PROGRESS" => {}
                Some(Answer::Joined(joined)) => {
                    let mut member = Self::begin(requests, answers, joined);
                    member.assigned().await;
                    return member;
                }
                other => panic!("expected MemberJoined, got {other:?}"),
            }
        }
    }

    async fn joined(channel: &Channel, join: v1::MemberJoin) -> Self {
        let (requests, mut answers) = Self::open(channel, Said::Join(join)).await;
        match next(&mut answers).await.expect("stream goes on") {
            Some(Answer::Joined(joined)) => Self::begin(requests, answers, joined),
            other => panic!("expected MemberJoined, got {other:?}"),
        }
    }

    fn begin(
        requests: mpsc::Sender<v1::MemberRequest>,
        answers: Streaming<v1::MemberResponse>,
        joined: v1::MemberJoined,
    ) -> Self {
        Self {
            requests,
            answers,
            epoch: joined.member_epoch,
            joined,
            topics: Vec::new(),
            reason: String::new(),
            sequence: 0,
        }
    }

    /// Why a join is refused.
    pub(crate) async fn refused(channel: &Channel, join: v1::MemberJoin) -> Option<v1::Error> {
        let (_requests, mut answers) = Self::open(channel, Said::Join(join)).await;
        match next(&mut answers).await.expect("stream goes on") {
            Some(Answer::Failed(error)) => Some(error),
            _ => None,
        }
    }

    /// A stream that begins with this.
    pub(crate) async fn open(
        channel: &Channel,
        first: Said,
    ) -> (
        mpsc::Sender<v1::MemberRequest>,
        Streaming<v1::MemberResponse>,
    ) {
        let (requests, outbound) = mpsc::channel(64);
        say(&requests, first).await;
        let mut client = groups(channel);
        let answers = within("member", client.member(ReceiverStream::new(outbound))).await;
        (requests, answers.expect("opened").into_inner())
    }

    pub(crate) async fn say(&self, said: Said) {
        say(&self.requests, said).await;
    }

    /// Everything that it is to hold.
    pub(crate) fn partitions(&self) -> BTreeSet<(String, i32)> {
        let places = |topic: &v1::TopicPartitions| {
            let name = topic.topic.clone();
            let partitions = topic.partitions.clone().into_iter();
            partitions.map(move |partition| (name.clone(), partition))
        };
        self.topics.iter().flat_map(places).collect()
    }

    /// Waits for the next assignment, and takes it.
    pub(crate) async fn assigned(&mut self) {
        loop {
            match self.answer().await.expect("stream goes on") {
                Some(Answer::Assignment(assignment)) => return self.take(assignment),
                Some(Answer::HeartbeatAck(_)) => {}
                other => panic!("expected an assignment, got {other:?}"),
            }
        }
    }

    fn take(&mut self, assignment: v1::MemberAssignment) {
        assert_eq!(assignment.sequence, self.sequence + 1, "one by one");
        self.sequence = assignment.sequence;
        self.epoch = assignment.member_epoch;
        self.topics = assignment.partitions;
        self.reason = assignment.reason;
    }

    /// Says that it holds what it was assigned last, and nothing else.
    pub(crate) async fn acknowledge(&self) {
        self.say(Said::Owned(v1::MemberOwned {
            partitions: self.topics.clone(),
            sequence: self.sequence,
        }))
        .await;
    }

    /// Takes and acknowledges assignments until it holds `count` partitions.
    pub(crate) async fn settle(&mut self, count: usize) {
        self.acknowledge().await;
        while self.partitions().len() != count {
            self.assigned().await;
            self.acknowledge().await;
        }
    }

    pub(crate) async fn answer(&mut self) -> Result<Option<Answer>, Status> {
        next(&mut self.answers).await
    }

    /// A join that takes this membership up again.
    pub(crate) fn resuming(&self, mut join: v1::MemberJoin) -> v1::MemberJoin {
        join.member_id = self.joined.member_id.clone();
        join.member_epoch = self.epoch;
        join.owned = self.topics.clone();
        join
    }
}

async fn next(answers: &mut Streaming<v1::MemberResponse>) -> Result<Option<Answer>, Status> {
    let answer = within("an answer", answers.message()).await?;
    Ok(answer.map(|answer| answer.response.expect("not empty")))
}

async fn say(requests: &mpsc::Sender<v1::MemberRequest>, said: Said) {
    let request = v1::MemberRequest {
        request: Some(said),
    };
    within("room on the stream", requests.send(request))
        .await
        .expect("stream is open");
}

/// A stream of commits.
pub(crate) struct Commits {
    pub(crate) requests: mpsc::Sender<v1::CommitOffsetsRequest>,
    answers: Streaming<v1::CommitOffsetsResponse>,
}

impl Commits {
    pub(crate) async fn open(channel: &Channel) -> Self {
        let (requests, outbound) = mpsc::channel(1024);
        let mut client = groups(channel);
        let answers = within(
            "commits",
            client.commit_offsets(ReceiverStream::new(outbound)),
        )
        .await;
        Self {
            requests,
            answers: answers.expect("opened").into_inner(),
        }
    }

    pub(crate) async fn send(&self, request: v1::CommitOffsetsRequest) {
        within("room on the stream", self.requests.send(request))
            .await
            .expect("stream is open");
    }

    pub(crate) async fn answer(&mut self) -> v1::CommitOffsetsResponse {
        let answer = within("an answer", self.answers.message()).await;
        answer.expect("stream goes on").expect("answer")
    }

    pub(crate) async fn commit(
        &mut self,
        request: v1::CommitOffsetsRequest,
    ) -> v1::CommitOffsetsResponse {
        let request_id = request.request_id;
        self.send(request).await;
        let answer = self.answer().await;
        assert_eq!(answer.request_id, request_id);
        answer
    }

    /// Ends the sending side, and returns how the stream ends.
    pub(crate) async fn end(mut self) -> Result<Option<v1::CommitOffsetsResponse>, Status> {
        drop(self.requests);
        within("the end", self.answers.message()).await
    }
}

/// A commit of one partition of a topic.
pub(crate) fn commit(
    group_id: &str,
    (member_id, member_epoch): (&str, i32),
    topic_id: &Bytes,
    (partition, offset): (i32, i64),
) -> v1::CommitOffsetsRequest {
    v1::CommitOffsetsRequest {
        request_id: u64::try_from(offset).unwrap_or(0),
        group_id: group_id.into(),
        member_id: member_id.into(),
        member_epoch,
        offsets: vec![v1::OffsetCommit {
            topic_id: topic_id.clone(),
            partition,
            offset,
            leader_epoch: 0,
            metadata: format!("up to {offset}"),
        }],
    }
}

/// Why a commit was refused, as a whole or in its only offset.
pub(crate) fn refusal(answer: v1::CommitOffsetsResponse) -> Option<v1::Error> {
    let of_result = answer.results.into_iter().next();
    answer
        .error
        .or_else(|| of_result.and_then(|result| result.error))
}

/// What a group has committed, as (topic, partition, offset), tried again while it loads.
pub(crate) async fn committed(channel: &Channel, group_id: &str) -> Vec<(String, i32, i64)> {
    let answer = fetch(channel, group_id, NOBODY, Vec::new()).await;
    assert_eq!(answer.error, None);
    let place = |offset: v1::CommittedOffset| (offset.topic, offset.partition, offset.offset);
    answer.offsets.into_iter().map(place).collect()
}

pub(crate) async fn fetch(
    channel: &Channel,
    group_id: &str,
    (member_id, member_epoch): (&str, i32),
    partitions: Vec<v1::TopicPartitions>,
) -> v1::FetchOffsetsResponse {
    let request = v1::FetchOffsetsRequest {
        group_id: group_id.into(),
        member_id: member_id.into(),
        member_epoch,
        partitions,
    };
    loop {
        let mut client = groups(channel);
        let answer = within("fetch_offsets", client.fetch_offsets(request.clone())).await;
        let answer = answer.expect("answered").into_inner();
        let error = answer.error.as_ref();
        if error.is_none_or(|error| error.name != "COORDINATOR_LOAD_IN_PROGRESS") {
            return answer;
        }
    }
}

pub(crate) async fn describe(channel: &Channel, group_id: &str) -> v1::GroupDescription {
    let request = v1::DescribeGroupsRequest {
        group_ids: vec![group_id.into()],
    };
    let answer = within("describe_groups", groups(channel).describe_groups(request)).await;
    let mut found = answer.expect("answered").into_inner().groups;
    assert_eq!(found.len(), 1);
    found.remove(0)
}
