//! [`Client`]: the clients of the matrix as a table. How each is run is the same for all
//! (`tests/interop/README.md`); what differs is data here.

use std::{path::PathBuf, process::Command};

use super::{install::Installation, record::Loss};

/// All codecs, by Kafka's names, in the order of their numbers.
pub(crate) const CODECS: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];

/// The two versions of Apache Kafka whose Java client and tools are run; the first is also the broker that
/// the run compares with.
pub(crate) const KAFKA: &str = "4.3.1";
pub(crate) const KAFKA_3: &str = "3.9.2";

/// How members of a group are assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Classic,
    /// KIP-848.
    Consumer,
}

/// A call of an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdminCall {
    DescribeProducers,
    DeleteRecords,
    DescribeLogDirs,
    AppendConfig,
    SubtractConfig,
    ListConfigResources,
}

impl AdminCall {
    /// Whether it needs some in its topic.
    pub(crate) fn is_about_records(self) -> bool {
        matches!(
            self,
            Self::DescribeProducers | Self::DeleteRecords | Self::DescribeLogDirs
        )
    }

    /// As the programs name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DescribeProducers => "describe-producers",
            Self::DeleteRecords => "delete-records",
            Self::DescribeLogDirs => "describe-log-dirs",
            Self::AppendConfig => "append-config",
            Self::SubtractConfig => "subtract-config",
            Self::ListConfigResources => "list-config-resources",
        }
    }

    /// As the matrix names it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::DescribeProducers => "DescribeProducers",
            Self::DeleteRecords => "DeleteRecords",
            Self::DescribeLogDirs => "DescribeLogDirs",
            Self::AppendConfig => "append to a config",
            Self::SubtractConfig => "subtract from a config",
            Self::ListConfigResources => "ListConfigResources",
        }
    }
}

/// What a client needs to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    Kcat,
    Python,
    Java(&'static str),
    Node,
    Go,
}

/// One client library.
pub(crate) struct Client {
    /// Its name in the matrix, with its version.
    pub(crate) name: &'static str,
    pub(crate) needs: Needs,
    /// The program in its folder.
    program: &'static str,
    pub(crate) codecs: &'static [&'static str],
    pub(crate) protocols: &'static [Protocol],
    pub(crate) admin: &'static [AdminCall],
    /// What it cannot send, and what it does not tell apart when it reads.
    pub(crate) sends_without: &'static [Loss],
    pub(crate) reads_without: &'static [Loss],
}

const NO_CALL: &[AdminCall] = &[];
const DELETION: &[AdminCall] = &[AdminCall::DeleteRecords];
const CONFIGS: &[AdminCall] = &[
    AdminCall::DeleteRecords,
    AdminCall::AppendConfig,
    AdminCall::SubtractConfig,
];
const SIZES: &[AdminCall] = &[AdminCall::DeleteRecords, AdminCall::DescribeLogDirs];
const ALL_OF_3: &[AdminCall] = &[
    AdminCall::DescribeProducers,
    AdminCall::DeleteRecords,
    AdminCall::DescribeLogDirs,
    AdminCall::AppendConfig,
    AdminCall::SubtractConfig,
];
const ALL_CALLS: &[AdminCall] = &[
    AdminCall::DescribeProducers,
    AdminCall::DeleteRecords,
    AdminCall::DescribeLogDirs,
    AdminCall::AppendConfig,
    AdminCall::SubtractConfig,
    AdminCall::ListConfigResources,
];
const CLASSIC: &[Protocol] = &[Protocol::Classic];
const BOTH: &[Protocol] = &[Protocol::Classic, Protocol::Consumer];

