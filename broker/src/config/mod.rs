//! The daemon's configuration: every key with its type, default and documentation, in one table.
//!
//! Values come from defaults < file < environment < flags ([`load`]). Keys are TOML
//! `section.key_in_snake_case` with typed units ([`value`]); topic defaults keep Kafka's names
//! ([`topic`]). `config/millstreamd.toml` is generated from this table and checked against it.

mod check;
pub mod load;
pub mod render;
pub mod topic;
pub mod value;

use std::{path::PathBuf, time::Duration};

use millstream_engine::group::{AssignorName, MigrationPolicy};
use topic::TopicConfig;
use value::{AdvertisedListener, ByteSize, HostPort, LogFormat, LogLevel, Value};

/// One key of the table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its section; empty for keys at the top of the file.
    pub section: &'static str,
    /// Its name within the section.
    pub name: &'static str,
    /// What it does, one element per line, each with a leading space.
    pub documentation: &'static [&'static str],
    /// What it accepts, for messages.
    pub expected: &'static str,
    /// Its value in a configuration, as TOML.
    pub print: fn(&Config) -> String,
    /// Sets it from text; `false` when the text is not what is expected.
    pub set_text: fn(&mut Config, &str) -> bool,
    /// Sets it from TOML; `false` when the value is not what is expected.
    pub set_toml: fn(&mut Config, &toml::Value) -> bool,
}

impl Key {
    /// `section.name`, or `name` at the top of the file.
    #[must_use]
    pub fn path(&self) -> String {
        if self.section.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}.{}", self.section, self.name)
        }
    }
}

/// Stores what was read; `false` when nothing could be.
fn store<T>(place: &mut T, read: Option<T>) -> bool {
    read.map(|value| *place = value).is_some()
}

macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident $path:literal $Section:ident {
            $($(#[doc = $doc:literal])* $key:ident: $type:ty = $default:expr;)*
        }
    )*) => {
        $(
            $(#[doc = $section_doc])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $Section {
                $($(#[doc = $doc])* pub $key: $type,)*
            }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $($key: $default,)* }
                }
            }
        )*

        /// Everything that can be configured.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Config {
            $($(#[doc = $section_doc])* pub $section: $Section,)*
            /// Defaults of topics, under Kafka's names: section `topics.config`.
            pub topic_config: TopicConfig,
        }

        /// Every key except those of `topics.config`, in the order of the file.
        pub const KEYS: &[Key] = &[$($(Key {
            section: $path,
            name: stringify!($key),
            documentation: &[$($doc),*],
            expected: <$type as Value>::EXPECTED,
            print: |config| config.$section.$key.to_toml(),
            set_text: |config, text| store(&mut config.$section.$key, Value::from_text(text)),
            set_toml: |config, value| store(&mut config.$section.$key, Value::from_toml(value)),
        },)*)*];

        /// Sections in the order of the file, with their documentation.
        pub const SECTIONS: &[(&str, &[&str])] = &[$(($path, &[$($section_doc),*]),)*];
    };
}

