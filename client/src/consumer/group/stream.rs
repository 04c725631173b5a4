//! [`MemberStream`]: the stream of one membership, on the broker's control channel.

use std::sync::Arc;

use millstream_proto::grpc::v1::{
    self, group_service_client::GroupServiceClient, member_request::Request,
    member_response::Response,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;

use crate::{connection::Broker, error::Error};

/// Requests that may wait to be sent.
const REQUESTS_MAX: usize = 64;
/// Answers that may wait to be looked at.
const EVENTS_MAX: usize = 64;

/// What comes from the broker.
#[derive(Debug)]
pub(super) enum StreamEvent {
    Answer(Response),
    /// Nothing more comes.
    Broke(Error),
}

/// Where streams put what comes, with their number.
pub(super) type Inbox = mpsc::Sender<(u64, StreamEvent)>;

/// An inbox and its other end.
pub(super) fn inbox() -> (Inbox, mpsc::Receiver<(u64, StreamEvent)>) {
    mpsc::channel(EVENTS_MAX)
}

/// The stream of one membership. It ends with the value.
#[derive(Debug)]
pub(super) struct MemberStream {
    pub(super) number: u64,
    requests: mpsc::Sender<v1::MemberRequest>,
    reader: JoinHandle<()>,
}

impl MemberStream {
    /// Opens a stream that begins with `join`.
    pub(super) fn open(
        number: u64,
        broker: Arc<Broker>,
        join: v1::MemberJoin,
        inbox: Inbox,
    ) -> Self {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let reader = tokio::spawn(async move {
            let error = read(number, &broker, receiver, &inbox).await;
            let _ = inbox.send((number, StreamEvent::Broke(error))).await;
        });
        let stream = Self {
            number,
            requests,
            reader,
        };
        stream.send(Request::Join(join));
        stream
    }

    /// Sends a request; `false` where the stream takes nothing, which is no better than broken.
    pub(super) fn send(&self, request: Request) -> bool {
        let request = v1::MemberRequest {
            request: Some(request),
        };
        self.requests.try_send(request).is_ok()
    }
}

impl Drop for MemberStream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads answers until the stream ends, and says why it did.
async fn read(
    number: u64,
    broker: &Broker,
    requests: mpsc::Receiver<v1::MemberRequest>,
    inbox: &Inbox,
) -> Error {
    let mut client = GroupServiceClient::new(broker.admin.clone());
    let mut answers = match client.member(ReceiverStream::new(requests)).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return broker.failure(&status, false),
    };
    loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                // Without a response it is of a kind that a later broker may send.
                if let Some(response) = answer.response
                    && inbox
                        .send((number, StreamEvent::Answer(response)))
                        .await
                        .is_err()
                {
                    return ended(broker);
                }
            }
            Ok(None) => return ended(broker),
            Err(status) => return broker.failure(&status, false),
        }
    }
}

fn ended(broker: &Broker) -> Error {
    Error::Disconnected {
        broker: broker.address.to_string(),
        reason: "broker ended the stream".to_owned(),
        may_have_been_written: false,
    }
}
