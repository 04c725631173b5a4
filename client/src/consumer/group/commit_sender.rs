//! [`CommitSender`]: the task that sends what the [`Committer`] collects, one request at a time over
//! one stream, and again until the broker has it or refuses it for good.

use std::{collections::BTreeMap, sync::Arc};

use millstream_proto::{
    ErrorCode,
    grpc::v1::{self, group_service_client::GroupServiceClient},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    Group,
    committer::{Committer, Offsets},
};
use crate::{
    admin::is_fenced,
    connection::{Backoff, Broker},
    consumer::state::Shared,
    error::{Error, Result},
};

/// Sends commits.
pub(super) struct CommitSender {
    shared: Arc<Shared>,
    group: Arc<Group>,
    stream: Option<CommitStream>,
    last_request_id: u64,
    /// Counts failures, to try another address after each.
    attempt: usize,
}

struct CommitStream {
    broker: Arc<Broker>,
    requests: mpsc::Sender<v1::CommitOffsetsRequest>,
    answers: Streaming<v1::CommitOffsetsResponse>,
}

impl CommitSender {
    pub(super) const fn new(shared: Arc<Shared>, group: Arc<Group>) -> Self {
        Self {
            shared,
            group,
            stream: None,
            last_request_id: 0,
            attempt: 0,
        }
    }

    /// Works until the committer is closed and empty.
    pub(super) async fn run(mut self) {
        let committer: Committer = self.group.committer.clone();
        while let Some(batch) = committer.next().await {
            let outcome = self.commit(batch.offsets.clone()).await;
            batch.answer(outcome);
        }
    }

    /// Commits offsets; answers those that were refused.
    async fn commit(&mut self, mut open: Offsets) -> Result<BTreeMap<u64, Error>> {
        let timeout = self.shared.connection.config.request_timeout;
        let end = Instant::now() + timeout;
        let mut backoff = Backoff::new(self.shared.connection.config.reconnect_backoff);
        let mut refused = BTreeMap::new();
        loop {
            self.refuse_lost(&mut open, &mut refused);
            if open.is_empty() {
                return Ok(refused);
            }
            let cause = match self.attempt(&open, end).await {
                Ok(results) => self.sort_out(results, &mut open, &mut refused),
                Err(error) if self.is_passing(&error) => Some(error),
                Err(error) => return Err(error),
            };
            let Some(cause) = cause else {
                continue;
            };
            let pause_end = Instant::now() + backoff.pause(rand::random());
            if pause_end >= end {
                return Err(Error::TimedOut {
                    operation: "committing offsets",
                    after: timeout,
                    may_have_been_written: true,
                    cause: Some(Arc::new(cause)),
                });
            }
            sleep_until(pause_end).await;
        }
    }

    /// Refuses what the group took back: another member may have committed later offsets since.
    fn refuse_lost(&self, open: &mut Offsets, refused: &mut BTreeMap<u64, Error>) {
        let state = self.shared.state();
        if !state.is_subscribed {
            return;
        }
        open.retain(|slot, offset| {
            let is_here = state.partitions.contains_key(slot);
            if !is_here {
                let error = Error::NotAssigned {
                    topic: offset.topic.to_string(),
                    partition: offset.partition,
                };
                refused.insert(*slot, error);
            }
            is_here
        });
    }

    /// Removes from `open` what is done; answers an error that another attempt may not meet.
    fn sort_out(
        &self,
        results: Vec<Option<v1::Error>>,
        open: &mut Offsets,
        refused: &mut BTreeMap<u64, Error>,
    ) -> Option<Error> {
        let mut passing = None;
        let slots: Vec<_> = open.keys().copied().collect();
        for (slot, result) in slots.into_iter().zip(results) {
            match result.map(Error::from_wire) {
                None => {
                    if let Some(offset) = open.remove(&slot) {
                        self.shared.state().committed(slot, offset.offset);
                    }
                }
                Some(error) if self.is_passing(&error) => passing = Some(error),
                Some(error) => {
                    open.remove(&slot);
                    refused.insert(slot, error);
                }
            }
        }
        passing
    }

    /// Whether another attempt may succeed. A member that is behind, or about to learn that it is out,
    /// tries again with what it knows then.
    fn is_passing(&self, error: &Error) -> bool {
        error.is_retriable() || self.group.is_member() && is_fenced(error.code())
    }

    /// One request and its answer: a result for each offset, in their order.
    async fn attempt(&mut self, open: &Offsets, end: Instant) -> Result<Vec<Option<v1::Error>>> {
        self.last_request_id += 1;
        let (member_id, member_epoch) = self.group.commits_as();
        let request = v1::CommitOffsetsRequest {
            request_id: self.last_request_id,
            group_id: self.group.config.group_id.clone(),
            member_id,
            member_epoch,
            offsets: open
                .values()
                .map(|offset| v1::OffsetCommit {
                    topic_id: offset.topic_id.clone(),
                    partition: offset.partition,
                    offset: offset.offset,
                    leader_epoch: offset.leader_epoch,
                    metadata: offset.metadata.clone(),
                })
                .collect(),
        };
        let answer = match timeout_at(end, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::TimedOut {
                operation: "committing offsets",
                after: self.shared.connection.config.request_timeout,
                may_have_been_written: true,
                cause: None,
            }),
        };
        let answer = answer.inspect_err(|_| self.give_up_stream())?;
        if let Some(error) = answer.error {
            let error = Error::from_wire(error);
            if error.code() == Some(ErrorCode::NotCoordinator) {
                self.give_up_stream();
            }
            return Err(error);
        }
        if answer.results.len() != open.len() {
            return Err(Error::Protocol {
                broker: self.group.config.group_id.clone(),
                reason: format!(
                    "{} results for {} commits",
                    answer.results.len(),
                    open.len()
                ),
            });
        }
        Ok(answer
            .results
            .into_iter()
            .map(|result| result.error)
            .collect())
    }

    fn give_up_stream(&mut self) {
        self.stream = None;
        self.attempt = self.attempt.wrapping_add(1);
    }

    async fn exchange(
        &mut self,
        request: v1::CommitOffsetsRequest,
    ) -> Result<v1::CommitOffsetsResponse> {
        let request_id = request.request_id;
        let stream = match self.stream.take() {
            Some(stream) => {
                // A stream that takes nothing has ended, which its answers say.
                let _ = stream.requests.send(request).await;
                self.stream.insert(stream)
            }
            None => {
                let stream = self.open(request).await?;
                self.stream.insert(stream)
            }
        };
        loop {
            match stream.answers.message().await {
                // An earlier one is of a request that was given up.
                Ok(Some(answer)) if answer.request_id == request_id => return Ok(answer),
                Ok(Some(_)) => {}
                Ok(None) => {
                    return Err(Error::Disconnected {
                        broker: stream.broker.address.to_string(),
                        reason: "broker ended the stream".to_owned(),
                        may_have_been_written: true,
                    });
                }
                Err(status) => return Err(stream.broker.failure(&status, true)),
            }
        }
    }

    async fn open(&self, first: v1::CommitOffsetsRequest) -> Result<CommitStream> {
        let broker = self.group.broker(&self.shared.connection, self.attempt)?;
        let (requests, receiver) = mpsc::channel(1);
        requests.try_send(first).expect("a new channel has room");
        let mut client = GroupServiceClient::new(broker.admin.clone());
        match client.commit_offsets(ReceiverStream::new(receiver)).await {
            Ok(answers) => Ok(CommitStream {
                broker,
                requests,
                answers: answers.into_inner(),
            }),
            Err(status) => Err(broker.failure(&status, true)),
        }
    }
}
