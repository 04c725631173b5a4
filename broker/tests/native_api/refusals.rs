//! Every refusal as the client sees it: code, what, hint. Snapshots, so that a change is seen.

mod groups;
mod offsets_topic;

use std::fmt::Write as _;

use bytes::Bytes;
use millstream_broker::config::Config;
use millstream_log::io::DiskIo;
use millstream_proto::{
    grpc::v1::{self, fetch_request::Request as Wish},
    record::{BatchBuilder, BatchOptions, Header},
};
use tonic::{Status, transport::Channel};

use crate::{
    broker::Broker,
    client::{
        Fetcher, Producer, TIMESTAMP_MS, batch, batch_with, connect, create_topic, idempotent,
        try_create_topic, within,
    },
};

const KEEP: (&str, &str) = ("retention.ms", "-1");

/// Collects refusals for one snapshot.
#[derive(Default)]
struct Refusals(String);

impl Refusals {
    fn add(&mut self, case: &str, error: Option<v1::Error>) {
        let Some(error) = error else {
            panic!("{case} was not refused");
        };
        let flags = match (error.retriable, error.may_have_been_written) {
            (false, false) => "",
            (true, false) => " (retriable)",
            (false, true) => " (may have been written)",
            (true, true) => " (retriable, may have been written)",
        };
        assert!(
            !error.message.contains(['\n', '\r', '\0']),
            "{case}: one line"
        );
        let v1::Error {
            name,
            code,
            message,
            hint,
            ..
        } = error;
        writeln!(
            self.0,
            "{case}\n  {name} {code}{flags}\n  error: {message}\n  hint: {hint}"
        )
        .expect("text");
    }

