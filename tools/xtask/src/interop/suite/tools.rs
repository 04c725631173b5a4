//! The command-line tools of Apache Kafka, one after the other on one topic and its groups: a table of what is
//! called, and of what it must print.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use super::describe;
use crate::interop::{bench::Bench, client::KAFKA_3, matrix::Table, program};

/// One call of a tool. `{server}`, `{topic}`, `{group}` and `{file}` stand for what the run chooses.
struct Call {
    tool: &'static Tool,
    /// What the row says beside the tool's name.
    what: &'static str,
    arguments: &'static [&'static str],
    input: &'static str,
    /// What its output contains, and what it does not.
    prints: &'static [&'static str],
    never: &'static [&'static str],
}

/// A tool and the class that its script starts, in Kafka 4 and in Kafka 3, where it is there.
struct Tool {
    name: &'static str,
    class: &'static str,
    class_3: Option<&'static str>,
}

const fn tool(name: &'static str, class: &'static str) -> Tool {
    Tool {
        name,
        class,
        class_3: Some(class),
    }
}

const TOPICS: Tool = tool("kafka-topics", "org.apache.kafka.tools.TopicCommand");
const PRODUCER: Tool = Tool {
    class_3: Some("kafka.tools.ConsoleProducer"),
    ..tool(
        "kafka-console-producer",
        "org.apache.kafka.tools.ConsoleProducer",
    )
};
const CONSUMER: Tool = tool(
    "kafka-console-consumer",
    "org.apache.kafka.tools.consumer.ConsoleConsumer",
);
const CONSUMER_GROUPS: Tool = tool(
    "kafka-consumer-groups",
    "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
);
const GROUPS: Tool = Tool {
    class_3: None,
    ..tool("kafka-groups", "org.apache.kafka.tools.GroupsCommand")
};
const CONFIGS: Tool = tool("kafka-configs", "kafka.admin.ConfigCommand");
/// Kafka 3's tool knows no configuration of groups.
const CONFIGS_OF_GROUPS: Tool = Tool {
    class_3: None,
    ..CONFIGS
};
const OFFSETS: Tool = tool("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell");
const DELETE_RECORDS: Tool = tool(
    "kafka-delete-records",
    "org.apache.kafka.tools.DeleteRecordsCommand",
);
const LOG_DIRS: Tool = tool("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand");
const PRODUCER_PERF: Tool = tool(
    "kafka-producer-perf-test",
    "org.apache.kafka.tools.ProducerPerformance",
);
const CONSUMER_PERF: Tool = tool(
    "kafka-consumer-perf-test",
    "org.apache.kafka.tools.ConsumerPerformance",
);
const VERIFIABLE_PRODUCER: Tool = tool(
    "kafka-verifiable-producer",
    "org.apache.kafka.tools.VerifiableProducer",
);
const VERIFIABLE_CONSUMER: Tool = tool(
    "kafka-verifiable-consumer",
    "org.apache.kafka.tools.VerifiableConsumer",
);
const API_VERSIONS: Tool = Tool {
    class_3: Some("kafka.admin.BrokerApiVersionsCommand"),
    ..tool(
        "kafka-broker-api-versions",
        "org.apache.kafka.tools.BrokerApiVersionsCommand",
    )
};
const CLUSTER: Tool = tool("kafka-cluster", "org.apache.kafka.tools.ClusterTool");
const FEATURES: Tool = tool("kafka-features", "org.apache.kafka.tools.FeatureCommand");

/// A call without input, to a broker that is named as most tools want it.
const fn call(
    tool: &'static Tool,
    what: &'static str,
    arguments: &'static [&'static str],
    prints: &'static [&'static str],
) -> Call {
    Call {
        tool,
        what,
        arguments,
        input: "",
        prints,
        never: &[],
    }
}

