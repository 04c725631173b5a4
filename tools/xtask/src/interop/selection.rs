//! [`Selection`]: which part of the matrix is run.

use std::collections::BTreeSet;

use super::{
    client::{CLIENTS, Client, KAFKA, KAFKA_3, Needs},
    matrix::Table,
};

/// The part that runs with the tests: the clients that start fastest, and Kafka's newest tools.
const SHORT_TABLES: &[Table] = &[
    Table::Produce,
    Table::Consume,
    Table::Groups,
    Table::Admin,
    Table::Tools,
];
const SHORT_CLIENTS: &[&str] = &[
    "kcat",
    "confluent-kafka",
    "java 4.3.1",
    "kafka-python",
    "aiokafka",
];
const SHORT_GROUPS: &[&str] = &["confluent-kafka"];

/// Which part of the matrix is run.
pub(crate) struct Selection {
    pub(crate) tables: Vec<Table>,
    /// Those that produce and consume.
    pub(crate) clients: Vec<&'static Client>,
    /// Those that form groups and migrate.
    pub(crate) group_clients: Vec<&'static Client>,
    /// Versions of Kafka whose tools are run.
    pub(crate) tools: &'static [&'static str],
    /// Whether Apache Kafka runs beside Millstream.
    pub(crate) with_kafka: bool,
}

impl Selection {
    /// Everything, for the clients whose names contain one of `parts`; for all when there are none.
    pub(crate) fn of(tables: Vec<Table>, parts: &[String], with_kafka: bool) -> Self {
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        Self {
            tables,
            clients: named(&parts),
            group_clients: named(&parts),
            tools: &[KAFKA, KAFKA_3],
            with_kafka,
        }
    }

    /// What runs with the tests.
    pub(crate) fn short() -> Self {
        Self {
            tables: SHORT_TABLES.to_vec(),
            clients: named(SHORT_CLIENTS),
            group_clients: named(SHORT_GROUPS),
            tools: &[KAFKA],
            with_kafka: false,
        }
    }

    /// What has to be installed for it, beside what its tables install themselves.
    pub(crate) fn needs(&self) -> BTreeSet<Needs> {
        let has = |table| self.tables.contains(&table);
        let mut needs = BTreeSet::new();
        if has(Table::Produce) || has(Table::Consume) || has(Table::Admin) {
            needs.extend(self.clients.iter().map(|client| client.needs));
        }
        let has_groups = has(Table::Groups) || has(Table::Migration);
        if has_groups {
            needs.extend(self.group_clients.iter().map(|client| client.needs));
        }
        if has_groups || has(Table::Tools) || has(Table::Streams) {
            needs.insert(Needs::Kcat);
        }
        if has(Table::Tools) {
            needs.extend(self.tools.iter().map(|version| Needs::Java(version)));
        }
        if self.with_kafka {
            needs.insert(Needs::Java(KAFKA));
        }
        needs
    }
}

/// The clients whose names contain one of `parts`, or all.
fn named(parts: &[&str]) -> Vec<&'static Client> {
    let is_named =
        |client: &&Client| parts.is_empty() || parts.iter().any(|part| client.name.contains(part));
    CLIENTS.iter().filter(is_named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_run_is_installed() {
        let tools = Selection::of(vec![Table::Tools], &["KafkaJS".to_owned()], false);
        assert_eq!(
            tools.needs(),
            BTreeSet::from([Needs::Kcat, Needs::Java(KAFKA), Needs::Java(KAFKA_3)])
        );
        let produce = Selection::of(vec![Table::Produce], &["KafkaJS".to_owned()], true);
        assert_eq!(
            produce.needs(),
            BTreeSet::from([Needs::Java(KAFKA), Needs::Node])
        );
        assert!(!Selection::short().needs().contains(&Needs::Go));
    }
}
