//! The rules of `cargo xtask tidy` as tables: who may import whom, which words and places are
//! banned, how long files and functions may be. Nothing here computes; a change of the
//! architecture is a change of this file.

/// Longest file in lines, tests included.
pub(crate) const FILE_LINES_MAX: usize = 700;

/// Longest function in lines, from its `fn` to its closing brace.
pub(crate) const FUNCTION_LINES_MAX: usize = 100;

/// The only files that may say `unsafe`.
pub(crate) const UNSAFE_FILES: &[&str] = &["broker/log/src/io/mmap.rs", "broker/src/allocator.rs"];

/// Folders and files of generated code, held to no rule of size or wording.
pub(crate) const GENERATED: &[&str] = &[
    "broker/src/listener/kafka/codec/layouts.rs",
    "proto/src/grpc/generated/",
];

/// Names that no file, folder or module has: they say nothing about what is inside.
pub(crate) const BANNED_MODULE_NAMES: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "types", "util", "utils",
];

/// A workspace package and the workspace packages it may depend on.
pub(crate) struct CrateRule {
    pub(crate) package: &'static str,
    pub(crate) directory: &'static str,
    pub(crate) may_import: &'static [&'static str],
}

/// Crate level: `proto <- log, engine <- broker`; `proto <- client <- cli`; tests and benches may
/// import anything and nobody imports them; xtask imports nobody.
pub(crate) const CRATES: &[CrateRule] = &[
    CrateRule {
        package: "millstream-proto",
        directory: "proto",
        may_import: &[],
    },
    CrateRule {
        package: "millstream-log",
        directory: "broker/log",
        may_import: &["millstream-proto"],
    },
    CrateRule {
        package: "millstream-engine",
        directory: "broker/engine",
        may_import: &["millstream-proto"],
    },
    CrateRule {
        package: "millstream-broker",
        directory: "broker",
        may_import: &["millstream-proto", "millstream-log", "millstream-engine"],
    },
    CrateRule {
        package: "millstream",
        directory: "client",
        may_import: &["millstream-proto"],
    },
    CrateRule {
        package: "millstream-cli",
        directory: "tools/cli",
        may_import: &["millstream", "millstream-proto", "millstream-log"],
    },
    CrateRule {
        package: "xtask",
        directory: "tools/xtask",
        may_import: &[],
    },
    CrateRule {
        package: "millstream-tests",
        directory: "tests",
        may_import: &[
            "millstream",
            "millstream-proto",
            "millstream-log",
            "millstream-engine",
            "millstream-broker",
        ],
    },
    CrateRule {
        package: "millstream-fuzz",
        directory: "tests/fuzz",
        may_import: &[
            "millstream-proto",
            "millstream-log",
            "millstream-engine",
            "millstream-broker",
        ],
    },
    CrateRule {
        package: "millstream-benches",
        directory: "benches",
        may_import: &[
            "millstream",
            "millstream-proto",
            "millstream-log",
            "millstream-engine",
            "millstream-broker",
        ],
    },
];

/// The layers inside one crate, highest first. A module imports modules of lower layers only, never
/// of its own layer or of a higher one. Modules that no layer names are the crate's ground: every
/// module may import them, and they import only each other. The crate root stands above all.
pub(crate) struct LayerRule {
    pub(crate) source: &'static str,
    pub(crate) layers: &'static [&'static [&'static str]],
}

/// Module level.
pub(crate) const LAYERS: &[LayerRule] = &[
    LayerRule {
        source: "broker/src/",
        layers: &[
            &["server"],
            &["listener"],
            &["service"],
            &["coordinator"],
            &["maintenance"],
            &["partition"],
            &["replication"],
            &["quorum"],
        ],
    },
    LayerRule {
        source: "client/src/",
        layers: &[
            &["streams"],
            &["client"],
            &["producer", "consumer"],
            &["admin"],
            &["connection"],
        ],
    },
];

/// A path that code under `within` (and not under `except`) must not use.
pub(crate) struct PathRule {
    pub(crate) within: &'static [&'static str],
    pub(crate) except: &'static [&'static str],
    pub(crate) path: &'static [&'static str],
    pub(crate) reason: &'static str,
    /// Whether test code is free of this rule.
    pub(crate) tests_exempt: bool,
}

