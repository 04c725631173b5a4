//! Every metric of the daemon: what it says, and when an operator has to act.
//!
//! A figure can only be reported under a [`Metric`] of this table, and a row of the table has all of
//! its columns or does not compile; so there is no metric without its documentation.
//! `docs/metrics.md` is this table ([`super::documentation`]).

/// Whether a figure goes both ways, only up, or is many of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up while the daemon runs; shown with `_total` behind its name.
    Counter,
    /// How many are up to each of some bounds: durations. Only goes up while the daemon runs; shown with `_bucket`,
    /// `_sum` and `_count` behind its name.
    Histogram,
}

impl Kind {
    /// The word that Prometheus has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// What a figure is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// How many.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// A share from 0 to 1.
    Ratio,
    /// 1 for yes, 0 for no.
    Flag,
    /// That of the limit.
    AsLabelled,
}

impl Unit {
    /// As the documentation names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
            Self::Ratio => "0 to 1",
            Self::Flag => "0 or 1",
            Self::AsLabelled => "the limit's",
        }
    }
}

/// One metric. Only this table makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
    pub(super) act: &'static str,
}

/// Metrics that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// What they are about.
    pub title: &'static str,
    /// They, in the order in which they are shown.
    pub metrics: &'static [Metric],
}

macro_rules! catalog {
    ($($title:literal {
        $($constant:ident = $name:literal, $kind:ident in $unit:ident $(by $($label:literal),+)?;
          $help:literal; act: $act:literal;)*
    })*) => {
        $($(
            #[doc = $help]
            pub const $constant: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: Unit::$unit,
                labels: &[$($($label),+)?],
                help: $help,
                act: $act,
            };
        )*)*

        /// All of them.
        pub const SECTIONS: &[Section] = &[$(Section {
            title: $title,
            metrics: &[$($constant),*],
        }),*];
    };
}