sections! {
    /// The daemon itself.
    daemon "" Daemon {
        /// Directory for all data; created when missing. Relative to the working directory.
        data_dir: PathBuf = PathBuf::from("./millstream-data");
        /// How long a SIGTERM may take until everything is flushed and the process is gone; longer while
        /// partitions get closed, of which each so often at least one must be.
        shutdown_timeout: Duration = Duration::from_secs(5);
    }

    /// Who this broker is in its cluster.
    node "node" Node {
        /// Broker id, at least 0. Fixed once the data directory exists.
        id: i32 = 1;
        /// Failure domain, for instance a zone; empty for none.
        rack: String = String::new();
    }

    /// Addresses.
    listeners "listeners" Listeners {
        /// Where the native API (gRPC) listens. Port 0 lets the system choose.
        native_address: HostPort = HostPort::new("127.0.0.1", 9192);
        /// Where clients reach the native API, when that is not native_address.
        native_advertised: Option<HostPort> = None;
        /// Where Kafka clients are served. Port 0 lets the system choose.
        kafka_address: HostPort = HostPort::new("127.0.0.1", 9092);
        /// Where Kafka clients reach it, when that is not kafka_address.
        kafka_advertised: Option<HostPort> = None;
        /// Further Kafka listeners, each as BIND=ADVERTISED, with commas between: clients are told the advertised
        /// address of the listener that they came through, so that those of several networks reach this broker. For
        /// instance "0.0.0.0:9093=broker.internal:9093" for clients inside of a container network, where
        /// kafka_advertised is what those outside of it connect to.
        kafka_more: Vec<AdvertisedListener> = Vec::new();
        /// Where the first page, /live, /ready and /metrics are served over HTTP.
        http_address: HostPort = HostPort::new("127.0.0.1", 9292);
    }

    /// Threads.
    runtime "runtime" Runtime {
        /// Threads that serve produce and fetch; 0 for one per processor.
        data_threads: u16 = 0;
        /// Most threads that wait for the disk on behalf of requests; they end when idle.
        blocking_threads_max: u16 = 32;
    }

    /// Bounds on what clients and topics may take. Each has a metric.
    limits "limits" Limits {
        /// Connections to the native API and all Kafka listeners at once.
        connections_max: u32 = 10_000;
        /// Of these, connections from one address.
        connections_per_address_max: u32 = 5_000;
        /// Connections to the HTTP listener at once.
        http_connections_max: u32 = 64;
        /// Streams and calls at once on one connection.
        streams_per_connection_max: u32 = 256;
        /// Largest request, and largest message of a stream.
        request_bytes_max: ByteSize = ByteSize::mib(32);
        /// Bytes of all requests that are being worked on.
        in_flight_bytes_max: ByteSize = ByteSize::mib(256);
        /// Memory for what is decoded at length, all of it together: large batches of topics with a
        /// compression.type or compaction, and searches by time. What finds none left waits.
        decoding_bytes_max: ByteSize = ByteSize::mib(32);
        /// Unacknowledged bytes of one produce stream or Kafka connection; then it is not read until some are.
        produce_stream_bytes_max: ByteSize = ByteSize::mib(8);
        /// Unacknowledged batches of one produce stream; then it is not read until some are.
        produce_stream_batches_max: u32 = 4_096;
        /// Credit that one partition of a fetch stream may hold.
        fetch_partition_credit_bytes_max: ByteSize = ByteSize::mib(8);
        /// Credit that all partitions of one fetch stream may hold.
        fetch_stream_credit_bytes_max: ByteSize = ByteSize::mib(64);
        /// Partitions of one fetch stream.
        fetch_stream_partitions_max: u32 = 10_000;
        /// Requests of one Kafka connection that are worked on at once; then it is not read until some are
        /// answered.
        kafka_requests_in_flight_max: u32 = 64;
        /// Bytes of one answer to a Kafka fetch request, whatever it asks for.
        fetch_response_bytes_max: ByteSize = ByteSize::mib(64);
        /// Fetch sessions of Kafka clients that are remembered; further clients name all their partitions in
        /// each request.
        fetch_sessions_max: u32 = 1_000;
        /// Topics of the cluster.
        topics_max: u32 = 10_000;
        /// Partitions of all topics.
        partitions_max: u32 = 100_000;
        /// Partitions of one topic.
        partitions_per_topic_max: u32 = 10_000;
        /// Segment files that are open at once; the least recently used idle ones are closed.
        open_segments_max: u32 = 4_096;
        /// Bytes of segments that are mapped at once; the least recently used are unmapped.
        mapped_bytes_max: ByteSize = ByteSize::gib(4);
        /// Recent batches that are kept in memory for readers at the tail.
        tail_cache_bytes_max: ByteSize = ByteSize::mib(32);
        /// Bytes that are appended and not yet flushed; beyond, produce waits for the disk.
        unflushed_bytes_max: ByteSize = ByteSize::mib(256);
    }

    /// Connections.
    network "network" Network {
        /// A connection that takes no byte for this long while there is something to send is closed.
        send_stall_timeout: Duration = Duration::from_secs(30);
        /// How often an idle connection is asked whether it lives.
        keepalive_interval: Duration = Duration::from_secs(30);
        /// How long it may take to answer.
        keepalive_timeout: Duration = Duration::from_secs(20);
        /// A Kafka connection from which no byte came for this long while none of its requests was worked on is
        /// closed.
        kafka_idle_timeout: Duration = Duration::from_mins(10);
    }

    /// The partitions' logs.
    log "log" Log {
        /// Most that a topic with millstream.durability=replicated can lose to a power cut.
        flush_interval: Duration = Duration::from_secs(1);
        /// Files that are flushed in parallel at most; one per processor while a flush takes less than 250 us.
        flush_threads: u16 = 8;
        /// Disk space held back for metadata, checkpoints and deletion when the disk is full.
        disk_reserve: ByteSize = ByteSize::mib(64);
        /// When appends take longer than this, they leave the threads that serve other clients.
        append_stall: Duration = Duration::from_millis(50);
        /// How often retention is checked.
        retention_check_interval: Duration = Duration::from_mins(5);
        /// How often compacted topics are looked at for what to compact.
        compaction_check_interval: Duration = Duration::from_secs(15);
        /// Memory for the keys of one compaction pass; what does not fit waits for the next pass.
        compaction_map_bytes: ByteSize = ByteSize::mib(64);
        /// Bytes that compaction reads and writes per second; 0B for as many as it can. More makes producers wait
        /// longer beside a pass: docs/testing.md has what was measured.
        compaction_bytes_per_second: ByteSize = ByteSize::mib(48);
        /// How far the recovery point may trail what is flushed, in time.
        recovery_point_interval: Duration = Duration::from_secs(1);
        /// How far the recovery point may trail what is flushed, in bytes.
        recovery_point_bytes: ByteSize = ByteSize::mib(64);
        /// Threads that open and close partitions; 0 for log.flush_threads or one per processor, whichever is more.
        recovery_threads: u16 = 0;
        /// A partition that nobody used for this long gives back its files and spare disk space.
        idle_timeout: Duration = Duration::from_mins(1);
        /// How long a producer id is remembered after its last batch.
        producer_id_expiration: Duration = Duration::from_hours(24);
    }

    /// The metadata log.
    metadata "metadata" Metadata {
        /// A snapshot replaces the log once it has grown by this much.
        snapshot_bytes: ByteSize = ByteSize::mib(4);
        /// Disk space reserved ahead of the log's end.
        preallocate_bytes: ByteSize = ByteSize::mib(1);
        /// Changes that wait to be committed; beyond, further ones wait to be queued.
        proposals_queued_max: u32 = 1_024;
        /// Producer ids that are made durable at a time.
        producer_id_block: u32 = 1_000;
    }

    /// Consumer groups and their committed offsets. The metric limit shows each bound.
    groups "groups" Groups {
        /// Partitions of the topic __consumer_offsets; fixed once the first group has created it.
        offsets_topic_partitions: u32 = 50;
        /// How long committed offsets outlive the last use of their group.
        offsets_retention: Duration = Duration::from_hours(7 * 24);
        /// How often offsets are looked at for whether they expired.
        offsets_expiry_check_interval: Duration = Duration::from_mins(10);
        /// Expired offsets that are deleted at a time.
        offsets_expired_at_once_max: u32 = 1_000;
        /// Text beside a committed offset.
        offset_metadata_bytes_max: ByteSize = ByteSize::kib(4);
        /// Groups of one partition of __consumer_offsets.
        groups_per_partition_max: u32 = 100_000;
        /// Members of one group.
        members_max: u32 = 1_000;
        /// How long a member may be silent that does not say so itself.
        session_timeout: Duration = Duration::from_secs(45);
        /// Shortest session that a member may ask for.
        session_timeout_min: Duration = Duration::from_secs(1);
        /// Longest session that a member may ask for.
        session_timeout_max: Duration = Duration::from_mins(30);
        /// How long a member may take to give up partitions that does not say so itself.
        rebalance_timeout: Duration = Duration::from_mins(5);
        /// Shortest such time that a member may ask for.
        rebalance_timeout_min: Duration = Duration::from_secs(1);
        /// Longest such time that a member may ask for.
        rebalance_timeout_max: Duration = Duration::from_hours(1);
        /// How often a member shows that it is alive; three times a session where that is shorter.
        heartbeat_interval: Duration = Duration::from_secs(5);
        /// How long a member whose stream broke may take to come back, if its session is longer.
        reconnect_grace: Duration = Duration::from_secs(1);
        /// uniform, range or sticky: for groups whose members name none.
        assignor: AssignorName = AssignorName::Uniform;
        /// disabled, upgrade, downgrade or bidirectional: whether a group with members goes from the classic
        /// protocol to that of KIP-848, or back.
        migration: MigrationPolicy = MigrationPolicy::Bidirectional;
        /// Shortest session that a member of a classic group may ask for.
        classic_session_timeout_min: Duration = Duration::from_secs(6);
        /// Longest session that a member of a classic group may ask for.
        classic_session_timeout_max: Duration = Duration::from_mins(30);
        /// How long a classic group that was empty waits for more members.
        initial_rebalance_delay: Duration = Duration::from_secs(3);
        /// How long a new member of a classic group waits for its first generation.
        classic_first_join_timeout: Duration = Duration::from_mins(5);
        /// Protocols that a member of a classic group may name.
        classic_protocols_max: u32 = 100;
        /// What a member of a classic group may say for them.
        classic_metadata_bytes_max: ByteSize = ByteSize(1_000_000);
        /// What all members of a classic group may say and be assigned: it is kept in one record.
        classic_group_bytes_max: ByteSize = ByteSize(1_000_000);
        /// Topics that one member may name.
        subscription_topics_max: u32 = 10_000;
        /// Regular expression that one member may subscribe with.
        regex_bytes_max: ByteSize = ByteSize(1_000);
        /// Memory of such an expression once it is compiled.
        regex_program_bytes_max: ByteSize = ByteSize::mib(1);
        /// Id of a group, member, instance, rack or client.
        id_bytes_max: ByteSize = ByteSize(255);
        /// Rebalances that a group remembers.
        rebalances_kept: u16 = 16;
        /// Answers that wait for a member to read them; then its stream is broken.
        member_answers_max: u32 = 64;
        /// Commits of one stream that wait to be durable; then it is not read until some are.
        commit_stream_requests_max: u32 = 256;
        /// Offsets in these.
        commit_stream_offsets_max: u32 = 10_000;
        /// Partitions of __consumer_offsets that are loaded at once.
        load_threads: u16 = 2;
        /// How long after a failure a partition of __consumer_offsets is loaded again; longer each time.
        reload_backoff: Duration = Duration::from_secs(1);
        /// How often the ends of logs are looked at to tell lag in time.
        lag_sample_interval: Duration = Duration::from_secs(1);
        /// Such samples that are kept of a partition; older ones are thinned out.
        lag_samples_max: u16 = 64;
        /// Metrics of lag, one per group and topic; further groups have none.
        lag_metrics_max: u32 = 1_000;
    }

    /// What the daemon logs about itself, on standard error.
    logs "logs" Logs {
        /// text or json.
        format: LogFormat = LogFormat::Text;
        /// The least important lines: error, warn, info, debug or trace.
        level: LogLevel = LogLevel(tracing::Level::INFO);
        /// A message that repeats is logged once per this time, with a count.
        repeat_interval: Duration = Duration::from_secs(10);
    }

    /// Topics that are created without saying otherwise.
    topics "topics" Topics {
        /// Partitions of a new topic.
        partitions: u32 = 1;
        /// Replicas of each of its partitions.
        replication_factor: u16 = 1;
        /// Whether a topic is created when a Kafka client asks for one that does not exist.
        auto_create: bool = true;
    }
}

/// The candidate that is spelled most like `found`, when it is close enough to be meant.
#[must_use]
pub fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Beyond this length a name is no misspelling of a key; it bounds the work.
    const FOUND_CHARS_MAX: usize = 64;
    if found.chars().count() > FOUND_CHARS_MAX {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(found, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
