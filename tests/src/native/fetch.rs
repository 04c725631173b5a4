//! [`FetchStream`]: a fetch stream as it is on the wire.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use millstream_proto::{
    grpc::v1::{
        self, fetch_request::Request, fetch_response::Response,
        fetch_service_client::FetchServiceClient,
    },
    record::{OwnedBatchIter, Record},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

/// Requests that wait for the connection.
const OUTBOX_MAX: usize = 64;
/// Largest message read: above what any test lets the broker send.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Decompressed bytes of one batch.
const OUTPUT_BYTES_MAX: usize = 64 << 20;
/// Credit with which [`FetchStream::read_to_end`] starts.
const CREDIT_BYTES: u64 = 4 << 20;

/// An open fetch stream. Nothing is read until it is asked for.
#[derive(Debug)]
pub struct FetchStream {
    outbox: mpsc::Sender<v1::FetchRequest>,
    inbox: Streaming<v1::FetchResponse>,
    /// The stream's limits.
    pub opened: v1::FetchOpened,
    next_fetch_id: u64,
}

impl FetchStream {
    pub(super) async fn open(channel: Channel) -> Result<Self> {
        let (outbox, requests) = mpsc::channel(OUTBOX_MAX);
        let open = Request::Open(v1::FetchOpen {
            isolation_level: 0,
            frame_bytes_max: 0,
        });
        outbox
            .send(v1::FetchRequest {
                request: Some(open),
            })
            .await?;
        let mut client =
            FetchServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut inbox = client
            .fetch(ReceiverStream::new(requests))
            .await?
            .into_inner();
        match inbox.message().await?.and_then(|message| message.response) {
            Some(Response::Opened(opened)) => Ok(Self {
                outbox,
                inbox,
                opened,
                next_fetch_id: 1,
            }),
            other => bail!("a fetch stream opens with FetchOpened, found {other:?}"),
        }
    }

    /// Adds a partition and returns its fetch id.
    ///
    /// # Errors
    /// When the stream is broken.
    pub async fn add(
        &mut self,
        topic_id: &Bytes,
        partition: i32,
        offset: i64,
        credit_bytes: u64,
    ) -> Result<u64> {
        let fetch_id = self.next_fetch_id;
        self.next_fetch_id += 1;
        self.request(Request::Add(v1::FetchAdd {
            fetch_id,
            topic_id: topic_id.clone(),
            partition,
            offset,
            leader_epoch: -1,
            credit_bytes,
        }))
        .await?;
        Ok(fetch_id)
    }

    /// Grants credit.
    ///
    /// # Errors
    /// When the stream is broken.
    pub async fn grant(&self, fetch_id: u64, bytes: u64) -> Result<()> {
        self.request(Request::Credit(v1::FetchCredit { fetch_id, bytes }))
            .await
    }

    /// Removes a partition.
    ///
    /// # Errors
    /// When the stream is broken.
    pub async fn remove(&self, fetch_id: u64) -> Result<()> {
        self.request(Request::Remove(v1::FetchRemove { fetch_id }))
            .await
    }

    /// The next answer.
    ///
    /// # Errors
    /// When the stream ends.
    pub async fn next(&mut self) -> Result<Response> {
        let message = self
            .inbox
            .message()
            .await?
            .context("the fetch stream ended")?;
        message.response.context("a fetch response says what it is")
    }

    /// The next data of any partition.
    ///
    /// # Errors
    /// A failed partition as `NAME: message`, or a broken stream.
    pub async fn data(&mut self) -> Result<v1::FetchData> {
        match self.next().await? {
            Response::Data(data) => Ok(data),
            Response::Failed(failed) => {
                super::refused(failed.error)?;
                bail!("a failed fetch says why")
            }
            Response::Opened(_) => bail!("a fetch stream opens once"),
        }
    }

    /// Reads a partition from `offset` up to the high watermark that it has when it is reached.
    ///
    /// # Errors
    /// A failed partition, a bad batch, a broken stream.
    pub async fn read_to_end(
        &mut self,
        topic_id: &Bytes,
        partition: i32,
        offset: i64,
    ) -> Result<Vec<Record>> {
        let fetch_id = self.add(topic_id, partition, offset, CREDIT_BYTES).await?;
        let mut found = Vec::new();
        let mut next = offset;
        loop {
            let data = self.data().await?;
            if data.fetch_id != fetch_id {
                continue;
            }
            let bytes = data.batches.len();
            for record in records(data.batches)? {
                next = record.offset.get() + 1;
                if record.offset.get() >= offset {
                    found.push(record);
                }
            }
            if next >= data.high_watermark {
                self.remove(fetch_id).await?;
                return Ok(found);
            }
            if bytes > 0 {
                self.grant(fetch_id, u64::try_from(bytes)?).await?;
            }
        }
    }

    async fn request(&self, request: Request) -> Result<()> {
        let request = v1::FetchRequest {
            request: Some(request),
        };
        self.outbox
            .send(request)
            .await
            .context("the fetch stream is broken")
    }
}

/// The data records of batches back to back; each batch's CRC is checked.
///
/// # Errors
/// When a batch or a record is not valid.
pub fn records(batches: Bytes) -> Result<Vec<Record>> {
    let mut found = Vec::new();
    for batch in OwnedBatchIter::new(batches) {
        let batch = batch?;
        batch.verify_crc()?;
        if !batch.is_control() {
            for record in batch.records(OUTPUT_BYTES_MAX)? {
                found.push(record?);
            }
        }
    }
    Ok(found)
}