const ENGINE: &[&str] = &["broker/engine/src/"];
const PURE: &[&str] = &["broker/engine/src/", "proto/src/"];
const DISK: &[&str] = &["broker/src/", "broker/log/src/"];
const DISK_SEAM: &[&str] = &["broker/log/src/io/"];

/// What must not be used where.
pub(crate) const PATHS: &[PathRule] = &[
    rule(DISK, DISK_SEAM, &["std", "fs"], "files go through LogIo"),
    rule(DISK, DISK_SEAM, &["tokio", "fs"], "files go through LogIo"),
    rule(PURE, &[], &["std", "fs"], "this crate does no I/O"),
    rule(PURE, &[], &["std", "net"], "this crate does no I/O"),
    rule(PURE, &[], &["tokio"], "this crate does no I/O"),
    rule(
        PURE,
        &[],
        &["std", "time", "Instant"],
        "time is an argument",
    ),
    rule(
        PURE,
        &[],
        &["std", "time", "SystemTime"],
        "time is an argument",
    ),
    rule(PURE, &[], &["rand"], "randomness is an argument"),
    rule(
        ENGINE,
        &[],
        &["std", "collections", "HashMap"],
        "its iteration order is random",
    ),
    rule(
        ENGINE,
        &[],
        &["std", "collections", "HashSet"],
        "its iteration order is random",
    ),
    rule(
        &["broker/log/src/"],
        &[],
        &["tokio"],
        "the log is synchronous",
    ),
    rule(
        &["broker/src/service/"],
        &[],
        &["tonic"],
        "services know no protocol",
    ),
    rule(
        &["broker/src/service/"],
        &[],
        &["kafka_protocol"],
        "services know no protocol",
    ),
    rule(
        &["broker/src/listener/"],
        &[],
        &["millstream_log"],
        "listeners call services",
    ),
    rule(
        &["broker/src/listener/"],
        &[],
        &["millstream_engine"],
        "listeners call services",
    ),
    rule(
        &["broker/src/listener/grpc/"],
        &[],
        &["crate", "listener", "kafka"],
        "listeners never import each other",
    ),
    rule(
        &["broker/src/listener/kafka/"],
        &[],
        &["crate", "listener", "grpc"],
        "listeners never import each other",
    ),
];

const fn rule(
    within: &'static [&'static str],
    except: &'static [&'static str],
    path: &'static [&'static str],
    reason: &'static str,
) -> PathRule {
    PathRule {
        within,
        except,
        path,
        reason,
        tests_exempt: true,
    }
}

/// A word that no name defined under `within` contains.
pub(crate) struct WordRule {
    pub(crate) within: &'static str,
    pub(crate) word: &'static str,
    pub(crate) instead: &'static str,
}

/// The vocabulary: one word for a thing, and it is Kafka's.
pub(crate) const WORDS: &[WordRule] = &[
    word("", "hw", "high_watermark"),
    word("", "wal", "log"),
    word("", "shard", "partition"),
    word("", "shards", "partitions"),
    word("", "mgr", "the thing's own name"),
    word("", "manager", "the thing's own name"),
    word("", "utils", "the thing's own name"),
    word("broker/log/", "message", "record"),
    word("broker/log/", "messages", "records"),
    word("broker/log/", "event", "record"),
    word("broker/log/", "events", "records"),
    word("broker/log/", "trim", "truncate or delete_records"),
    word("broker/log/", "gc", "retention"),
    word("proto/src/record/", "message", "record"),
    word("proto/src/record/", "messages", "records"),
    word("proto/src/record/", "event", "record"),
    word("proto/src/record/", "events", "records"),
];

/// Names that keep a banned word because Kafka's configuration spells them so.
pub(crate) const KAFKA_NAMES: &[&str] = &["flush_messages", "max_message_bytes"];

const fn word(within: &'static str, word: &'static str, instead: &'static str) -> WordRule {
    WordRule {
        within,
        word,
        instead,
    }
}

/// Beginnings of paths that exist on one machine only.
pub(crate) const MACHINE_PATHS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("../sh", "ared"),
];
