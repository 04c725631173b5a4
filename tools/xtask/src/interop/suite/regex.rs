//! A member that subscribes to the topics whose names match a regular expression, which the broker finds.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::members::produce_keys;
use crate::interop::{bench::Bench, client::Client, program::Member, record::Bytes, wire::Wire};

const PARTITIONS: i32 = 2;
/// How long topics may take to be found and read: Kafka looks for new ones every ten seconds at most, and
/// machines are shared.
const READ_MAX: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

/// Topics that match are read, one that is created later, too; another is not.
pub(super) fn read_what_matches(bench: &Bench<'_>, client: &Client) -> Result<()> {
    let group = format!("regex-{}", client.id());
    let [first, second, later] = ["first", "second", "later"].map(|end| format!("{group}-{end}"));
    // An expression is of a whole name.
    let other = format!("not-{first}");
    let mut keys = fill(bench, &first)?;
    keys.extend(fill(bench, &second)?);
    fill(bench, &other)?;
    let pattern = format!("{}-.*", group.replace('.', "\\."));
    let server = &bench.broker.server;
    let command = client.consume_matching(bench.installation, server, &pattern, &group);
    let mut member = Member::start(&command)?;
    wait_read(&mut member, &keys).context("topics that were there")?;
    keys.extend(fill(bench, &later)?);
    wait_read(&mut member, &keys).context("a topic that was created later")?;
    let seen = member.leave()?;
    ensure!(
        seen.iter().all(|record| record.topic != other),
        "{other} was read, which does not match {pattern}"
    );
    Ok(())
}

/// Creates a topic with records, whose keys are answered.
fn fill(bench: &Bench<'_>, topic: &str) -> Result<BTreeSet<Option<Bytes>>> {
    Wire::connect(&bench.broker.server)?.create_topic(topic, PARTITIONS, &[])?;
    produce_keys(bench, topic, topic)
}

fn wait_read(member: &mut Member, keys: &BTreeSet<Option<Bytes>>) -> Result<()> {
    let start = Instant::now();
    loop {
        member.check()?;
        let seen = member.seen().into_iter().map(|record| record.key);
        let read: BTreeSet<_> = seen.filter(|key| keys.contains(key)).collect();
        if read.len() == keys.len() {
            return Ok(());
        }
        ensure!(
            start.elapsed() < READ_MAX,
            "{} of {} keys were read in {} s",
            read.len(),
            keys.len(),
            READ_MAX.as_secs()
        );
        thread::sleep(POLL);
    }
}
