//! [`Store`]: what was measured so far, one run a line, so that a comparison may stop and go on.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{
    figure::{Case, Figure, Subject, Unit},
    workload::Workload,
};

/// One round of a workload with one broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The workload.
    pub workload: Workload,
    /// From 1.
    pub round: usize,
    /// Whom it is about.
    pub subject: Subject,
    /// What it ran on.
    pub machine: String,
    /// Which build of ours it was, in its own words; empty for others, and in old runs.
    #[serde(default)]
    pub build: String,
    /// How long it took.
    pub seconds: f64,
    /// What was measured.
    pub figures: Vec<Figure>,
}

/// A file of runs.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// All runs in it.
    pub runs: Vec<Run>,
}

impl Store {
    /// Reads a file, which need not be there.
    ///
    /// # Errors
    /// A line that is no run.
    pub fn open(path: &Path) -> Result<Self> {
        let text = match path.exists() {
            true => fs::read_to_string(path)?,
            false => String::new(),
        };
        let runs = text.lines().map(serde_json::from_str);
        Ok(Self {
            path: path.to_owned(),
            runs: runs
                .collect::<Result<_, _>>()
                .with_context(|| format!("{} has a line that is no run", path.display()))?,
        })
    }

    /// Adds a run, in the file first.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, run: Run) -> Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)?;
        writeln!(file, "{}", serde_json::to_string(&run)?)?;
        self.runs.push(run);
        Ok(())
    }

    /// Forgets all runs of a workload.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn forget(&mut self, workload: Workload) -> Result<()> {
        self.runs.retain(|run| run.workload != workload);
        if !self.path.exists() {
            return Ok(());
        }
        let mut file = File::create(&self.path)?;
        for run in &self.runs {
            writeln!(file, "{}", serde_json::to_string(run)?)?;
        }
        Ok(())
    }

    /// Whether a run is there.
    pub fn has(&self, workload: Workload, round: usize, subject: Subject) -> bool {
        self.of(workload, subject).any(|run| run.round == round)
    }

    /// The runs of a workload with a broker.
    pub fn of(&self, workload: Workload, subject: Subject) -> impl Iterator<Item = &Run> {
        let is_wanted = move |run: &&Run| run.workload == workload && run.subject == subject;
        self.runs.iter().filter(is_wanted)
    }

    /// The median of a figure over all rounds.
    pub fn median(
        &self,
        workload: Workload,
        subject: Subject,
        case: &Case,
        unit: Unit,
    ) -> Option<f64> {
        let figures = self.of(workload, subject).flat_map(|run| &run.figures);
        let wanted = figures.filter(|figure| figure.case == *case && figure.unit == unit);
        let mut values: Vec<f64> = wanted.map(|figure| figure.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        match values.len() {
            0 => None,
            count if count % 2 == 1 => Some(values[count / 2]),
            count => Some((values[count / 2 - 1] + values[count / 2]) / 2.0),
        }
    }
}
