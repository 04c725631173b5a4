//! The least that a client of the generated code needs, written from `docs/design/native-api.md`.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use millstream_proto::{
    ProducerEpoch, ProducerId,
    grpc::v1::{
        self, fetch_request::Request as Wish, fetch_response::Response as FetchAnswer,
        produce_response::Response as ProduceAnswer,
    },
    record::{BatchBuilder, BatchOptions, OwnedBatchIter, ProducerIdentity, Record},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

/// A test that waits longer than this has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// 2001-09-09, so that snapshots do not change; topics of tests keep records of any age.
pub(crate) const TIMESTAMP_MS: i64 = 1_000_000_000_000;

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

pub(crate) async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("address");
    within("connection", endpoint.connect())
        .await
        .expect("connects")
}

/// One batch of records without keys.
pub(crate) fn batch(values: &[&[u8]]) -> Bytes {
    batch_with(BatchOptions::default(), values)
}

pub(crate) fn batch_with(options: BatchOptions, values: &[&[u8]]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder
            .append(TIMESTAMP_MS, None, Some(value), &[])
            .expect("fits");
    }
    builder.finish().expect("finished")
}

pub(crate) fn idempotent(id: i64, base_sequence: i32) -> BatchOptions {
    BatchOptions {
        producer: Some(ProducerIdentity {
            id: ProducerId(id),
            epoch: ProducerEpoch(0),
            base_sequence,
        }),
        ..BatchOptions::default()
    }
}

/// The records of batches back to back, checked.
pub(crate) fn records(batches: Bytes) -> Vec<Record> {
    let batches = OwnedBatchIter::new(batches);
    let records = batches.flat_map(|batch| {
        let batch = batch.expect("whole batch");
        batch.verify_crc().expect("checksum");
        batch.records(1 << 20).expect("records").collect::<Vec<_>>()
    });
    records.map(|record| record.expect("record")).collect()
}