/// Three records with headers, of which one has no value.
const INPUT: &str = "h:1,h:2\tkey 1\tvalue 1\nh:3\tkey 2\tvalue 2\nh:4\tkey 1\tNULL\n";
const OUTPUT: &[&str] = &[
    "h:1,h:2\tkey 1\tvalue 1\n",
    "h:3\tkey 2\tvalue 2\n",
    "h:4\tkey 1\tnull\n",
];
/// Reads those three as a member of a group.
macro_rules! read {
    ($($member:literal),+) => {
        &[
            "--topic={topic}",
            "--from-beginning",
            "--max-messages=3",
            "--timeout-ms=60000",
            "--property=print.key=true",
            "--property=print.headers=true",
            $($member),+
        ]
    };
}
const READ: &[&str] = read!["--group={group}"];
const READ_848: &[&str] = read![
    "--group={group}-848",
    "--consumer-property=group.protocol=consumer"
];

const CALLS: &[Call] = &[
    call(
        &TOPICS,
        "--create",
        &[
            "--create",
            "--topic={topic}",
            "--partitions=3",
            "--replication-factor=1",
            "--config=retention.ms=3600000",
        ],
        &["Created topic {topic}."],
    ),
    call(
        &TOPICS,
        "--describe",
        &["--describe", "--topic={topic}"],
        &["PartitionCount: 3", "retention.ms=3600000", "Partition: 2"],
    ),
    call(
        &TOPICS,
        "--alter",
        &["--alter", "--topic={topic}", "--partitions=4"],
        &[],
    ),
    call(&TOPICS, "--list", &["--list"], &["{topic}\n"]),
    Call {
        input: INPUT,
        ..call(
            &PRODUCER,
            "zstd, keys, headers, null",
            &[
                "--topic={topic}",
                "--property=parse.key=true",
                "--property=parse.headers=true",
                "--property=null.marker=NULL",
                "--compression-codec=zstd",
            ],
            &[],
        )
    },
    call(&CONSUMER, "in a group", READ, OUTPUT),
    call(&CONSUMER, "in a group, KIP-848", READ_848, OUTPUT),
    call(
        &CONSUMER_GROUPS,
        "--list",
        &["--list"],
        &["{group}\n", "{group}-848\n"],
    ),
    call(
        &CONSUMER_GROUPS,
        "--list --state --type",
        &["--list", "--state", "--type"],
        &["{group}", "Classic", "Consumer", "Empty"],
    ),
    call(
        &CONSUMER_GROUPS,
        "--describe",
        &["--describe", "--group={group}"],
        &["CURRENT-OFFSET", "{topic}"],
    ),
    call(
        &CONSUMER_GROUPS,
        "--describe, KIP-848",
        &["--describe", "--group={group}-848"],
        &["CURRENT-OFFSET", "{topic}"],
    ),
    call(
        &CONSUMER_GROUPS,
        "--describe --state",
        &["--describe", "--state", "--group={group}"],
        &["Empty"],
    ),
    call(
        &CONSUMER_GROUPS,
        "--reset-offsets --to-earliest",
        &[
            "--reset-offsets",
            "--to-earliest",
            "--execute",
            "--topic={topic}",
            "--group={group}",
        ],
        &["NEW-OFFSET", "{topic}"],
    ),
    call(&CONSUMER, "after the reset", READ, OUTPUT),
    call(
        &CONSUMER_GROUPS,
        "--reset-offsets --to-datetime",
        &[
            "--reset-offsets",
            "--to-datetime=2020-01-01T00:00:00.000",
            "--dry-run",
            "--all-topics",
            "--group={group}",
        ],
        &["NEW-OFFSET", "{topic}"],
    ),
    call(
        &CONSUMER_GROUPS,
        "--delete-offsets",
        &["--delete-offsets", "--topic={topic}", "--group={group}"],
        &["Request succeed", "Successful"],
    ),
    call(
        &CONSUMER_GROUPS,
        "--delete",
        &["--delete", "--group={group}-848"],
        &["Deletion of requested consumer groups ('{group}-848') was successful."],
    ),
    call(&GROUPS, "--list", &["--list"], &["GROUP", "PROTOCOL"]),
    call(
        &CONFIGS,
        "--alter a topic",
        &[
            "--alter",
            "--entity-type=topics",
            "--entity-name={topic}",
            "--add-config=max.message.bytes=2000000",
        ],
        &["Completed updating config for topic {topic}."],
    ),
    call(
        &CONFIGS,
        "--describe a topic",
        &[
            "--describe",
            "--entity-type=topics",
            "--entity-name={topic}",
        ],
        &["max.message.bytes=2000000", "retention.ms=3600000"],
    ),
    call(
        &CONFIGS,
        "--alter a topic, delete",
        &[
            "--alter",
            "--entity-type=topics",
            "--entity-name={topic}",
            "--delete-config=max.message.bytes",
        ],
        &["Completed updating config for topic {topic}."],
    ),
    call(
        &CONFIGS_OF_GROUPS,
        "--describe a group",
        &[
            "--describe",
            "--entity-type=groups",
            "--entity-name={group}",
            "--all",
        ],
        &["consumer.session.timeout.ms=10000"],
    ),
    call(
        &CONFIGS,
        "--alter a broker",
        &[
            "--alter",
            "--entity-type=brokers",
            "--entity-name=1",
            "--add-config=message.max.bytes=2000000",
        ],
        &["Completed updating config for broker 1."],
    ),
    call(
        &CONFIGS,
        "--describe a broker",
        &[
            "--describe",
            "--entity-type=brokers",
            "--entity-name=1",
            "--all",
        ],
        &[
            "offsets.topic.num.partitions=50",
            "message.max.bytes=2000000",
        ],
    ),
    call(
        &CONFIGS,
        "--alter a broker, delete",
        &[
            "--alter",
            "--entity-type=brokers",
            "--entity-name=1",
            "--delete-config=message.max.bytes",
        ],
        &["Completed updating config for broker 1."],
    ),
    call(
        &CONFIGS,
        "--alter all brokers",
        &[
            "--alter",
            "--entity-type=brokers",
            "--entity-default",
            "--add-config=log.retention.ms=604800000",
        ],
        &["Completed updating default config for brokers in the cluster."],
    ),
    call(
        &CONFIGS,
        "--describe all brokers",
        &["--describe", "--entity-type=brokers", "--entity-default"],
        &[
            "log.retention.ms=604800000",
            "DYNAMIC_DEFAULT_BROKER_CONFIG",
        ],
    ),
    call(
        &CONFIGS,
        "--alter all brokers, delete",
        &[
            "--alter",
            "--entity-type=brokers",
            "--entity-default",
            "--delete-config=log.retention.ms",
        ],
        &["Completed updating default config for brokers in the cluster."],
    ),
    call(
        &PRODUCER_PERF,
        "",
        &[
            "--topic={topic}",
            "--num-records=20000",
            "--record-size=200",
            "--throughput=-1",
            "--producer-props",
            "bootstrap.servers={server}",
            "acks=all",
        ],
        &["20000 records sent"],
    ),
    Call {
        never: &["WARNING"],
        ..call(
            &CONSUMER_PERF,
            "",
            &["--topic={topic}", "--messages=20000", "--timeout=60000"],
            &["data.consumed.in.MB"],
        )
    },
    call(
        &OFFSETS,
        "latest",
        &["--topic={topic}"],
        &["{topic}:0:", "{topic}:3:"],
    ),
    call(
        &OFFSETS,
        "earliest",
        &["--topic={topic}", "--time=earliest"],
        &["{topic}:0:0", "{topic}:3:0"],
    ),
    call(
        &OFFSETS,
        "max-timestamp",
        &["--topic={topic}", "--time=max-timestamp"],
        &["{topic}:0:"],
    ),
    call(
        &DELETE_RECORDS,
        "",
        &["--offset-json-file={file}"],
        &["{topic}-0\tlow_watermark: 1"],
    ),
    call(
        &OFFSETS,
        "earliest, after deletion",
        &["--topic={topic}", "--time=-2"],
        &["{topic}:0:1", "{topic}:3:0"],
    ),
    call(
        &LOG_DIRS,
        "--describe",
        &["--describe", "--topic-list={topic}"],
        &["\"partition\":\"{topic}-0\"", "\"error\":null"],
    ),
    call(
        &VERIFIABLE_PRODUCER,
        "",
        &["--topic={topic}-verifiable", "--max-messages=500"],
        &["\"sent\":500,\"acked\":500"],
    ),
    call(
        &VERIFIABLE_CONSUMER,
        "",
        &[
            "--topic={topic}-verifiable",
            "--group-id={group}-verifiable",
            "--max-messages=500",
            "--reset-policy=earliest",
        ],
        &[
            "\"name\":\"offsets_committed\"",
            "\"name\":\"shutdown_complete\"",
        ],
    ),
    call(
        &API_VERSIONS,
        "",
        &[],
        &["Produce(0)", "Fetch(1)", "ConsumerGroupHeartbeat(68)"],
    ),
    call(&CLUSTER, "cluster-id", &["cluster-id"], &["Cluster ID: "]),
    call(&FEATURES, "describe", &["describe"], &["group.version"]),
    call(&TOPICS, "--delete", &["--delete", "--topic={topic}"], &[]),
    Call {
        never: &["{topic}\n"],
        ..call(
            &TOPICS,
            "--list, after deletion",
            &["--list"],
            &["{topic}-verifiable\n"],
        )
    },
];

