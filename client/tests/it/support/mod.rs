//! A fake broker: the real gRPC services over a log in memory, with faults that tests inject.

pub(crate) mod control;
pub(crate) mod fetch;
pub(crate) mod log;
pub(crate) mod produce;
pub(crate) mod proxy;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use millstream::{Client, Record};
use millstream_proto::{
    ErrorCode,
    grpc::v1,
    record::{BatchBuilder, BatchOptions},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use log::Log;
use proxy::Proxy;

/// What a test has the broker do with one produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProduceFault {
    None,
    /// Refuse it.
    Refuse(ErrorCode),
    /// Refuse it for good, whatever Kafka says of the code.
    RefuseForGood(ErrorCode),
    /// Write it, and say that nobody knows.
    WriteAndRefuse(ErrorCode),
    /// Write it and break the stream instead of answering.
    WriteAndBreak,
    /// Break the stream without writing it.
    Break,
    /// Neither write nor answer it.
    Ignore,
}

type ProduceHook = Box<dyn FnMut(&v1::ProduceRequest) -> ProduceFault + Send>;

/// One topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: [u8; 16],
    pub(crate) partitions: Vec<Log>,
}

/// What the broker knows.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) last_topic: u8,
    pub(crate) last_producer_id: i64,
    pub(crate) produce_hook: Option<ProduceHook>,
    /// Produce requests as they came: (partition, batch bytes).
    pub(crate) produced: Vec<(i32, Bytes)>,
    /// Frames to send on fetch streams before each of them breaks.
    pub(crate) fetch_frames_before_break: Option<usize>,
    /// Refusals of partitions that are added to fetch streams, one each.
    pub(crate) fetch_refusals: Vec<ErrorCode>,
    /// Credit that the clients have granted, less what was sent, by fetch id.
    pub(crate) largest_sent_ahead: i64,
    /// Fetches that clients have added, in order: (partition, offset).
    pub(crate) fetches_added: Vec<(i32, i64)>,
    pub(crate) leaders: BTreeMap<i32, SocketAddr>,
    /// DescribeTopics requests answered.
    pub(crate) topics_asked: usize,
    /// The largest produce request that is read, 0 for no limit.
    pub(crate) request_bytes_max: u64,
    /// Every answer about topics, offsets and the like waits for this.
    pub(crate) control_held: bool,
    /// Requests that came while they were held.
    pub(crate) control_waited: usize,
}

/// The broker.
pub(crate) struct FakeBroker {
    pub(crate) inner: Arc<Inner>,
    pub(crate) address: SocketAddr,
    pub(crate) proxy: Proxy,
    server: JoinHandle<()>,
}

/// What the services share.
pub(crate) struct Inner {
    state: Mutex<State>,
    pub(crate) changed: watch::Sender<u64>,
    /// While true no acknowledgement is sent.
    pub(crate) acks_held: watch::Sender<bool>,
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn notify(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Waits while a test holds back answers.
    pub(crate) async fn control_gate(&self) {
        let mut changed = self.changed.subscribe();
        if self.state().control_held {
            self.state().control_waited += 1;
            self.notify();
        }
        while self.state().control_held {
            changed.changed().await.unwrap();
        }
    }
}

impl State {
    pub(crate) fn create_topic(&mut self, name: &str, partitions: usize) {
        self.last_topic += 1;
        let partitions = (0..partitions).map(|_| Log::default()).collect();
        self.topics.insert(
            name.to_owned(),
            Topic {
                id: [self.last_topic; 16],
                partitions,
            },
        );
    }

    pub(crate) fn log(&mut self, topic_id: &[u8], partition: i32) -> Result<&mut Log, ErrorCode> {
        let topic = self.topics.values_mut().find(|topic| topic.id == topic_id);
        let topic = topic.ok_or(ErrorCode::UnknownTopicId)?;
        let partition = usize::try_from(partition).unwrap();
        topic
            .partitions
            .get_mut(partition)
            .ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    pub(crate) fn log_of(&mut self, name: &str, partition: usize) -> &mut Log {
        &mut self.topics.get_mut(name).unwrap().partitions[partition]
    }
}

impl FakeBroker {
    /// Starts a broker with a topic `t` of so many partitions.
    pub(crate) async fn start(partitions: usize) -> Self {
        let inner = Arc::new(Inner {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            acks_held: watch::Sender::new(false),
        });
        if partitions > 0 {
            inner.state().create_topic("t", partitions);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let services = tonic::transport::Server::builder()
            .add_service(produce::service(Arc::clone(&inner)))
            .add_service(fetch::service(Arc::clone(&inner)));
        let services = control::add_services(services, Arc::clone(&inner));
        let server = tokio::spawn(async move {
            let incoming =
                tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
            services.serve_with_incoming(incoming).await.unwrap();
        });
        let proxy = Proxy::start(address).await;
        Self {
            inner,
            address,
            proxy,
            server,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state()
    }

    /// Address of the proxy, as clients are to use it.
    pub(crate) fn bootstrap(&self) -> String {
        self.proxy.address.to_string()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.bootstrap()).await.unwrap()
    }

    pub(crate) fn on_produce(
        &self,
        hook: impl FnMut(&v1::ProduceRequest) -> ProduceFault + Send + 'static,
    ) {
        self.state().produce_hook = Some(Box::new(hook));
    }

    /// Does to the first produce requests what `faults` says, and nothing to later ones.
    pub(crate) fn produce_faults(&self, faults: impl IntoIterator<Item = ProduceFault>) {
        let mut faults: std::collections::VecDeque<_> = faults.into_iter().collect();
        self.on_produce(move |_| faults.pop_front().unwrap_or(ProduceFault::None));
    }

    pub(crate) fn hold_acks(&self, hold: bool) {
        self.inner.acks_held.send_replace(hold);
    }

    /// Changes the state and lets everything that waits look again.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.inner.notify();
    }

    /// Appends a batch of these values to a partition of `t`.
    pub(crate) fn append(&self, partition: usize, values: &[&str]) {
        let batch = batch_of(values, BatchOptions::default());
        self.change(|state| {
            state.log_of("t", partition).append_unchecked(&batch);
        });
    }

    pub(crate) fn values(&self, partition: usize) -> Vec<String> {
        self.state().log_of("t", partition).values()
    }

    /// Waits until the state is as wanted.
    pub(crate) async fn until(&self, what: &str, mut wanted: impl FnMut(&mut State) -> bool) {
        let mut changed = self.inner.changed.subscribe();
        let reached = async {
            while !wanted(&mut self.state()) {
                changed.changed().await.unwrap();
            }
        };
        let limit = std::time::Duration::from_secs(20);
        assert!(
            tokio::time::timeout(limit, reached).await.is_ok(),
            "never: {what}"
        );
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Builds a batch of text values.
pub(crate) fn batch_of(values: &[&str], options: BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder
            .append(1_000, None, Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.finish().unwrap()
}

/// A record for partition 0 of `t`.
pub(crate) fn record(value: impl Into<Bytes>) -> Record {
    Record::to("t").partition(0).value(value)
}

pub(crate) fn wire_error(code: ErrorCode) -> v1::Error {
    millstream_proto::grpc::error_to_wire(code, format!("refused with {code}"), String::new())
}

/// A refusal that only a human can end.
pub(crate) fn final_error(code: ErrorCode) -> v1::Error {
    v1::Error {
        retriable: false,
        ..wire_error(code)
    }
}

/// An address where nobody listens.
pub(crate) async fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}
