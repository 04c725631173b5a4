//! [`ProduceStream`]: a produce stream as it is on the wire.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use millstream_proto::{
    grpc::v1::{self, produce_response::Response, produce_service_client::ProduceServiceClient},
    record::{BatchBuilder, BatchOptions},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

/// Requests that wait for the connection.
const OUTBOX_MAX: usize = 64;
/// Largest message read: above what any test lets the broker send.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// An open produce stream. Nothing is read until [`ProduceStream::ack`] is called.
#[derive(Debug)]
pub struct ProduceStream {
    outbox: mpsc::Sender<v1::ProduceRequest>,
    inbox: Streaming<v1::ProduceResponse>,
    /// The stream's limits.
    pub opened: v1::ProduceOpened,
    next_request_id: u64,
}

/// An uncompressed batch of these values without keys.
///
/// # Panics
/// Without values.
#[must_use]
pub fn batch<V: AsRef<[u8]>>(
    options: BatchOptions,
    timestamp_ms: i64,
    values: impl IntoIterator<Item = V>,
) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder
            .append(timestamp_ms, None, Some(value.as_ref()), &[])
            .expect("it fits");
    }
    builder.finish().expect("it has records")
}

impl ProduceStream {
    pub(super) async fn open(channel: Channel) -> Result<Self> {
        let (outbox, requests) = mpsc::channel(OUTBOX_MAX);
        let mut client =
            ProduceServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut inbox = client
            .produce(ReceiverStream::new(requests))
            .await?
            .into_inner();
        match inbox.message().await?.and_then(|message| message.response) {
            Some(Response::Opened(opened)) => Ok(Self {
                outbox,
                inbox,
                opened,
                next_request_id: 0,
            }),
            other => bail!("a produce stream opens with ProduceOpened, found {other:?}"),
        }
    }

    /// Sends a batch, acknowledged by all, and returns its request id.
    ///
    /// # Errors
    /// When the stream is broken.
    pub async fn send(&mut self, topic_id: &Bytes, partition: i32, batch: Bytes) -> Result<u64> {
        let request_id = self.next_request_id;
        self.next_request_id += 1;
        self.send_request(v1::ProduceRequest {
            request_id,
            topic_id: topic_id.clone(),
            partition,
            acks: v1::Acks::All.into(),
            leader_epoch: -1,
            timeout_ms: 0,
            batch,
        })
        .await?;
        Ok(request_id)
    }

    /// Sends any request.
    ///
    /// # Errors
    /// When the stream is broken.
    pub async fn send_request(&self, request: v1::ProduceRequest) -> Result<()> {
        self.outbox
            .send(request)
            .await
            .context("the produce stream is broken")
    }

    /// Whether a request can be handed over without waiting: the connection takes bytes.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.outbox.capacity() > 0
    }

    /// The next acknowledgement, refusals included.
    ///
    /// # Errors
    /// When the stream ends.
    pub async fn ack(&mut self) -> Result<v1::ProduceAck> {
        match self
            .inbox
            .message()
            .await?
            .and_then(|message| message.response)
        {
            Some(Response::Ack(ack)) => Ok(ack),
            other => bail!("expected an acknowledgement, found {other:?}"),
        }
    }

    /// Sends one batch and waits for its acknowledgement.
    ///
    /// # Errors
    /// A refusal as `NAME: message`, or a broken stream.
    pub async fn produce(
        &mut self,
        topic_id: &Bytes,
        partition: i32,
        batch: Bytes,
    ) -> Result<v1::ProduceAck> {
        self.send(topic_id, partition, batch).await?;
        let ack = self.ack().await?;
        super::refused(ack.error.clone())?;
        Ok(ack)
    }
}
