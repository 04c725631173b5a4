//! Groups whose members roll from the classic protocol to that of KIP-848 one by one, and back.

use anyhow::{Context, Result};

use super::members::{Group, Members};
use crate::interop::{
    bench::Bench,
    client::{Client, Protocol},
    matrix::Table,
};

const MEMBERS: usize = 3;

/// Runs both ways with each client that has both protocols.
pub(crate) fn run(bench: &mut Bench<'_>) {
    for client in &bench.selection.group_clients {
        if let [first, second] = client.protocols {
            for (from, to) in [(*first, *second), (*second, *first)] {
                let column = format!("{} to {}", from.name(), to.name());
                bench.cell(Table::Migration, client.name, &column, |bench| {
                    roll(bench, client, from, to)
                });
            }
        }
    }
}

fn roll(bench: &Bench<'_>, client: &Client, from: Protocol, to: Protocol) -> Result<()> {
    let name = format!("roll-{}-{}", client.id(), from.name());
    let group = Group::create(bench, client, &name)?;
    let mut members = Members::new(&group);
    for _ in 0..MEMBERS {
        members.join(from)?;
    }
    members.all_read().context("before the roll")?;
    for step in 1..=MEMBERS {
        members.leave_first()?;
        members.join(to)?;
        members
            .all_read()
            .with_context(|| format!("with {step} rolled"))?;
    }
    members.leave_all()
}
