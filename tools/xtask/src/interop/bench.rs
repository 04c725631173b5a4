//! [`Bench`]: one broker under the clients of a run, and the results of its cells.

use std::{fs, path::PathBuf, time::Instant};

use anyhow::Result;

use super::{
    broker::{Broker, Kind},
    install::Installation,
    matrix::{Outcome, Place, Table},
    selection::Selection,
    suite,
};

/// One broker and what is run against it.
pub(crate) struct Bench<'a> {
    pub(crate) broker: Broker,
    pub(crate) installation: &'a Installation,
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
                Table::Admin => suite::admin::run(&mut self),
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
        let red = work(self).err().map(|error| {
            let why = format!("{error:#}");
            self.installation.without_root(&why)
        });
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