/// Runs all calls with the tools of each version that is asked for.
pub(crate) fn run(bench: &mut Bench<'_>) {
    for version in bench.selection.tools {
        for call in CALLS {
            let Some(class) = call.tool.class(version) else {
                continue;
            };
            let row = format!("{} {}", call.tool.name, call.what);
            bench.cell(Table::Tools, row.trim_end(), version, |bench| {
                call.run(bench, class, version)
            });
        }
        describe::run(bench, version);
    }
}

/// What `kafka-consumer-groups` of a version prints.
pub(super) fn consumer_groups(
    bench: &Bench<'_>,
    version: &str,
    arguments: &[&str],
) -> Result<String> {
    let class = CONSUMER_GROUPS.class(version).context("no such tool")?;
    let mut command = bench.installation.java(version, class);
    command
        .args(arguments)
        .args(CONSUMER_GROUPS.connection(&bench.broker.server));
    Ok(program::run(&command, b"")?.stdout)
}

impl Tool {
    fn class(&self, version: &str) -> Option<&'static str> {
        if version == KAFKA_3 {
            self.class_3
        } else {
            Some(self.class)
        }
    }

    /// The options with which it is told where the broker is; the call itself may say so.
    fn connection<'a>(&self, server: &'a str) -> Vec<&'a str> {
        let mut options = vec!["--bootstrap-server", server];
        if self.name == PRODUCER_PERF.name {
            options.clear();
        }
        if self.name == CONSUMER_GROUPS.name {
            // By itself it waits for five seconds; machines are shared.
            options.push("--timeout=60000");
        }
        options
    }
}

