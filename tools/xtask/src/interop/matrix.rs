//! [`Matrix`]: every cell with its result on both brokers, printed and written into a document.

use std::{collections::BTreeMap, fmt::Write as _};

use super::broker::Kind;

/// The tables of the matrix, in the order in which they run and are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    Produce,
    Consume,
    Groups,
    Migration,
    Admin,
    Tools,
    Streams,
    Connect,
}

impl Table {
    pub(crate) const ALL: [Self; 8] = [
        Self::Produce,
        Self::Consume,
        Self::Groups,
        Self::Migration,
        Self::Admin,
        Self::Tools,
        Self::Streams,
        Self::Connect,
    ];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Consume => "consume",
            Self::Groups => "groups",
            Self::Migration => "migration",
            Self::Admin => "admin",
            Self::Tools => "tools",
            Self::Streams => "streams",
            Self::Connect => "connect",
        }
    }

    /// What a green cell of it says.
    fn asserts(self) -> &'static str {
        match self {
            Self::Produce => {
                "Rows produce with the codec of the column: 221 records over three partitions with keys, null \
                 keys, null and empty values, bytes that are no text, headers (one name twice, null and empty \
                 values, bytes) and a value of 900 kB are acknowledged, idempotently where the client can; \
                 the batches in the broker's log have that codec. With `one batch`, 1,000 records of 900 bytes are \
                 one batch in the log, of nine tenths of a megabyte."
            }
            Self::Consume => {
                "Rows read, in a group, all that columns produced with every codec that both have, the one batch, \
                 too: each record once, byte for byte, with headers and timestamps, those of a key in their order. \
                 Not compared is what a client cannot send or tell: timestamps (kcat), header values that are null \
                 (kafka-python, KafkaJS), and the order of headers of different names (KafkaJS)."
            }
            Self::Groups => {
                "Three members of a group share six partitions; one is killed, the two others take over its \
                 partitions; every record is read; both leave, and a member that comes then finds every offset \
                 committed. With `regex`, the broker finds the topics of one member by a regular expression: those \
                 that match are read, one that is created later, too, and no other."
            }
            Self::Migration => {
                "Three members roll one by one from one protocol to the other, while records come: after each \
                 step all three read, and no record is missed."
            }
            Self::Admin => {
                "Each call of a client is taken, and what it answers is so: one producer of the topic, the first \
                 offset after the deletion, the bytes of the log file, a policy with an item more or less, a topic \
                 that has a configuration."
            }
            Self::Tools => {
                "The command-line tools of Apache Kafka of the version of the column, each with the output that \
                 it must print. Where they describe a member, that is a consumer of the same version: its id, \
                 its host, its partitions and their offsets are shown."
            }
            Self::Streams => {
                "Kafka Streams' `WordCountDemo` counts what was produced, and goes on from its changelog topic \
                 once it is stopped and started again without its local state."
            }
            Self::Connect => {
                "Two workers of Kafka Connect in distributed mode, with their three compacted topics, copy a \
                 file through a topic into another file; the one that runs the tasks is killed half way: every \
                 line arrives."
            }
        }
    }
}

/// Where a cell is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) table: Table,
    pub(crate) row: String,
    pub(crate) column: String,
}

/// What a cell says of one broker: `None` where it is green, else the reason.
pub(crate) type Outcome = Option<String>;

/// All cells, in the order in which they ran first.
#[derive(Default)]
pub(crate) struct Matrix {
    order: Vec<Place>,
    cells: BTreeMap<Place, BTreeMap<Kind, Outcome>>,
}

impl Matrix {
    /// Adds a broker's result of a cell.
    pub(crate) fn add(&mut self, kind: Kind, place: Place, outcome: Outcome) {
        if !self.cells.contains_key(&place) {
            self.order.push(place.clone());
        }
        self.cells.entry(place).or_default().insert(kind, outcome);
    }

    /// Cells that are red on Millstream and not on Kafka: what the command fails for.
    pub(crate) fn faults(&self) -> Vec<(&Place, &str)> {
        let red = |place: &Place, kind| {
            let outcome = self.cells.get(place)?.get(&kind)?;
            outcome.as_deref()
        };
        let fault = |place| match red(place, Kind::Kafka) {
            Some(_) => None,
            None => Some((place, red(place, Kind::Millstream)?)),
        };
        self.order.iter().filter_map(fault).collect()
    }

