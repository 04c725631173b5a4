//! What must not disturb others: broken clients, silent clients, a failing disk, a shutdown.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use millstream_broker::config::Config;
use millstream_log::io::{Action, DiskIo, FaultIo, Operation, Rule};
use millstream_proto::grpc::v1;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, transport::Channel};

use crate::{
    admin,
    broker::Broker,
    client::{Fetcher, Producer, batch, connect, create_topic, records, try_create_topic, within},
};

const KEEP: (&str, &str) = ("retention.ms", "-1");
const ENOSPC: i32 = 28;
const EIO: i32 = 5;
/// Batches after which a broker that still takes them has no bound.
const UNREAD_MAX: u64 = 200_000;

async fn works(channel: &Channel, topic: &Bytes) {
    let mut producer = Producer::open(channel).await;
    assert_eq!(producer.produce(topic, batch(&[b"x"])).await.error, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_http2_close_their_connection_only() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    let garbage: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 64],
        &[0xff; 4096],
        // A frame that announces 16 MiB behind a right preface.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x00\x00\x00\x00\x00\x00",
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(broker.address).await.expect("connects");
        // The broker may close while it is being written to.
        let _ = stream.write_all(bytes).await;
        let mut rest = Vec::new();
        let _ = within("close", stream.read_to_end(&mut rest)).await;
        works(&channel, &topic).await;
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_no_protobuf_ends_its_stream_only() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    for path in [
        "/millstream.v1.ProduceService/Produce",
        "/millstream.v1.FetchService/Fetch",
    ] {
        // Field 1 as a length-delimited value that is longer than the message.
        let bytes = Bytes::from_static(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        let status = raw::call(&channel, path, bytes).await.expect_err("refused");
        assert_eq!(status.code(), Code::Internal, "{path}: {status}");
        works(&channel, &topic).await;
    }
    let status = raw::call(
        &channel,
        "/millstream.v1.ProduceService/Purge",
        Bytes::new(),
    )
    .await;
    assert_eq!(status.expect_err("unknown").code(), Code::Unimplemented);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_above_the_limit_ends_its_stream_only() {
    let directory = tempfile::tempdir().expect("directory");
    let mut config = Config::default();
    config.limits.request_bytes_max.0 = 100_000;
    let broker = Broker::start_with(directory.path(), Arc::new(DiskIo), config).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    assert_eq!(producer.opened.request_bytes_max, 100_000);
    producer.send(&topic, 0, batch(&[b"before"])).await;
    producer.send(&topic, 0, batch(&[&[7; 200_000]])).await;
    assert_eq!(
        producer.ack().await.base_offset,
        0,
        "what came before is acknowledged"
    );
    let status = producer.try_ack().await.expect_err("ends");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    works(&channel, &topic).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_acknowledgements_stops_only_itself() {
    let directory = tempfile::tempdir().expect("directory");
    let mut config = Config::default();
    config.limits.produce_stream_batches_max = 64;
    let broker = Broker::start_with(directory.path(), Arc::new(DiskIo), config).await;
    let topic = create_topic(&connect(broker.address).await, "t", 1, &[KEEP]).await;
    let deaf = connect(broker.address).await;
    let mut producer = Producer::open(&deaf).await;
    let mut sent = 0u64;
    // Its answers fill the HTTP/2 window; from then on nothing is read of it.
    while sent < UNREAD_MAX {
        let send = producer.send(&topic, 0, batch(&[b"x"]));
        if tokio::time::timeout(Duration::from_secs(1), send)
            .await
            .is_err()
        {
            break;
        }
        sent += 1;
    }
    assert!(sent < UNREAD_MAX, "the broker took all {sent}");
    works(&connect(broker.address).await, &topic).await;
    // And it goes on once it reads.
    for _ in 0..sent {
        assert_eq!(producer.ack().await.error, None);
    }
    drop(producer);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_fetch_does_not_disturb_its_connection() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    for _ in 0..40 {
        assert_eq!(
            producer
                .produce(&topic, batch(&[&[7; 100_000]]))
                .await
                .error,
            None
        );
    }
    // Credit for all of it, and nobody reads.
    let mut stalled = Fetcher::open(&channel).await;
    stalled.add(1, &topic, 0, 8 << 20).await;
    for _ in 0..20 {
        works(&channel, &topic).await;
    }
    let mut live = Fetcher::open(&channel).await;
    live.add(1, &topic, 50, 1 << 20).await;
    assert_eq!(live.records(5).await[0].offset.get(), 50);
    assert!(
        stalled.records(40).await.len() >= 40,
        "it goes on once it is read"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_above_the_limit_are_closed_and_counted() {
    let directory = tempfile::tempdir().expect("directory");
    let mut config = Config::default();
    config.limits.connections_per_address_max = 2;
    let broker = Broker::start_with(directory.path(), Arc::new(DiskIo), config).await;
    let first = connect(broker.address).await;
    let topic = create_topic(&first, "t", 1, &[KEEP]).await;
    let _second = TcpStream::connect(broker.address).await.expect("connects");
    let mut third = TcpStream::connect(broker.address).await.expect("connects");
    let mut bytes = Vec::new();
    let read = within("close", third.read_to_end(&mut bytes)).await;
    assert!(
        read.is_err() || bytes.is_empty(),
        "closed before the first byte"
    );
    assert_eq!((broker.counts.open(), broker.counts.refused()), (2, 1));
    works(&first, &topic).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_produce_and_nothing_else_and_ends_by_itself() {
    let directory = tempfile::tempdir().expect("directory");
    let io = Arc::new(FaultIo::new(DiskIo));
    let config = Config::default();
    let broker = Broker::start_with(directory.path(), Arc::clone(&io) as _, config).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    create_topic(&channel, "gone", 1, &[KEEP]).await;
    works(&channel, &topic).await;
    let full = [Operation::Write, Operation::Allocate];
    let full = Rule::new(&full, Action::Fail(ENOSPC)).at_path_with("/t-0/");
    let full = io.inject(full);
    let mut producer = Producer::open(&channel).await;
    // What is preallocated may still be written.
    let refused = loop {
        let ack = producer.produce(&topic, batch(&[&[7; 50_000]])).await;
        if let Some(error) = ack.error {
            break error;
        }
    };
    assert_eq!(
        (refused.name.as_str(), refused.retriable),
        ("KAFKA_STORAGE_ERROR", true)
    );
    let path = directory.path().display().to_string();
    assert!(refused.message.contains(&path), "{}", refused.message);
    let mut fetcher = Fetcher::open(&channel).await;
    fetcher.add(1, &topic, 0, 1 << 20).await;
    assert_eq!(fetcher.records(1).await.len(), 1);
    admin::delete_topic(&channel, "gone").await;
    full.stop();
    let recovered = async {
        while producer
            .produce(&topic, batch(&[b"y"]))
            .await
            .error
            .is_some()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("produce to resume", recovered).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_flush_nothing_is_acknowledged_and_others_go_on() {
    let directory = tempfile::tempdir().expect("directory");
    let io = Arc::new(FaultIo::new(DiskIo));
    let config = Config::default();
    let broker = Broker::start_with(directory.path(), Arc::clone(&io) as _, config).await;
    let channel = connect(broker.address).await;
    let bad = create_topic(&channel, "bad", 1, &[KEEP]).await;
    let good = create_topic(&channel, "good", 1, &[KEEP]).await;
    works(&channel, &bad).await;
    let mut waiting = Fetcher::open(&channel).await;
    waiting.add(1, &bad, 1, 1 << 20).await;
    waiting.data().await;
    let rule = Rule::new(&[Operation::SyncData], Action::Fail(EIO)).at_path_with("/bad-0/");
    let failing = io.inject(rule);
    let mut producer = Producer::open(&channel).await;
    let lost = producer
        .produce(&bad, batch(&[b"lost"]))
        .await
        .error
        .expect("not acknowledged");
    assert_eq!(
        (lost.name.as_str(), lost.may_have_been_written),
        ("KAFKA_STORAGE_ERROR", true)
    );
    let failed = waiting.failed().await.error.expect("parked reads are told");
    assert_eq!(failed.name, "KAFKA_STORAGE_ERROR");
    failing.stop();
    let again = producer.produce(&bad, batch(&[b"again"])).await;
    let again = again.error.expect("never retried as if it could succeed");
    assert!(again.message.contains("offline"), "{}", again.message);
    assert!(!again.may_have_been_written);
    works(&channel, &good).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_appends_leave_the_serving_threads_and_admin_calls_stay_quick() {
    let directory = tempfile::tempdir().expect("directory");
    let io = Arc::new(FaultIo::new(DiskIo));
    let config = Config::default();
    let broker = Broker::start_with(directory.path(), Arc::clone(&io) as _, config).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    let rule = Rule::new(
        &[Operation::Write],
        Action::Delay(Duration::from_millis(100)),
    );
    let slow = io.inject(rule.at_path_with(".log"));
    let mut producers = Vec::new();
    for _ in 0..8 {
        let mut producer = Producer::open(&channel).await;
        for _ in 0..4 {
            producer.send(&topic, 0, batch(&[b"x"])).await;
        }
        producers.push(producer);
    }
    let stalled = async {
        while !broker.partitions.append_gate().is_stalled() {
            tokio::task::yield_now().await;
        }
    };
    within("the gate to close", stalled).await;
    // Eight streams would hold both threads for seconds if their appends ran there.
    let other = connect(broker.address).await;
    let mut client = v1::cluster_service_client::ClusterServiceClient::new(other);
    for _ in 0..5 {
        let call = client.describe_cluster(v1::DescribeClusterRequest {});
        let answer = tokio::time::timeout(Duration::from_millis(500), call).await;
        answer.expect("quick").expect("answered");
    }
    slow.stop();
    let mut offsets = Vec::new();
    for producer in &mut producers {
        for _ in 0..4 {
            let ack = producer.ack().await;
            assert_eq!(ack.error, None);
            offsets.push(ack.base_offset);
        }
    }
    offsets.sort_unstable();
    assert_eq!(offsets, (0..32).collect::<Vec<_>>());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_acknowledges_what_is_appended_and_ends_parked_fetches() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "t", 1, &[KEEP]).await;
    let mut fetcher = Fetcher::open(&channel).await;
    fetcher.add(1, &topic, 0, 1 << 20).await;
    fetcher.data().await;
    let mut producer = Producer::open(&channel).await;
    producer.produce(&topic, batch(&[b"x"])).await;
    assert_eq!(records(fetcher.data().await.batches).len(), 1);
    broker.begin_shutdown();
    let status = fetcher.try_answer().await.expect_err("ends");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let status = producer.try_ack().await.expect_err("ends");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    broker.stop().await;
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    works(&channel, &topic).await;
    assert!(
        try_create_topic(&channel, "t", 1, &[])
            .await
            .error
            .is_some()
    );
    broker.stop().await;
}

/// A call whose message is bytes as they are.
mod raw {
    use bytes::{Buf, BufMut, Bytes};
    use tonic::{
        Request, Status,
        client::Grpc,
        codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
        transport::Channel,
    };

    #[derive(Default)]
    struct BytesCodec;
    struct Raw;

    impl Codec for BytesCodec {
        type Encode = Bytes;
        type Decode = Bytes;
        type Encoder = Raw;
        type Decoder = Raw;

        fn encoder(&mut self) -> Raw {
            Raw
        }

        fn decoder(&mut self) -> Raw {
            Raw
        }
    }

    impl Encoder for Raw {
        type Item = Bytes;
        type Error = Status;

        fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
            buffer.put(item);
            Ok(())
        }
    }

    impl Decoder for Raw {
        type Item = Bytes;
        type Error = Status;

        fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
            Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
        }
    }

    /// Sends one message and reads the answers to their end.
    pub(super) async fn call(
        channel: &Channel,
        path: &'static str,
        message: Bytes,
    ) -> Result<(), Status> {
        let mut client = Grpc::new(channel.clone());
        client.ready().await.expect("ready");
        let request = Request::new(tokio_stream::once(message));
        let path = http::uri::PathAndQuery::from_static(path);
        let answers = client.streaming(request, path, BytesCodec).await?;
        let mut answers = answers.into_inner();
        while super::within("answer", answers.message()).await?.is_some() {}
        Ok(())
    }
}
