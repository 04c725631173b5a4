//! [`Bench`]: one broker under the clients of a run, and the results of its cells.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Instant};

use anyhow::Result;

use super::{
    broker::{Broker, Kind},
    client::{CLIENTS, Client, Needs},
    install::Installation,
    matrix::{Outcome, Place, Table},
    suite,
};

/// Which part of the matrix is run.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) tables: Vec<Table>,
    /// Parts of names of clients; all where there is none.
    pub(crate) clients: Vec<String>,
    /// The same for groups and migrations.
    pub(crate) groups_of: Vec<String>,
    /// Java versions whose tools are run.
    pub(crate) tools: &'static [&'static str],
}

impl Selection {
    /// The clients that produce and consume.
    fn clients(&self) -> Vec<&'static Client> {
        named(&self.clients)
    }

    /// What has to be installed for it, beside what its tables ask for themselves.
    pub(crate) fn needs(&self) -> BTreeSet<Needs> {
        let clients = self.clients();
        let mut needs: BTreeSet<_> = clients.iter().map(|client| client.needs).collect();
        if self.tables.contains(&Table::Tools) {
            needs.extend(self.tools.iter().map(|version| Needs::Java(version)));
        }
        if self.tables.contains(&Table::Groups) || self.tables.contains(&Table::Migration) {
            needs.insert(Needs::Kcat);
        }
        needs
    }
}

/// The clients whose names contain one of `parts`, or all.
fn named(parts: &[String]) -> Vec<&'static Client> {
    let is_named =
        |client: &&Client| parts.is_empty() || parts.iter().any(|part| client.name.contains(part));
    CLIENTS.iter().filter(is_named).collect()
}

/// One broker and what is run against it.
pub(crate) struct Bench<'a> {
    pub(crate) broker: Broker,
    pub(crate) installation: &'a Installation,
    pub(crate) clients: Vec<&'static Client>,
    pub(crate) group_clients: Vec<&'static Client>,
    pub(crate) selection: &'a Selection,
    outcomes: Vec<(Place, Outcome)>,
}

impl<'a> Bench<'a> {
    /// Nothing has run yet.
    pub(crate) fn new(
        broker: Broker,
        installation: &'a Installation,
        selection: &'a Selection,
    ) -> Self {
        Self {
            broker,
            installation,
            clients: selection.clients(),
            group_clients: named(&selection.groups_of),
            selection,
            outcomes: Vec::new(),
        }
    }

    /// Runs all selected tables and stops the broker.
    ///
    /// # Errors
    /// When the broker ended by itself.
    pub(crate) fn run(mut self) -> Result<(Kind, Vec<(Place, Outcome)>)> {
        for table in &self.selection.tables {
            match table {
                Table::Produce => suite::produce::run(&mut self),
                Table::Consume => suite::consume::run(&mut self),
                Table::Groups => suite::groups::run(&mut self),
                Table::Migration => suite::migration::run(&mut self),
                Table::Tools => suite::tools::run(&mut self),
                Table::Streams => suite::streams::run(&mut self),
                Table::Connect => suite::connect::run(&mut self),
            }
            self.broker.check()?;
        }
        let kind = self.broker.kind;
        self.broker.stop()?;
        Ok((kind, self.outcomes))
    }

    /// A folder for what programs read and write beside the broker.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        let folder = self.broker.data_dir.with_file_name("files");
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Runs one cell, and prints its result.
    pub(crate) fn cell(
        &mut self,
        table: Table,
        row: &str,
        column: &str,
        work: impl FnOnce(&Self) -> Result<()>,
    ) {
        let start = Instant::now();
        let red = work(self).err().map(|error| format!("{error:#}"));
        println!(
            "{:<10} {:<9} {row:<32} {column:<24} {:>6.1} s  {}",
            format!("{:?}", self.broker.kind),
            table.name(),
            start.elapsed().as_secs_f64(),
            red.as_ref()
                .map_or_else(|| "ok".to_owned(), |why| format!("red: {why}")),
        );
        let place = Place {
            table,
            row: row.to_owned(),
            column: column.to_owned(),
        };
        self.outcomes.push((place, red));
    }
}