/// Every client, those first that the others are read by.
pub(crate) const CLIENTS: &[Client] = &[
    Client {
        name: "kcat 1.7.1",
        needs: Needs::Kcat,
        program: "kcat_client.py",
        codecs: CODECS,
        protocols: CLASSIC,
        admin: NO_CALL,
        sends_without: &[Loss::Timestamps],
        reads_without: &[],
    },
    Client {
        name: "confluent-kafka 2.16.1",
        needs: Needs::Python,
        program: "confluent_client.py",
        codecs: CODECS,
        protocols: BOTH,
        admin: CONFIGS,
        sends_without: &[],
        reads_without: &[],
    },
    Client {
        name: "java 4.3.1",
        needs: Needs::Java(KAFKA),
        program: "Client",
        codecs: CODECS,
        protocols: BOTH,
        admin: ALL_CALLS,
        sends_without: &[],
        reads_without: &[],
    },
    Client {
        name: "java 3.9.2",
        needs: Needs::Java(KAFKA_3),
        program: "Client",
        codecs: CODECS,
        protocols: BOTH,
        admin: ALL_OF_3,
        sends_without: &[],
        reads_without: &[],
    },
    Client {
        name: "franz-go 1.22.3",
        needs: Needs::Go,
        program: "franz_go",
        codecs: CODECS,
        protocols: BOTH,
        admin: ALL_CALLS,
        sends_without: &[],
        reads_without: &[],
    },
    Client {
        name: "sarama 1.61.1",
        needs: Needs::Go,
        program: "sarama",
        codecs: CODECS,
        protocols: CLASSIC,
        admin: SIZES,
        sends_without: &[],
        reads_without: &[],
    },
    Client {
        name: "kafka-python 3.0.12",
        needs: Needs::Python,
        program: "kafka_python_client.py",
        codecs: CODECS,
        protocols: CLASSIC,
        admin: ALL_CALLS,
        sends_without: &[Loss::NullHeaderValues],
        reads_without: &[],
    },
    Client {
        name: "aiokafka 0.14.0",
        needs: Needs::Python,
        program: "aiokafka_client.py",
        codecs: CODECS,
        protocols: CLASSIC,
        admin: DELETION,
        sends_without: &[],
        reads_without: &[],
    },
    Client {
        name: "KafkaJS 2.2.4",
        needs: Needs::Node,
        program: "client.js",
        codecs: CODECS,
        protocols: CLASSIC,
        admin: DELETION,
        sends_without: &[Loss::HeaderOrder, Loss::NullHeaderValues],
        reads_without: &[Loss::HeaderOrder],
    },
];

impl Client {
    /// Its program with the first of the two commands.
    pub(crate) fn produce(
        &self,
        installation: &Installation,
        server: &str,
        topic: &str,
        codec: &str,
    ) -> Command {
        let mut command = self.command(installation);
        command
            .args(["produce", "--server", server])
            .args(["--topic", topic, "--codec", codec]);
        command
    }

    /// Its program with the second.
    pub(crate) fn consume(
        &self,
        installation: &Installation,
        server: &str,
        subscription: &Subscription<'_>,
    ) -> Command {
        let mut command = self.command(installation);
        command
            .args(["consume", "--server", server])
            .args(["--topics", &subscription.topics.join(",")])
            .args(["--group", subscription.group])
            .args(["--protocol", subscription.protocol.name()]);
        if let Some(count) = subscription.count {
            command.args(["--count", &count.to_string()]);
        }
        command
    }

    /// Whether it can have the broker find topics by a regular expression: Java can since version 4.
    pub(crate) fn has_patterns(&self) -> bool {
        self.needs == Needs::Java(KAFKA)
    }

    /// Its program with the second, for topics whose names match a regular expression.
    pub(crate) fn consume_matching(
        &self,
        installation: &Installation,
        server: &str,
        pattern: &str,
        group: &str,
    ) -> Command {
        let mut command = self.command(installation);
        command
            .args(["consume", "--server", server])
            .args(["--pattern", pattern, "--group", group])
            .args(["--protocol", Protocol::Consumer.name()]);
        command
    }

    /// Its program with the third.
    pub(crate) fn admin(
        &self,
        installation: &Installation,
        server: &str,
        topic: &str,
        call: AdminCall,
    ) -> Command {
        let mut command = self.command(installation);
        command
            .args(["admin", "--server", server])
            .args(["--topic", topic, "--call", call.name()]);
        command
    }

    fn command(&self, installation: &Installation) -> Command {
        let folder = |name: &str| installation.sources().join(name);
        let interpreted = |interpreter: PathBuf, program: PathBuf| {
            let mut command = Command::new(interpreter);
            command.arg(program);
            command
        };
        match self.needs {
            Needs::Kcat => interpreted("python3".into(), folder("kcat").join(self.program)),
            Needs::Python => {
                let program = folder("kafka_python").join(self.program);
                interpreted(installation.python(), program)
            }
            Needs::Java(version) => installation.java(version, self.program),
            Needs::Node => interpreted("node".into(), installation.node().join(self.program)),
            Needs::Go => Command::new(installation.go().join(self.program)),
        }
    }

    /// Its name without spaces, for topics and groups.
    pub(crate) fn id(&self) -> String {
        self.name.replace(' ', "-")
    }
}

/// What a member reads, and as whom.
pub(crate) struct Subscription<'a> {
    pub(crate) topics: &'a [&'a str],
    pub(crate) group: &'a str,
    pub(crate) protocol: Protocol,
    /// After how many records it leaves; without, when it is told to.
    pub(crate) count: Option<usize>,
}

impl Protocol {
    /// The value of `group.protocol`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}
