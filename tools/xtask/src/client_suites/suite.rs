//! [`Suite`]: the suites as a table: which package, how its authors run it, and what is left out and why.

use std::fmt;

/// The tests of a published package.
pub(crate) struct Suite {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// Dependencies whose version in the package's lock file the toolchain refuses, and a newer one.
    pub(crate) newer: &'static [(&'static str, &'static str)],
    /// Features of the package beside its default ones.
    pub(crate) features: &'static [&'static str],
    /// Settings of the broker as in the package's own compose file.
    pub(crate) settings: &'static [&'static str],
    /// What its tests read to find the broker, and to skip nothing.
    pub(crate) environment: &'static [(&'static str, Value)],
    /// Tests in which records must time out within 100 ms of the first word about their topic. Here a topic that
    /// a client asks for is there when the answer is, so these ask a broker that creates none.
    pub(crate) without_topics: &'static [&'static str],
    pub(crate) left_out: &'static [LeftOut],
}

/// The value of an environment variable.
#[derive(Clone, Copy)]
pub(crate) enum Value {
    /// The broker's address.
    Server,
    /// The proxy's.
    Proxy,
    Text(&'static str),
}

/// A test that is not run.
pub(crate) struct LeftOut {
    /// Binary and path: `client::test_sasl`.
    pub(crate) test: &'static str,
    pub(crate) reason: Reason,
}

/// What Millstream, a single broker without authentication, does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Transactions,
    Sasl,
    Tls,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transactions => "needs transactions",
            Self::Sasl => "needs SASL",
            Self::Tls => "needs TLS, which comes with security",
        })
    }
}

/// Every suite, at the newest version of its package.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        package: "rskafka",
        version: "0.6.0",
        newer: &[("rsasl", "2.3.1")],
        features: &["full"],
        settings: &["topics.auto_create=false"],
        environment: &[
            ("TEST_INTEGRATION", Value::Text("1")),
            ("TEST_JAVA_INTEROPT", Value::Text("1")),
            ("TEST_BROKER_IMPL", Value::Text("kafka")),
            ("KAFKA_CONNECT", Value::Server),
            ("SOCKS5_PROXY", Value::Proxy),
        ],
        without_topics: &[],
        left_out: &[
            LeftOut {
                test: "client::test_sasl",
                reason: Reason::Sasl,
            },
            LeftOut {
                test: "client::test_tls",
                reason: Reason::Tls,
            },
        ],
    },
    Suite {
        package: "rdkafka",
        version: "0.39.0",
        newer: &[],
        features: &[],
        settings: &["node.id=0", "topics.partitions=3"],
        environment: &[("KAFKA_HOST", Value::Server)],
        without_topics: &["test_low_producers::test_base_producer_timeout"],
        left_out: &[
            LeftOut {
                test: "test_transactions::test_transaction_abort",
                reason: Reason::Transactions,
            },
            LeftOut {
                test: "test_transactions::test_transaction_commit",
                reason: Reason::Transactions,
            },
        ],
    },
];