    fn add_status(&mut self, case: &str, status: &Status) {
        writeln!(
            self.0,
            "{case}\n  {:?}: {}",
            status.code(),
            status.message()
        )
        .expect("text");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics() {
    let directory = tempfile::tempdir().expect("directory");
    let mut config = Config::default();
    config.limits.partitions_per_topic_max = 10;
    config.limits.partitions_max = 12;
    config.limits.topics_max = 3;
    let io = std::sync::Arc::new(DiskIo);
    let broker = Broker::start_with(directory.path(), io, config).await;
    let channel = connect(broker.address).await;
    create_topic(&channel, "flights.raw", 2, &[KEEP]).await;
    let mut found = Refusals::default();
    let long = "x".repeat(65536);
    let hostile = [
        "",
        ".",
        "..",
        "../../etc",
        "a/b",
        "a\0b",
        "a\r\nb",
        "ä",
        &long,
    ];
    for name in hostile {
        let shown: String = name.chars().take(12).collect();
        let result = try_create_topic(&channel, name, 1, &[]).await;
        found.add(&format!("create topic {shown:?}"), result.error);
    }
    let kafkas = try_create_topic(&channel, "__cluster_metadata", 1, &[]).await;
    found.add("create the topic of Kafka's metadata", kafkas.error);
    for (case, name, partitions, configs) in [
        ("create a topic that exists", "flights.raw", 1, &[][..]),
        ("create a topic that collides", "flights_raw", 1, &[]),
        ("create with -1 partitions", "a", -1, &[]),
        ("create with too many partitions", "a", 11, &[]),
        (
            "create with an unknown config",
            "a",
            1,
            &[("retention.mss", "1")],
        ),
        (
            "create with a bad value",
            "a",
            1,
            &[("retention.ms", "soon")],
        ),
        (
            "create with a value not supported",
            "a",
            1,
            &[("remote.storage.enable", "true")],
        ),
    ] {
        found.add(
            case,
            try_create_topic(&channel, name, partitions, configs)
                .await
                .error,
        );
    }
    create_topic(&channel, "b", 1, &[]).await;
    let many = try_create_topic(&channel, "c", 10, &[]).await;
    found.add("create beyond partitions_max", many.error);
    create_topic(&channel, "c", 9, &[]).await;
    let one_more = try_create_topic(&channel, "d", 1, &[]).await;
    found.add("create beyond topics_max", one_more.error);
    more_topic_refusals(&channel, &mut found).await;
    insta::assert_snapshot!("topics", found.0);
    broker.stop().await;
}

async fn more_topic_refusals(channel: &Channel, found: &mut Refusals) {
    let mut topics = v1::topic_service_client::TopicServiceClient::new(channel.clone());
    let request = v1::CreateTopicsRequest {
        topics: vec![v1::NewTopic {
            name: "r".into(),
            replication_factor: 3,
            ..v1::NewTopic::default()
        }],
        validate_only: true,
    };
    let result = topics
        .create_topics(request)
        .await
        .expect("answered")
        .into_inner();
    found.add("create with 3 replicas", result.results[0].error.clone());
    for (case, name) in [
        ("delete", "fligths.raw"),
        ("delete", "../x"),
        ("delete", "nothing"),
    ] {
        let request = v1::DeleteTopicsRequest {
            names: vec![name.into()],
            validate_only: false,
        };
        let result = topics
            .delete_topics(request)
            .await
            .expect("answered")
            .into_inner();
        found.add(&format!("{case} {name}"), result.results[0].error.clone());
    }
    for total in [0, 2, 11] {
        let request = v1::CreatePartitionsRequest {
            name: "flights.raw".into(),
            partitions: total,
            validate_only: true,
        };
        let result = topics
            .create_partitions(request)
            .await
            .expect("answered")
            .into_inner();
        found.add(&format!("raise 2 partitions to {total}"), result.error);
    }
    let request = v1::DescribeTopicsRequest {
        names: vec!["flight.raw".into()],
        topic_ids: vec![vec![1; 16].into(), vec![1; 15].into()],
        include_log: false,
    };
    let result = topics
        .describe_topics(request)
        .await
        .expect("answered")
        .into_inner();
    for (case, topic) in ["unknown name", "unknown id", "id of 15 bytes"]
        .iter()
        .zip(result.topics)
    {
        found.add(&format!("describe {case}"), topic.error);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configs() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    create_topic(&channel, "flights", 1, &[]).await;
    let mut client = v1::config_service_client::ConfigServiceClient::new(channel.clone());
    let mut found = Refusals::default();
    let resource = |kind: i32, name: &str| v1::ConfigResource {
        r#type: kind,
        name: name.into(),
    };
    for (case, resource, keys) in [
        ("describe nothing", resource(0, ""), vec![]),
        ("describe an unknown topic", resource(1, "flihgts"), vec![]),
        (
            "describe an unknown key",
            resource(1, "flights"),
            vec!["retention.hours".into()],
        ),
        ("describe another broker", resource(2, "7\n"), vec![]),
    ] {
        let request = v1::DescribeConfigsRequest {
            resources: vec![resource],
            keys,
        };
        let result = client
            .describe_configs(request)
            .await
            .expect("answered")
            .into_inner();
        found.add(case, result.results[0].error.clone());
    }
    let set = |name: &str, value: &str| v1::ConfigChange {
        name: name.into(),
        operation: Some(v1::config_change::Operation::Set(value.into())),
    };
    let reset = |name: &str| v1::ConfigChange {
        name: name.into(),
        operation: Some(v1::config_change::Operation::Delete(true)),
    };
    let nothing = v1::ConfigChange {
        name: "retention.ms".into(),
        operation: None,
    };
    for (case, resource, changes) in [
        (
            "alter a broker",
            resource(2, ""),
            vec![set("topics.partitions", "3")],
        ),
        ("alter an unknown topic", resource(1, "x"), vec![]),
        (
            "set an unknown key",
            resource(1, "flights"),
            vec![set("retention", "1")],
        ),
        (
            "set a bad value",
            resource(1, "flights"),
            vec![set("segment.bytes", "lots")],
        ),
        (
            "reset an unknown key",
            resource(1, "flights"),
            vec![reset("retentions.ms")],
        ),
        (
            "change a key twice",
            resource(1, "flights"),
            vec![set("retention.ms", "1"), reset("retention.ms")],
        ),
        ("say neither", resource(1, "flights"), vec![nothing]),
    ] {
        let request = v1::AlterConfigsRequest {
            resource: Some(resource),
            changes,
            validate_only: false,
        };
        let result = client
            .alter_configs(request)
            .await
            .expect("answered")
            .into_inner();
        found.add(case, result.error);
    }
    insta::assert_snapshot!("configs", found.0);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn produce() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let small = ("max.message.bytes", "1000");
    let topic = create_topic(&channel, "flights", 2, &[KEEP, small]).await;
    let two = ("min.insync.replicas", "2");
    let strict = create_topic(&channel, "strict", 1, &[KEEP, two]).await;
    let recent = ("message.timestamp.before.max.ms", "1000");
    let recent = create_topic(&channel, "recent", 1, &[recent]).await;
    let good = batch(&[b"x"]);
    let mut flipped = good.to_vec();
    *flipped.last_mut().expect("bytes") ^= 1;
    let mut old = good.to_vec();
    old[16] = 1;
    let mut longer = good.to_vec();
    longer.push(0);
    let two_batches = [good.clone(), good.clone()].concat();
    let control = BatchOptions {
        is_control: true,
        ..BatchOptions::default()
    };
    let request = |topic_id: &Bytes, batch: Bytes| v1::ProduceRequest {
        topic_id: topic_id.clone(),
        leader_epoch: -1,
        batch,
        ..v1::ProduceRequest::default()
    };
    let to = |batch: Bytes| request(&topic, batch);
    let cases = [
        (
            "an id of 3 bytes",
            request(&Bytes::from_static(b"abc"), good.clone()),
        ),
        ("an unknown id", request(&vec![1; 16].into(), good.clone())),
        (
            "an unknown partition",
            v1::ProduceRequest {
                partition: 2,
                ..to(good.clone())
            },
        ),
        (
            "a negative partition",
            v1::ProduceRequest {
                partition: -1,
                ..to(good.clone())
            },
        ),
        (
            "unknown acks",
            v1::ProduceRequest {
                acks: 9,
                ..to(good.clone())
            },
        ),
        (
            "a later leader epoch",
            v1::ProduceRequest {
                leader_epoch: 7,
                ..to(good.clone())
            },
        ),
        ("no bytes", to(Bytes::new())),
        ("no batch", to(Bytes::from_static(b"hello"))),
        ("a flipped bit", to(flipped.into())),
        ("magic 1", to(old.into())),
        ("a byte too many", to(longer.into())),
        ("two batches", to(two_batches.into())),
        ("a control batch", to(batch_with(control, &[b"x"]))),
        ("a batch too large", to(batch(&[&[7; 2000]]))),
        (
            "a sequence out of order",
            to(batch_with(idempotent(9, 5), &[b"x"])),
        ),
        ("too few in-sync replicas", request(&strict, good.clone())),
        ("a timestamp of 2001", request(&recent, good.clone())),
    ];
    let mut producer = Producer::open(&channel).await;
    let first = producer
        .produce(&topic, batch_with(idempotent(9, 0), &[b"x"]))
        .await;
    assert_eq!(first.error, None);
    let mut found = Refusals::default();
    for (case, request) in cases {
        let id = producer.send_request(request).await;
        let ack = producer.ack().await;
        assert_eq!(ack.request_id, id, "{case}");
        found.add(case, ack.error);
    }
    let after = producer.produce(&topic, good).await;
    assert_eq!(
        (after.error, after.base_offset),
        (None, 1),
        "the stream goes on"
    );
    let settled = free_of_time(&found.0);
    insta::assert_snapshot!("produce", settled);
    broker.stop().await;
}

/// The broker's clock is in one message: its numbers are cut out.
fn free_of_time(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| match line.split_once("is not between ") {
            Some((before, _)) => format!("{before}is not between <time> and <time>"),
            None => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

fn add(fetch_id: u64, topic_id: &Bytes) -> v1::FetchAdd {
    v1::FetchAdd {
        fetch_id,
        topic_id: topic_id.clone(),
        leader_epoch: -1,
        credit_bytes: 1,
        ..v1::FetchAdd::default()
    }
}

/// Partitions that a fetch stream refuses, each without ending.
fn refused_adds(topic: &Bytes) -> Vec<(&'static str, v1::FetchAdd)> {
    vec![
        ("an id of 3 bytes", add(1, &Bytes::from_static(b"abc"))),
        ("an unknown id", add(2, &vec![1; 16].into())),
        (
            "an unknown partition",
            v1::FetchAdd {
                partition: 1,
                ..add(3, topic)
            },
        ),
        (
            "a negative offset",
            v1::FetchAdd {
                offset: -5,
                ..add(4, topic)
            },
        ),
        (
            "an offset beyond the end",
            v1::FetchAdd {
                offset: 5,
                ..add(5, topic)
            },
        ),
        (
            "a later leader epoch",
            v1::FetchAdd {
                leader_epoch: 3,
                ..add(6, topic)
            },
        ),
        (
            "too much credit",
            v1::FetchAdd {
                credit_bytes: u64::MAX,
                ..add(7, topic)
            },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetch() {
    let directory = tempfile::tempdir().expect("directory");
    let mut config = Config::default();
    config.limits.fetch_stream_partitions_max = 1;
    let io = std::sync::Arc::new(DiskIo);
    let broker = Broker::start_with(directory.path(), io, config).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "flights", 1, &[KEEP]).await;
    let mut found = Refusals::default();
    let mut fetcher = Fetcher::open(&channel).await;
    for (case, add) in refused_adds(&topic) {
        fetcher.wish(Wish::Add(add)).await;
        let failed = loop {
            // An offset is judged by the first read, after the news of where the partition stands.
            if let millstream_proto::grpc::v1::fetch_response::Response::Failed(failed) =
                fetcher.answer().await
            {
                break failed;
            }
        };
        found.add(case, failed.error);
    }
    fetcher.wish(Wish::Add(add(10, &topic))).await;
    fetcher.data().await;
    fetcher.wish(Wish::Add(add(11, &topic))).await;
    found.add("one partition too many", fetcher.failed().await.error);
    fetcher.wish(Wish::Add(add(10, &topic))).await;
    let status = fetcher.try_answer().await.expect_err("ends");
    found.add_status("a fetch id that is taken", &status);
    let open = || Wish::Open(v1::FetchOpen::default());
    let strange = v1::FetchOpen {
        isolation_level: 5,
        ..v1::FetchOpen::default()
    };
    for (case, wishes) in [
        ("no FetchOpen", vec![Some(Wish::Add(add(1, &topic)))]),
        ("a second FetchOpen", vec![Some(open()), Some(open())]),
        ("an empty request", vec![Some(open()), None]),
        (
            "an unknown isolation level",
            vec![Some(Wish::Open(strange))],
        ),
    ] {
        let (requests, mut answers) = Fetcher::raw(&channel).await;
        for request in wishes {
            requests
                .send(v1::FetchRequest { request })
                .await
                .expect("sent");
        }
        let status = loop {
            match within(case, answers.message()).await {
                Ok(answer) => assert!(answer.is_some(), "{case} was not refused"),
                Err(status) => break status,
            }
        };
        found.add_status(case, &status);
    }
    insta::assert_snapshot!("fetch", found.0);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets() {
    let directory = tempfile::tempdir().expect("directory");
    let broker = Broker::start(directory.path()).await;
    let channel = connect(broker.address).await;
    let topic = create_topic(&channel, "flights", 1, &[KEEP]).await;
    let mut producer = Producer::open(&channel).await;
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..3 {
        let header = Header::new("h", "v");
        builder
            .append(TIMESTAMP_MS, Some(b"k"), None, &[header])
            .expect("fits");
    }
    producer
        .produce(&topic, builder.finish().expect("batch"))
        .await;
    let mut client = v1::offset_service_client::OffsetServiceClient::new(channel.clone());
    let mut found = Refusals::default();
    let query = |topic_id: &Bytes, partition, spec| v1::OffsetQuery {
        topic_id: topic_id.clone(),
        partition,
        spec,
    };
    let earliest = Some(v1::offset_query::Spec::Earliest(true));
    let queries = vec![
        query(&Bytes::new(), 0, earliest),
        query(&vec![1; 16].into(), 0, earliest),
        query(&topic, 1, earliest),
        query(&topic, 0, None),
    ];
    let request = v1::ListOffsetsRequest {
        isolation_level: 0,
        queries,
    };
    let result = client
        .list_offsets(request)
        .await
        .expect("answered")
        .into_inner();
    for (case, result) in [
        "no id",
        "an unknown id",
        "an unknown partition",
        "no question",
    ]
    .iter()
    .zip(result.results)
    {
        assert_eq!(result.offset, -1);
        found.add(&format!("list offsets: {case}"), result.error);
    }
    for before_offset in [4, -2, i64::MAX] {
        let request = v1::DeleteRecordsRequest {
            items: vec![v1::DeleteRecordsItem {
                topic_id: topic.clone(),
                partition: 0,
                before_offset,
            }],
        };
        let result = client
            .delete_records(request)
            .await
            .expect("answered")
            .into_inner();
        found.add(
            &format!("delete records before {before_offset} of 3"),
            result.results[0].error.clone(),
        );
    }
    insta::assert_snapshot!("offsets", found.0);
    broker.stop().await;
}