impl Call {
    fn run(&self, bench: &Bench<'_>, class: &str, version: &str) -> Result<()> {
        let topic = format!("tools-{version}");
        let file = deletion_file(bench, &topic)?;
        let fill = |text: &str| {
            text.replace("{server}", &bench.broker.server)
                .replace("{topic}", &topic)
                .replace("{group}", &format!("tools-group-{version}"))
                .replace("{file}", &file.to_string_lossy())
        };
        let mut command = bench.installation.java(version, class);
        let arguments = self.arguments.iter().map(|argument| fill(argument));
        let connection = self.tool.connection(&bench.broker.server);
        if self.tool.name == FEATURES.name {
            // Its verb stands behind its options.
            command.args(connection).args(arguments);
        } else {
            command.args(arguments).args(connection);
        }
        let output = program::run(&command, self.input.as_bytes())?;
        let printed = output.stdout;
        for wanted in self.prints.iter().map(|text| fill(text)) {
            if !printed.contains(&wanted) {
                bail!(
                    "does not print {wanted:?} but {printed:.600?}; {:.300}",
                    output.stderr
                );
            }
        }
        for unwanted in self.never.iter().map(|text| fill(text)) {
            if printed.contains(&unwanted) {
                bail!("prints {unwanted:?} in {printed:.600?}");
            }
        }
        Ok(())
    }
}

/// What `kafka-delete-records` is to delete.
fn deletion_file(bench: &Bench<'_>, topic: &str) -> Result<PathBuf> {
    let path = bench.folder()?.join("delete-records.json");
    let partition = format!("{{\"topic\": \"{topic}\", \"partition\": 0, \"offset\": 1}}");
    fs::write(
        &path,
        format!("{{\"partitions\": [{partition}], \"version\": 1}}"),
    )?;
    Ok(path)
}
