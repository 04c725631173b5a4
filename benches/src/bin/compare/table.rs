//! The results as Markdown, and their place in `docs/performance.md`.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;

use crate::{
    figure::{Case, Subject, Unit},
    store::Store,
    targets,
    workload::Workload,
};

const BEGIN: &str = "<!-- written by `compare`: begin -->\n";
const END: &str = "<!-- written by `compare`: end -->\n";

/// Everything that was measured.
pub fn render(store: &Store) -> Result<String> {
    let mut out = String::new();
    for workload in Workload::value_variants() {
        if store.runs.iter().any(|run| run.workload == *workload) {
            of_workload(store, *workload, &mut out)?;
        }
    }
    Ok(out)
}

/// Replaces what stands between the markers.
///
/// # Errors
/// The document has no markers.
pub fn write_into(document: &Path, table: &str) -> Result<()> {
    let text = fs::read_to_string(document)?;
    let missing = || format!("{} has no markers", document.display());
    let (before, rest) = text.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    fs::write(document, format!("{before}{BEGIN}\n{table}{END}{after}"))?;
    Ok(())
}

fn of_workload(store: &Store, workload: Workload, out: &mut String) -> Result<()> {
    let rounds = |subject| store.of(workload, subject).count();
    writeln!(out, "### {workload}\n")?;
    let machine = store.runs.iter().find(|run| run.workload == workload);
    writeln!(
        out,
        "{}. Rounds: Kafka {}, Millstream {}{}.\n",
        machine.map_or("", |run| &run.machine),
        rounds(Subject::Kafka),
        rounds(Subject::Millstream),
        builds(store, workload),
    )?;
    for group in groups(store, workload) {
        figures(store, workload, &group, out)?;
    }
    ceilings(store, workload, out)?;
    held(store, workload, out)
}

/// Which builds of ours were measured, where that is known.
fn builds(store: &Store, workload: Workload) -> String {
    let runs = store.of(workload, Subject::Millstream);
    let builds: BTreeSet<&str> = runs.map(|run| &*run.build).collect();
    let known: Vec<&str> = builds.into_iter().filter(|it| !it.is_empty()).collect();
    match known.is_empty() {
        true => String::new(),
        false => format!(" of {}", known.join(" and of ")),
    }
}

/// Cases with the same units go into one table.
struct Group {
    units: Vec<Unit>,
    cases: Vec<Case>,
}

fn groups(store: &Store, workload: Workload) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for case in cases(store, workload) {
        let has = |unit: &Unit| median(store, workload, &case, *unit).is_some();
        let units: Vec<Unit> = Unit::ALL.into_iter().filter(has).collect();
        match groups.iter_mut().find(|group| group.units == units) {
            Some(group) => group.cases.push(case),
            None => groups.push(Group {
                units,
                cases: vec![case],
            }),
        }
    }
    groups
}

/// All cases of both brokers, as they were measured first.
fn cases(store: &Store, workload: Workload) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for subject in [Subject::Kafka, Subject::Millstream] {
        for figure in store.of(workload, subject).flat_map(|run| &run.figures) {
            if !cases.contains(&figure.case) {
                cases.push(figure.case.clone());
            }
        }
    }
    cases
}

/// Kafka's and ours, where at least one is there.
fn median(
    store: &Store,
    workload: Workload,
    case: &Case,
    unit: Unit,
) -> Option<(Option<f64>, Option<f64>)> {
    let kafkas = store.median(workload, Subject::Kafka, case, unit);
    let ours = store.median(workload, Subject::Millstream, case, unit);
    (kafkas.is_some() || ours.is_some()).then_some((kafkas, ours))
}

fn figures(store: &Store, workload: Workload, group: &Group, out: &mut String) -> Result<()> {
    write!(out, "| Kafka / **Millstream** (ratio) | durability |")?;
    for unit in &group.units {
        write!(out, " {unit} |")?;
    }
    write!(out, "\n|---|---|")?;
    for _ in &group.units {
        write!(out, "---|")?;
    }
    writeln!(out)?;
    for case in &group.cases {
        let durability = case.durability.map(|durability| durability.to_string());
        write!(
            out,
            "| {} | {} |",
            case.load,
            durability.unwrap_or_default()
        )?;
        for unit in &group.units {
            let (kafkas, ours) = median(store, workload, case, *unit).unwrap_or_default();
            write!(out, " {} |", cell(kafkas, ours))?;
        }
        writeln!(out)?;
    }
    writeln!(out)?;
    Ok(())
}

fn cell(kafkas: Option<f64>, ours: Option<f64>) -> String {
    let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    let ratio = match kafkas.zip(ours) {
        Some((kafkas, ours)) if kafkas > 0.0 => format!(" ({})", number(ours / kafkas)),
        _ => String::new(),
    };
    format!("{} / **{}**{ratio}", shown(kafkas), shown(ours))
}

/// Three digits at least where there are any.
fn number(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.1.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn ceilings(store: &Store, workload: Workload, out: &mut String) -> Result<()> {
    let mut seen: Vec<(&Case, Unit)> = Vec::new();
    for figure in store
        .of(workload, Subject::Machine)
        .flat_map(|run| &run.figures)
    {
        if seen.contains(&(&figure.case, figure.unit)) {
            continue;
        }
        if seen.is_empty() {
            writeln!(out, "| what the machine allows | |\n|---|---|")?;
        }
        seen.push((&figure.case, figure.unit));
        let median = store.median(workload, Subject::Machine, &figure.case, figure.unit);
        let (case, unit) = (&figure.case, figure.unit);
        writeln!(out, "| {case} | {} {unit} |", number(median.unwrap_or(0.0)))?;
    }
    if !seen.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

fn held(store: &Store, workload: Workload, out: &mut String) -> Result<()> {
    let held = targets::held(store, workload);
    if held.is_empty() {
        return Ok(());
    }
    writeln!(out, "| target | wanted | Kafka | Millstream | ratio | |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for target in held {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            target.what,
            target.wanted,
            number(target.kafkas),
            number(target.ours),
            number(target.ours / target.kafkas),
            target.verdict,
        )?;
    }
    writeln!(out)?;
    Ok(())
}
