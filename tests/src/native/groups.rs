//! [`MemberStream`] and [`CommitStream`]: a group member and its commits as they are on the wire.

use anyhow::{Context as _, Result, bail};
use millstream_proto::grpc::v1::{
    self, group_service_client::GroupServiceClient, member_request::Request,
    member_response::Response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

/// Requests that wait for the connection.
const OUTBOX_MAX: usize = 64;

/// What a request to join leads to.
#[derive(Debug)]
pub enum Joining {
    /// A membership.
    Joined(MemberStream),
    /// A refusal as it stands.
    Refused(v1::Error),
}

/// An open membership. Nothing is sent, not even a heartbeat, until it is asked for.
#[derive(Debug)]
pub struct MemberStream {
    outbox: mpsc::Sender<v1::MemberRequest>,
    inbox: Streaming<v1::MemberResponse>,
    /// What the broker granted.
    pub joined: v1::MemberJoined,
}

impl MemberStream {
    pub(super) async fn open(channel: Channel, join: v1::MemberJoin) -> Result<Joining> {
        let (outbox, requests) = mpsc::channel(OUTBOX_MAX);
        let join = v1::MemberRequest {
            request: Some(Request::Join(join)),
        };
        outbox.send(join).await?;
        let mut client = GroupServiceClient::new(channel);
        let mut inbox = client
            .member(ReceiverStream::new(requests))
            .await?
            .into_inner();
        match inbox.message().await?.and_then(|message| message.response) {
            Some(Response::Joined(joined)) => Ok(Joining::Joined(Self {
                outbox,
                inbox,
                joined,
            })),
            Some(Response::Failed(error)) => Ok(Joining::Refused(error)),
            other => bail!("a membership opens with MemberJoined, found {other:?}"),
        }
    }

    /// Sends any request.
    ///
    /// # Errors
    /// When the stream is broken.
    pub async fn send(&self, request: Request) -> Result<()> {
        let request = v1::MemberRequest {
            request: Some(request),
        };
        self.outbox
            .send(request)
            .await
            .context("the membership's stream is broken")
    }

    /// The next answer or push.
    ///
    /// # Errors
    /// When the stream ends.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Result<Response> {
        let message = self
            .inbox
            .message()
            .await?
            .context("the membership's stream ended")?;
        message
            .response
            .context("a member response says what it is")
    }
}

/// An open stream of commits.
#[derive(Debug)]
pub struct CommitStream {
    outbox: mpsc::Sender<v1::CommitOffsetsRequest>,
    inbox: Streaming<v1::CommitOffsetsResponse>,
    next_request_id: u64,
}

impl CommitStream {
    pub(super) async fn open(channel: Channel) -> Result<Self> {
        let (outbox, requests) = mpsc::channel(OUTBOX_MAX);
        let mut client = GroupServiceClient::new(channel);
        let inbox = client
            .commit_offsets(ReceiverStream::new(requests))
            .await?
            .into_inner();
        Ok(Self {
            outbox,
            inbox,
            next_request_id: 0,
        })
    }

    /// Commits and waits for the answer, refusals included. The request id is filled in.
    ///
    /// # Errors
    /// When the stream is broken.
    pub async fn commit(
        &mut self,
        mut request: v1::CommitOffsetsRequest,
    ) -> Result<v1::CommitOffsetsResponse> {
        request.request_id = self.next_request_id;
        self.next_request_id += 1;
        let request_id = request.request_id;
        self.outbox
            .send(request)
            .await
            .context("the stream of commits is broken")?;
        let answer = self
            .inbox
            .message()
            .await?
            .context("the stream of commits ended")?;
        if answer.request_id != request_id {
            bail!("commit {request_id} was answered as {}", answer.request_id);
        }
        Ok(answer)
    }
}
