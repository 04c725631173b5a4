//! Groups of three members, one of which is killed.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use super::{
    members::{Group, Members},
    regex,
};
use crate::interop::{
    bench::Bench,
    client::{Client, Protocol, Subscription},
    matrix::Table,
    program,
    record::Record,
};

const MEMBERS: usize = 3;

/// Runs a cell for each client and each protocol that it has, and one where it has regular expressions.
pub(crate) fn run(bench: &mut Bench<'_>) {
    for client in &bench.selection.group_clients {
        for protocol in client.protocols {
            bench.cell(Table::Groups, client.name, protocol.name(), |bench| {
                share_and_take_over(bench, client, *protocol)
            });
        }
        if client.has_patterns() {
            bench.cell(Table::Groups, client.name, "consumer, regex", |bench| {
                regex::read_what_matches(bench, client)
            });
        }
    }
}

fn share_and_take_over(bench: &Bench<'_>, client: &Client, protocol: Protocol) -> Result<()> {
    let name = format!("group-{}-{}", client.id(), protocol.name());
    let group = Group::create(bench, client, &name)?;
    let mut members = Members::new(&group);
    for _ in 0..MEMBERS {
        members.join(protocol)?;
    }
    members.all_read().context("three members")?;
    members.kill_first()?;
    members.all_read().context("after one was killed")?;
    members.leave_all()?;
    find_all_committed(&group, protocol)
}

/// A member that comes later reads what came since, and nothing else.
fn find_all_committed(group: &Group<'_>, protocol: Protocol) -> Result<()> {
    let sent = group.produce_round("later")?;
    let subscription = Subscription {
        topics: &[&group.name],
        group: &group.name,
        protocol,
        count: Some(sent.len()),
    };
    let command = group.command(&subscription);
    let output = program::run(&command, b"").context("a member that comes later")?;
    let got: Result<BTreeSet<_>> = output
        .stdout
        .lines()
        .map(|line| Ok(Record::parse(line)?.key))
        .collect();
    ensure!(
        got? == sent,
        "a member that came later read records that were committed"
    );
    Ok(())
}