    /// How many cells are green on Millstream, and how many are red.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let ours = self.cells.values();
        let ours = ours.filter_map(|cell| cell.get(&Kind::Millstream));
        ours.fold((0, 0), |(green, red), outcome| match outcome {
            None => (green + 1, red),
            Some(_) => (green, red + 1),
        })
    }

    /// A table in Markdown, and below it why cells are red.
    pub(crate) fn table(&self, table: Table) -> String {
        let places: Vec<_> = self
            .order
            .iter()
            .filter(|place| place.table == table)
            .collect();
        let rows = distinct(places.iter().map(|place| &*place.row));
        let columns = distinct(places.iter().map(|place| &*place.column));
        let mut text = format!("\n### {}\n\n{}\n\n", title(table), table.asserts());
        let rule = "---|".repeat(columns.len() + 1);
        // Writing to a string does not fail.
        let _ = writeln!(text, "| | {} |\n|{rule}", columns.join(" | "));
        let mut notes = Vec::new();
        for row in rows {
            let cells: Vec<_> = columns
                .iter()
                .map(|column| {
                    let place = places.iter().find(|p| p.row == row && p.column == *column);
                    place.map_or_else(|| "-".to_owned(), |place| self.cell(place, &mut notes))
                })
                .collect();
            let _ = writeln!(text, "| {row} | {} |", cells.join(" | "));
        }
        if !notes.is_empty() {
            let _ = write!(text, "\n{}", notes.concat());
        }
        text + "\n"
    }

    fn cell(&self, place: &Place, notes: &mut Vec<String>) -> String {
        let Some(cell) = self.cells.get(place) else {
            return "-".to_owned();
        };
        let red = |kind| cell.get(&kind).map(Option::as_deref);
        let mut note = |who: &str, why: &str| {
            let why = why.replace(['\n', '|'], " ");
            notes.push(format!("- {}, {}: {who}: {why}\n", place.row, place.column));
        };
        match (red(Kind::Millstream), red(Kind::Kafka)) {
            (Some(None), Some(None)) => "ok".to_owned(),
            (Some(None), Some(Some(kafka))) => {
                note("Kafka", kafka);
                "ok (red on Kafka)".to_owned()
            }
            (Some(Some(ours)), Some(Some(_))) => {
                note("both", ours);
                "red, as on Kafka".to_owned()
            }
            (Some(Some(ours)), _) => {
                note("Millstream", ours);
                "**red**".to_owned()
            }
            (Some(None), None) => "ok, not run on Kafka".to_owned(),
            (None, _) => "not run".to_owned(),
        }
    }
}

fn title(table: Table) -> String {
    let name = table.name();
    let (first, rest) = name.split_at(1);
    first.to_uppercase() + rest
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(cells: &[(&str, Option<&str>, Option<&str>)]) -> Matrix {
        let mut matrix = Matrix::default();
        for (row, ours, kafkas) in cells {
            for (kind, red) in [(Kind::Millstream, ours), (Kind::Kafka, kafkas)] {
                let place = Place {
                    table: Table::Produce,
                    row: (*row).to_owned(),
                    column: "zstd".to_owned(),
                };
                matrix.add(kind, place, red.map(str::to_owned));
            }
        }
        matrix
    }

    #[test]
    fn cell_is_a_fault_where_only_millstream_is_red() {
        let matrix = matrix(&[
            ("both green", None, None),
            ("both red", Some("why"), Some("why")),
            ("kafka red", None, Some("why")),
            ("ours red", Some("a reason"), None),
        ]);
        let faults = matrix.faults();
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].0.row, "ours red");
        assert_eq!(faults[0].1, "a reason");
        assert_eq!(matrix.counts(), (2, 2));
        let text = matrix.table(Table::Produce);
        assert!(text.contains("| both green | ok |"), "{text}");
        assert!(text.contains("| ours red | **red** |"), "{text}");
        assert!(
            text.contains("- ours red, zstd: Millstream: a reason"),
            "{text}"
        );
    }
}
