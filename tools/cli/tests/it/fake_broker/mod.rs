//! A fake broker for commands about groups: the real gRPC services over topics and groups in memory.
//!
//! A group gives all partitions to the first member, and to later ones what a test says.

mod fetch;
mod groups;
mod topics;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use millstream_proto::{
    ErrorCode, Offset,
    grpc::v1,
    record::{BatchBuilder, BatchOptions},
};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};
use tonic::transport::{Server, server::TcpIncoming};

/// A partition: a batch for each append.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) log_start_offset: i64,
    pub(crate) log_end_offset: i64,
    /// Base offset, timestamp of all records, and bytes.
    pub(crate) batches: Vec<(i64, i64, Bytes)>,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Bytes,
    pub(crate) partitions: Vec<Partition>,
}

/// A topic and a partition.
pub(crate) type Place = (String, i32);

#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) members: Vec<v1::GroupMember>,
    /// Offset and metadata.
    pub(crate) committed: BTreeMap<Place, (i64, String)>,
    pub(crate) lag_ms: BTreeMap<Place, i64>,
    /// Places of which that is the least that it may be.
    pub(crate) lag_ms_minima: BTreeSet<Place>,
    pub(crate) rebalances: Vec<v1::Rebalance>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) clients: Vec<v1::ClientConnection>,
    /// Requests to create topics, which are never answered.
    pub(crate) creations_asked: usize,
}

/// What the services share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changed.send_replace(());
        result
    }
}

type Answer<T> = Result<tonic::Response<T>, tonic::Status>;

fn answer<T>(message: T) -> Answer<T> {
    Ok(tonic::Response::new(message))
}

fn error(code: ErrorCode, message: impl Into<String>) -> Option<v1::Error> {
    let hint = String::new();
    Some(millstream_proto::grpc::error_to_wire(
        code,
        message.into(),
        hint,
    ))
}

impl State {
    pub(crate) fn create_topic(&mut self, name: &str, partitions: usize) {
        let id = u8::try_from(self.topics.len() + 1).unwrap();
        let topic = Topic {
            id: Bytes::copy_from_slice(&[id; 16]),
            partitions: (0..partitions).map(|_| Partition::default()).collect(),
        };
        self.topics.insert(name.to_owned(), topic);
    }

    pub(crate) fn append(&mut self, topic: &str, partition: usize, time: i64, values: &[&str]) {
        let partition = &mut self.topics.get_mut(topic).unwrap().partitions[partition];
        let base_offset = partition.log_end_offset;
        let mut batch = BatchBuilder::new(BatchOptions {
            base_offset: Offset::new(base_offset).unwrap(),
            ..BatchOptions::default()
        });
        for value in values {
            batch
                .append(time, None, Some(value.as_bytes()), &[])
                .unwrap();
        }
        let batch = batch.finish().unwrap();
        partition.batches.push((base_offset, time, batch));
        partition.log_end_offset += i64::try_from(values.len()).unwrap();
    }

    pub(crate) fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_default()
    }

    /// Committed offsets of a group by partition of `topic`.
    pub(crate) fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let committed = self.groups.get(group).map(|group| &group.committed);
        let of_topic = committed
            .into_iter()
            .flatten()
            .filter(|(place, _)| place.0 == topic);
        of_topic
            .map(|(place, (offset, _))| (place.1, *offset))
            .collect()
    }

    fn topic_of_id(&self, id: &[u8]) -> Option<(&String, &Topic)> {
        self.topics.iter().find(|(_, topic)| topic.id == id)
    }

    fn partition(&self, id: &[u8], partition: i32) -> Option<&Partition> {
        let (_, topic) = self.topic_of_id(id)?;
        topic.partitions.get(usize::try_from(partition).ok()?)
    }
}

/// The broker.
pub(crate) struct FakeBroker {
    shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
    /// The server ends with it.
    runtime: Runtime,
}

impl FakeBroker {
    /// Starts a broker with a topic `flights` of so many partitions.
    pub(crate) fn start(partitions: usize) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        shared.state().create_topic("flights", partitions);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder()
            .add_service(topics::cluster(Arc::clone(&shared)))
            .add_service(topics::topics(Arc::clone(&shared)))
            .add_service(topics::offsets(Arc::clone(&shared)))
            .add_service(fetch::service(Arc::clone(&shared)))
            .add_service(groups::service(Arc::clone(&shared)));
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        runtime.spawn(server.serve_with_incoming(incoming));
        Self {
            shared,
            address,
            runtime,
        }
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.shared.change(change)
    }

    pub(crate) fn append(&self, partition: usize, values: &[&str]) {
        self.change(|state| state.append("flights", partition, 1_357_034_400_000, values));
    }

    /// A command that talks to this broker.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command
            .args(line.split(' '))
            .env("MILLSTREAM_SERVER", self.address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Standard output of a command that ends with 0.
    pub(crate) fn stdout(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.stdout(&format!("{line} --output json"))).unwrap()
    }

    /// A command that ends with 2 and prints nothing, with what it said.
    pub(crate) fn refusal(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(2), "{line}: {output:?}");
        assert!(output.stdout.is_empty(), "{line}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        format!("$ millstream {line}\n{said}")
    }

    /// Waits until the state is as wanted.
    pub(crate) fn until(&self, what: &str, mut wanted: impl FnMut(&State) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let reached = async {
            while !wanted(&self.shared.state()) {
                changed.changed().await.unwrap();
            }
        };
        let in_time = async { tokio::time::timeout(Duration::from_secs(20), reached).await };
        assert!(self.runtime.block_on(in_time).is_ok(), "never: {what}");
    }
}