pub(crate) async fn create_topic(
    channel: &Channel,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Bytes {
    let result = try_create_topic(channel, name, partitions, configs).await;
    assert_eq!(result.error, None, "topic {name}");
    result.topic_id
}

pub(crate) async fn try_create_topic(
    channel: &Channel,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> v1::CreateTopicResult {
    let mut client = v1::topic_service_client::TopicServiceClient::new(channel.clone());
    let configs = configs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    let request = v1::CreateTopicsRequest {
        topics: vec![v1::NewTopic {
            name: name.into(),
            partitions,
            replication_factor: 0,
            configs: configs.collect(),
        }],
        validate_only: false,
    };
    let response = within("create_topics", client.create_topics(request)).await;
    let mut results = response.expect("answered").into_inner().results;
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// A produce stream.
pub(crate) struct Producer {
    pub(crate) opened: v1::ProduceOpened,
    requests: mpsc::Sender<v1::ProduceRequest>,
    answers: Streaming<v1::ProduceResponse>,
    next_request_id: u64,
}

impl Producer {
    pub(crate) async fn open(channel: &Channel) -> Self {
        let (requests, outbound) = mpsc::channel(4096);
        let mut client = v1::produce_service_client::ProduceServiceClient::new(channel.clone())
            .max_encoding_message_size(usize::MAX);
        let answers = within("produce", client.produce(ReceiverStream::new(outbound))).await;
        let mut answers = answers.expect("opened").into_inner();
        let first = within("ProduceOpened", answers.message()).await;
        let Some(ProduceAnswer::Opened(opened)) = first.expect("answer").expect("first").response
        else {
            panic!("the first answer is ProduceOpened");
        };
        Self {
            opened,
            requests,
            answers,
            next_request_id: 1,
        }
    }

    /// Sends a batch with `acks=all` and returns its request id.
    pub(crate) async fn send(&mut self, topic_id: &Bytes, partition: i32, batch: Bytes) -> u64 {
        self.send_request(v1::ProduceRequest {
            topic_id: topic_id.clone(),
            partition,
            leader_epoch: -1,
            batch,
            ..v1::ProduceRequest::default()
        })
        .await
    }

    pub(crate) async fn send_request(&mut self, mut request: v1::ProduceRequest) -> u64 {
        request.request_id = self.next_request_id;
        self.next_request_id += 1;
        let id = request.request_id;
        within("room on the stream", self.requests.send(request))
            .await
            .expect("stream is open");
        id
    }

    pub(crate) async fn ack(&mut self) -> v1::ProduceAck {
        self.try_ack().await.expect("stream goes on").expect("ack")
    }

    pub(crate) async fn try_ack(&mut self) -> Result<Option<v1::ProduceAck>, Status> {
        let answer = within("acknowledgement", self.answers.message()).await?;
        Ok(answer.map(|answer| match answer.response {
            Some(ProduceAnswer::Ack(ack)) => ack,
            other => panic!("expected an acknowledgement, got {other:?}"),
        }))
    }

    /// Sends one batch and waits for its acknowledgement.
    pub(crate) async fn produce(&mut self, topic_id: &Bytes, batch: Bytes) -> v1::ProduceAck {
        let id = self.send(topic_id, 0, batch).await;
        let ack = self.ack().await;
        assert_eq!(ack.request_id, id);
        ack
    }

    /// Ends the sending side; acknowledgements still come.
    pub(crate) fn finish(self) -> Streaming<v1::ProduceResponse> {
        self.answers
    }
}

/// A fetch stream.
pub(crate) struct Fetcher {
    pub(crate) opened: v1::FetchOpened,
    requests: mpsc::Sender<v1::FetchRequest>,
    answers: Streaming<v1::FetchResponse>,
}

impl Fetcher {
    pub(crate) async fn open(channel: &Channel) -> Self {
        Self::open_with(channel, v1::FetchOpen::default()).await
    }

    pub(crate) async fn open_with(channel: &Channel, open: v1::FetchOpen) -> Self {
        let (requests, mut answers) = Self::raw(channel).await;
        send(&requests, Wish::Open(open)).await;
        let first = within("FetchOpened", answers.message()).await;
        let Some(FetchAnswer::Opened(opened)) = first.expect("answer").expect("first").response
        else {
            panic!("the first answer is FetchOpened");
        };
        Self {
            opened,
            requests,
            answers,
        }
    }

    /// A stream on which nothing was said yet.
    pub(crate) async fn raw(
        channel: &Channel,
    ) -> (mpsc::Sender<v1::FetchRequest>, Streaming<v1::FetchResponse>) {
        let (requests, outbound) = mpsc::channel(64);
        let mut client = v1::fetch_service_client::FetchServiceClient::new(channel.clone());
        let answers = within("fetch", client.fetch(ReceiverStream::new(outbound))).await;
        (requests, answers.expect("opened").into_inner())
    }

    pub(crate) async fn wish(&self, wish: Wish) {
        send(&self.requests, wish).await;
    }

    pub(crate) async fn add(&self, fetch_id: u64, topic_id: &Bytes, offset: i64, credit: u64) {
        let add = v1::FetchAdd {
            fetch_id,
            topic_id: topic_id.clone(),
            partition: 0,
            offset,
            leader_epoch: -1,
            credit_bytes: credit,
        };
        self.wish(Wish::Add(add)).await;
    }

    pub(crate) async fn credit(&self, fetch_id: u64, bytes: u64) {
        let credit = v1::FetchCredit { fetch_id, bytes };
        self.wish(Wish::Credit(credit)).await;
    }

    pub(crate) async fn answer(&mut self) -> FetchAnswer {
        let answer = self.try_answer().await.expect("stream goes on");
        answer.expect("answer")
    }

    pub(crate) async fn try_answer(&mut self) -> Result<Option<FetchAnswer>, Status> {
        let answer = within("fetch answer", self.answers.message()).await?;
        Ok(answer.map(|answer| answer.response.expect("not empty")))
    }

    /// The next answer, which must be data.
    pub(crate) async fn data(&mut self) -> v1::FetchData {
        match self.answer().await {
            FetchAnswer::Data(data) => data,
            other => panic!("expected data, got {other:?}"),
        }
    }

    /// The next answer, which must be a failure.
    pub(crate) async fn failed(&mut self) -> v1::FetchFailed {
        match self.answer().await {
            FetchAnswer::Failed(failed) => failed,
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    /// Records until there are `count`, crediting what arrives.
    pub(crate) async fn records(&mut self, count: usize) -> Vec<Record> {
        let mut all = Vec::new();
        while all.len() < count {
            let data = self.data().await;
            if !data.batches.is_empty() {
                let bytes = data.batches.len() as u64;
                self.credit(data.fetch_id, bytes).await;
                all.extend(records(data.batches));
            }
        }
        all
    }
}

pub(crate) async fn send(requests: &mpsc::Sender<v1::FetchRequest>, wish: Wish) {
    let request = v1::FetchRequest {
        request: Some(wish),
    };
    within("room on the stream", requests.send(request))
        .await
        .expect("stream is open");
}