catalog! {
    "Daemon" {
        BUILD_INFO = "build_info", Gauge in Flag by "version";
            "1, labelled with the version and commit of the daemon";
            act: "when brokers differ for longer than an upgrade takes";
        READY = "ready", Gauge in Flag;
            "1 while the daemon is ready, as /ready says";
            act: "when 0 for longer than a start takes: the log says what it waits for";
        UPTIME = "uptime_seconds", Gauge in Seconds;
            "Time since the daemon started";
            act: "when it falls back and nobody restarted the daemon: the log of the run before says why";
        PANICS = "panics", Counter in Count;
            "Panics; each is a defect";
            act: "at the first: report it with the lines of the log around it";
        LIMIT = "limit", Gauge in AsLabelled by "key";
            "Configured limit, by its key in section limits; those of groups begin with that word";
            act: "never by itself: other figures are compared with it";
    }

    "Process" {
        PROCESS_MEMORY_OWN = "process_memory_own_bytes", Gauge in Bytes;
            "Resident memory of the process's own (RssAnon + RssShmem)";
            act: "when it grows for hours under even load, or nears the memory of the container";
        PROCESS_MEMORY_MAPPED = "process_memory_mapped_bytes", Gauge in Bytes;
            "Resident pages of mapped files (RssFile), which the kernel may drop";
            act: "never: the kernel takes them back when it needs them";
        PROCESS_MEMORY_PEAK = "process_memory_peak_bytes", Gauge in Bytes;
            "Most memory that was ever resident, maps included (VmHWM)";
            act: "never by itself: it tells what the load needed at its worst";
        PROCESS_THREADS = "process_threads", Gauge in Count;
            "Threads";
            act: "when it stays above runtime.data_threads + runtime.blocking_threads_max + 20: requests wait for the disk";
        PROCESS_DESCRIPTORS = "process_descriptors", Gauge in Count;
            "Descriptors that are open";
            act: "above 80 % of process_descriptors_max: raise LimitNOFILE, or lower limits.open_segments_max";
        PROCESS_DESCRIPTORS_MAX = "process_descriptors_max", Gauge in Count;
            "Descriptors that may be open";
            act: "when below limits.open_segments_max + limits.connections_max: raise LimitNOFILE";
        PROCESS_CPU = "process_cpu_seconds", Counter in Seconds;
            "Processor time used, in user and kernel mode";
            act: "when its rate nears the number of processors";
    }

    "Connections" {
        CONNECTIONS = "connections", Gauge in Count;
            "Connections to the native API and the Kafka listener";
            act: "above 80 % of limits.connections_max: find who opens so many, or raise the limit";
        CONNECTIONS_ACCEPTED = "connections_accepted", Counter in Count;
            "Connections to the native API and the Kafka listener that were let in";
            act: "when its rate is high while connections stays low: a client reconnects in a loop";
        CONNECTIONS_REFUSED = "connections_refused", Counter in Count;
            "Connections that were refused because of a limit";
            act: "when it grows: raise limits.connections_max or limits.connections_per_address_max, or stop the client";
    }

    "Kafka clients" {
        KAFKA_REQUESTS = "kafka_requests", Counter in Count by "api";
            "Requests of Kafka clients that were answered";
            act: "when its rate is unusual: find the client, as for connections";
        KAFKA_REQUEST_BYTES = "kafka_request_bytes", Counter in Bytes by "api";
            "Bytes of these requests";
            act: "never by itself: it says what the network carries";
        KAFKA_RESPONSE_BYTES = "kafka_response_bytes", Counter in Bytes by "api";
            "Bytes of their answers";
            act: "never by itself: it says what the network carries";
        KAFKA_SECONDS = "kafka_request_seconds", Histogram in Seconds by "api";
            "Time from a request to its answer; Fetch and JoinGroup wait on purpose";
            act: "when the slowest hundredth of Produce takes longer than your producers bear: look at the flushes of the log";
        KAFKA_ERRORS = "kafka_errors", Counter in Count by "api", "error";
            "Error codes of these answers, one for each topic, partition or group that has one; \
             with some of them, as MEMBER_ID_REQUIRED, a client only finds its way";
            act: "when one grows that clients do not settle by themselves: the error says what to look at";
        KAFKA_REFUSED = "kafka_connections_closed", Counter in Count;
            "Connections that were closed because of what a client sent; the log says what";
            act: "when it grows: something speaks no Kafka, or an API that is not served";
        KAFKA_IDLE = "kafka_connections_idle", Counter in Count;
            "Connections that were closed because nothing came for network.kafka_idle_timeout";
            act: "never by itself: clients connect again; when many at once, their network may lose what they send";
    }

    "Metadata" {
        TOPICS = "topics", Gauge in Count;
            "Topics of the cluster";
            act: "above 80 % of limits.topics_max: delete topics, or raise the limit";
        METADATA_INDEX = "metadata_index", Gauge in Count;
            "Index of the last committed metadata change";
            act: "when it grows all the time: something creates, alters or deletes topics in a loop";
    }

    "Partitions and disk" {
        PARTITIONS = "partitions", Gauge in Count;
            "Partitions of this broker";
            act: "above 80 % of limits.partitions_max: delete topics, or raise the limit";
        PARTITIONS_OFFLINE = "partitions_offline", Gauge in Count;
            "Partitions of this broker that serve nothing; the log says why";
            act: "at once when above 0: see the reason on the first page or in the log, mend the disk, restart";
        FETCHES_PARKED = "fetches_parked", Gauge in Count;
            "Reads that wait for new records";
            act: "never: a parked read costs nothing";
        DISK_FULL = "disk_full", Gauge in Flag;
            "1 while produce is refused because the disk is full";
            act: "at once when 1: free space; produce resumes by itself";
        DISK = "disk_bytes", Gauge in Bytes;
            "Size of the data directory's file system";
            act: "never by itself: disk_available_bytes is compared with it";
        DISK_AVAILABLE = "disk_available_bytes", Gauge in Bytes;
            "Bytes that may still be written there";
            act: "below a tenth of disk_bytes: shorten retention.ms or retention.bytes, or add space";
    }

    "Traffic" {
        PRODUCED_RECORDS = "produced_records", Counter in Count;
            "Records that clients produced, duplicates left out";
            act: "when its rate is 0 and producers should be running";
        PRODUCED_BYTES = "produced_bytes", Counter in Bytes;
            "Bytes of their batches, as they were compressed";
            act: "when its rate nears what the disk can write";
        FETCHED_RECORDS = "fetched_records", Counter in Count;
            "Offsets that clients fetched; what compaction removed counts as if it were there";
            act: "when its rate stays below that of produced_records: readers fall behind";
        FETCHED_BYTES = "fetched_bytes", Counter in Bytes;
            "Bytes of the batches that clients fetched";
            act: "when its rate nears what the network carries";
        TOPIC_PRODUCED_RECORDS = "topic_produced_records", Counter in Count by "topic";
            "Records that clients produced to a topic; gone with the topic";
            act: "when its rate is 0 and the topic's producers should be running";
        TOPIC_PRODUCED_BYTES = "topic_produced_bytes", Counter in Bytes by "topic";
            "Bytes of their batches; gone with the topic";
            act: "never by itself: it tells who fills the disk";
        TOPIC_FETCHED_RECORDS = "topic_fetched_records", Counter in Count by "topic";
            "Offsets that clients fetched of a topic; gone with the topic";
            act: "when its rate is 0 and the topic's consumers should be running";
        TOPIC_FETCHED_BYTES = "topic_fetched_bytes", Counter in Bytes by "topic";
            "Bytes of the batches that clients fetched of it; gone with the topic";
            act: "never by itself: it tells who fills the network";
    }

    "Groups" {
        GROUPS = "groups", Gauge in Count by "type", "state";
            "Groups that this broker coordinates, by kind and state";
            act: "when it grows all the time: clients make up a new group id for each run";
        GROUPS_MOST = "groups_of_coordinator_max", Gauge in Count;
            "Groups of the partition of __consumer_offsets that has most";
            act: "above 80 % of groups.groups_per_partition_max: delete groups, or raise it";
        GROUP_MEMBERS = "group_members", Gauge in Count;
            "Members of all groups";
            act: "when below the number of processes that should run";
        GROUP_MEMBERS_MOST = "group_members_max", Gauge in Count;
            "Members of the group that has most";
            act: "above 80 % of groups.members_max: raise it";
        GROUP_LAG = "group_lag", Gauge in Count by "group", "topic";
            "Records that a group has not committed yet; gone with the group";
            act: "when it grows for as long as you can bear: see group_lag_seconds";
        GROUP_LAG_SECONDS = "group_lag_seconds", Gauge in Seconds by "group", "topic";
            "For how long a log has been longer than the group's commit, where that is longest, as far back as the broker has looked: since its start at most";
            act: "when above what readers promise: add members, up to one per partition, or find the slow one";
        GROUPS_WITHOUT_LAG = "groups_without_lag", Gauge in Count;
            "Groups whose lag is not shown, because groups.lag_metrics_max are";
            act: "when above 0: raise groups.lag_metrics_max, or ask millstream groups describe";
        GROUP_REBALANCES = "group_rebalances", Counter in Count;
            "Rebalances of all groups";
            act: "when its rate stays above what deployments explain: millstream groups describe says why";
        GROUP_MEMBERS_EVICTED = "group_members_evicted", Counter in Count by "reason";
            "Members put out: silent on their stream, gone without a leave, or not giving up what they had to (unrevoked)";
            act: "when silent or unrevoked grow: members hang, or take longer than their timeouts; gone: they die";
        GROUP_COMMITS = "group_commits", Counter in Count;
            "Requests to commit of which offsets were committed";
            act: "when its rate is near that of fetched_records: members commit record by record";
        GROUP_OFFSETS_COMMITTED = "group_offsets_committed", Counter in Count;
            "Offsets committed";
            act: "when its rate is 0 and consumers should be running";
        GROUP_OFFSETS_REFUSED = "group_offsets_refused", Counter in Count;
            "Offsets whose commit was refused, or failed";
            act: "when it grows without rebalances: members commit what they lost, or topics that are gone";
        GROUP_APPENDS = "group_appends", Counter in Count;
            "Batches appended to the offsets topic";
            act: "never by itself: group_append_records is divided by it";
        GROUP_APPEND_RECORDS = "group_append_records", Counter in Count;
            "Records in these";
            act: "never: it tells how many commits share a flush";
        GROUP_ANSWERS_WAITING = "group_answers_waiting", Gauge in Count;
            "Answers and assignments that wait until what they tell of is on the disk";
            act: "when it stays above 0 while log_flushes does not grow: the disk hangs";
        GROUP_FAILURES = "group_coordinator_failures", Counter in Count;
            "Times that a coordinator had to forget its groups, or could not read them";
            act: "at the first: the log says why; members wait meanwhile";
        GROUP_LOADING = "group_coordinators_loading", Gauge in Count;
            "Coordinators that do not know their groups: they are reading them, or failed";
            act: "when above 0 for longer than a minute: the log says which failed, or the disk is slow";
        GROUP_LOADS = "group_coordinator_loads", Counter in Count;
            "Times that a coordinator read its groups";
            act: "never by itself: group_coordinator_load_seconds is divided by it";
        GROUP_LOAD_FAILURES = "group_coordinator_load_failures", Counter in Count;
            "Times that it could not";
            act: "at the first: the log says what is wrong with which record or file";
        GROUP_LOAD_SECONDS = "group_coordinator_load_seconds", Counter in Seconds;
            "Time that loads took";
            act: "when above 1 s per load";
        GROUP_LOAD_LAST = "group_coordinator_load_last_seconds", Gauge in Seconds;
            "Time that the last of them took";
            act: "when above 1 s: its groups wait for so long after each restart";
        GROUP_LOAD_RECORDS = "group_coordinator_load_records", Counter in Count;
            "Records that were read for them";
            act: "when above a million per load: compaction of the offsets topic does not keep up";
    }

    "Log" {
        LOG_APPENDS = "log_appends", Counter in Count;
            "Record batches appended";
            act: "when its rate is near that of produced_records: producers send records one by one, raise their linger";
        LOG_APPEND_BYTES = "log_append_bytes", Counter in Bytes;
            "Bytes of these";
            act: "never by itself: see produced_bytes";
        LOG_APPEND_SECONDS = "log_append_seconds", Counter in Seconds;
            "Time spent in appends";
            act: "when it grows by more than 1 ms per append: the disk or the page cache is short of something";
        LOG_APPEND_MAX = "log_append_max_seconds", Gauge in Seconds;
            "Slowest append since this page was last read";
            act: "when often above log.append_stall: the disk stalls";
        LOG_FLUSHES = "log_flushes", Counter in Count;
            "Flushes of a partition";
            act: "never by itself: log_flush_seconds is divided by it";
        LOG_FLUSH_SECONDS = "log_flush_seconds", Counter in Seconds;
            "Time spent in flushes";
            act: "when it grows by more than 50 ms per flush: acknowledgements of fsync topics wait for this disk";
        LOG_FLUSH_FAILURES = "log_flush_failures", Counter in Count;
            "Flushes that failed; each took its partition offline";
            act: "at the first: the disk lies or fails, replace it";
        LOG_DISK_FULL = "log_disk_full", Counter in Count;
            "Times that the disk became full";
            act: "when it grows: retention leaves too little room";
        LOG_SEGMENTS_REMOVED = "log_segments_removed", Counter in Count;
            "Segments removed by retention, truncation or delete_records";
            act: "never: it tells that retention works";
        LOG_CORRUPT_READS = "log_corrupt_reads", Counter in Count;
            "Batches that a read found corrupt";
            act: "at the first: run millstream log verify on the stopped broker's directory, and look at the disk";
        TAIL_CACHE_HITS = "tail_cache_hits", Counter in Count;
            "Reads answered from the tail cache";
            act: "never by itself: compared with tail_cache_misses";
        TAIL_CACHE_MISSES = "tail_cache_misses", Counter in Count;
            "Reads that went to files";
            act: "when most reads miss though consumers keep up: raise limits.tail_cache_bytes_max";
        TAIL_CACHE_BYTES = "tail_cache_bytes", Gauge in Bytes;
            "Memory of the tail cache";
            act: "never: it is bounded by limits.tail_cache_bytes_max";
        UNFLUSHED_BYTES = "unflushed_bytes", Gauge in Bytes;
            "Bytes appended and not yet flushed";
            act: "when near limits.unflushed_bytes_max: produce waits for the disk";
        OPEN_SEGMENTS = "open_segments", Gauge in Count;
            "Segments with an open file";
            act: "when at limits.open_segments_max and reads are slow: raise the limit and LimitNOFILE";
        MAPPED_BYTES = "mapped_bytes", Gauge in Bytes;
            "Bytes of mapped segments";
            act: "when at limits.mapped_bytes_max while many readers catch up: raise the limit";
    }

    "Compaction" {
        COMPACTIONS = "compactions", Counter in Count;
            "Compaction passes that came to their end";
            act: "when its rate is 0 while compaction_dirty_ratio_max is high";
        COMPACTION_FAILURES = "compaction_failures", Counter in Count;
            "Compaction passes that failed; compaction_failing says where and why";
            act: "when it grows: see compaction_failing";
        COMPACTION_SECONDS = "compaction_seconds", Counter in Seconds;
            "Time spent in compaction passes";
            act: "when its rate is near 1: compaction never rests, raise log.compaction_bytes_per_second";
        COMPACTION_READ_BYTES = "compaction_read_bytes", Counter in Bytes;
            "Bytes that compaction read";
            act: "never by itself: it is part of the disk's load";
        COMPACTION_WRITTEN_BYTES = "compaction_written_bytes", Counter in Bytes;
            "Bytes that compaction wrote";
            act: "when close to compaction_read_bytes: little is superseded, raise min.cleanable.dirty.ratio";
        COMPACTION_REMOVED_RECORDS = "compaction_removed_records", Counter in Count;
            "Records that compaction removed";
            act: "never: it tells that compaction works";
        COMPACTION_DIRTY_RATIO_MAX = "compaction_dirty_ratio_max", Gauge in Ratio;
            "Largest share of a compacted partition that is not compacted yet";
            act: "when it stays above 0.9: compaction does not keep up, raise log.compaction_bytes_per_second or log.compaction_map_bytes";
        COMPACTION_MAP_BYTES = "compaction_map_bytes", Gauge in Bytes;
            "Memory of the keys in the last compaction pass";
            act: "when at log.compaction_map_bytes: each pass covers only a part, raise it";
        COMPACTION_FAILING = "compaction_failing", Gauge in Flag by "partition", "reason";
            "1 for each partition whose last compaction pass failed, with the reason";
            act: "at the first: the reason says what is wrong; the partition grows until it is mended";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn all() -> impl Iterator<Item = &'static Metric> {
        SECTIONS.iter().flat_map(|section| section.metrics)
    }

    #[test]
    fn names_are_unique_and_say_their_unit() {
        let mut names = HashSet::new();
        for metric in all() {
            assert!(names.insert(metric.name), "{} twice", metric.name);
            assert!(!metric.name.ends_with("_total"), "{}", metric.name);
            let says = |unit: &str| metric.name.ends_with(unit);
            assert_eq!(metric.unit == Unit::Bytes, says("bytes"), "{}", metric.name);
            assert_eq!(
                metric.unit == Unit::Seconds,
                says("seconds"),
                "{}",
                metric.name
            );
        }
    }

    #[test]
    fn every_metric_says_what_it_is_and_when_to_act() {
        for metric in all() {
            let first = metric.help.chars().next();
            assert!(first.is_some_and(|c| !c.is_lowercase()), "{}", metric.name);
            assert!(!metric.help.ends_with('.'), "{}", metric.name);
            let act = metric.act;
            let begins = ["when ", "at ", "above ", "below ", "never"];
            assert!(
                begins.iter().any(|word| act.starts_with(word)),
                "{}: {act}",
                metric.name
            );
        }
    }
}
