//! [`Members`]: members of one group, that read rounds of records while they come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::interop::{
    bench::Bench,
    client::{Client, Protocol, Subscription},
    program::{self, Member},
    record::{Bytes, Record},
    wire::Wire,
};

const PARTITIONS: i32 = 6;
/// Keys of a round: enough that each partition gets some.
const ROUND_RECORDS: usize = 90;
/// How long a round is waited for before the next one: members may have joined since it was produced.
const ROUND_WAIT: Duration = Duration::from_secs(3);
/// How long it may take until all members read: sessions last ten seconds, and machines are shared.
const ALL_READ_MAX: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);
/// Between keys and values that kcat is given.
const KEY_END: &str = ":";

/// The keys of a round's records.
type Round = BTreeSet<Option<Bytes>>;

/// A group that reads a topic of the same name with one client.
pub(super) struct Group<'a> {
    bench: &'a Bench<'a>,
    client: &'a Client,
    pub(super) name: String,
}

impl<'a> Group<'a> {
    /// Creates the topic.
    pub(super) fn create(bench: &'a Bench<'a>, client: &'a Client, name: &str) -> Result<Self> {
        Wire::connect(&bench.broker.server)?.create_topic(name, PARTITIONS, &[])?;
        Ok(Self {
            bench,
            client,
            name: name.to_owned(),
        })
    }

    /// The client as a reader.
    pub(super) fn command(&self, subscription: &Subscription<'_>) -> Command {
        let server = &self.bench.broker.server;
        self.client
            .consume(self.bench.installation, server, subscription)
    }

    /// Produces records with keys of their own.
    pub(super) fn produce_round(&self, name: &str) -> Result<Round> {
        produce_keys(self.bench, &self.name, name)
    }
}

/// Produces records with keys of their own to a topic; kcat does it, as it starts fastest.
pub(super) fn produce_keys(bench: &Bench<'_>, topic: &str, name: &str) -> Result<Round> {
    let records: Vec<_> = (0..ROUND_RECORDS)
        .map(|number| Record::of(&format!("{name}-{number}"), "value"))
        .collect();
    let keys = records.iter().filter_map(|record| record.key.as_ref());
    let lines: Vec<u8> = keys
        .flat_map(|key| [&key.0, KEY_END.as_bytes(), b"value\n"].concat())
        .collect();
    let mut kcat = Command::new("kcat");
    kcat.args(["-P", "-b", &bench.broker.server, "-t", topic])
        .args(["-K", KEY_END])
        .stderr(Stdio::piped());
    program::run(&kcat, &lines)?;
    Ok(records.into_iter().map(|record| record.key).collect())
}

/// Those that run, and what is known to be read.
pub(super) struct Members<'a> {
    group: &'a Group<'a>,
    running: Vec<Member>,
    /// Keys that members read which are gone.
    read_before: Round,
    produced: Round,
    rounds: usize,
}

impl<'a> Members<'a> {
    pub(super) fn new(group: &'a Group<'a>) -> Self {
        Self {
            group,
            running: Vec::new(),
            read_before: Round::new(),
            produced: Round::new(),
            rounds: 0,
        }
    }

    /// Starts a member.
    pub(super) fn join(&mut self, protocol: Protocol) -> Result<()> {
        let command = self.group.command(&Subscription {
            topics: &[&self.group.name],
            group: &self.group.name,
            protocol,
            count: None,
        });
        self.running.push(Member::start(&command)?);
        Ok(())
    }

    /// Produces rounds until one is read by all members together, each of which read of it; then all that
    /// was ever produced must have been read.
    pub(super) fn all_read(&mut self) -> Result<()> {
        let start = Instant::now();
        while !self.round_is_read_by_all()? {
            if start.elapsed() > ALL_READ_MAX {
                bail!(
                    "no round was read by all members in {} s: {}",
                    ALL_READ_MAX.as_secs(),
                    self.shares()
                );
            }
        }
        let missed: Vec<_> = self.produced.difference(&self.read()).cloned().collect();
        ensure!(missed.is_empty(), "records were missed: {missed:?}");
        Ok(())
    }

    fn round_is_read_by_all(&mut self) -> Result<bool> {
        self.rounds += 1;
        let round = self
            .group
            .produce_round(&format!("round-{}", self.rounds))?;
        self.produced.extend(round.iter().cloned());
        let start = Instant::now();
        while start.elapsed() < ROUND_WAIT {
            let mut read = Round::new();
            let mut readers = 0;
            for member in &mut self.running {
                member.check()?;
                let seen = member.seen().into_iter().map(|record| record.key);
                let of_round: Round = seen.filter(|key| round.contains(key)).collect();
                readers += usize::from(!of_round.is_empty());
                read.extend(of_round);
            }
            if read == round && readers == self.running.len() {
                return Ok(true);
            }
            thread::sleep(POLL);
        }
        Ok(false)
    }

    /// Kills the member that came first.
    pub(super) fn kill_first(&mut self) -> Result<()> {
        let seen = self.running.remove(0).kill()?;
        self.note(seen);
        Ok(())
    }

    /// Has the member that came first leave.
    pub(super) fn leave_first(&mut self) -> Result<()> {
        let seen = self.running.remove(0).leave()?;
        self.note(seen);
        Ok(())
    }

    /// Has all leave, one after the other.
    pub(super) fn leave_all(&mut self) -> Result<()> {
        while !self.running.is_empty() {
            self.leave_first()?;
        }
        Ok(())
    }

    fn note(&mut self, seen: Vec<Record>) {
        self.read_before
            .extend(seen.into_iter().map(|record| record.key));
    }

    fn read(&self) -> Round {
        let mut read = self.read_before.clone();
        for member in &self.running {
            read.extend(member.seen().into_iter().map(|record| record.key));
        }
        read
    }

    /// How many records of which partitions each member read: for the reason of a failure.
    fn shares(&self) -> String {
        let shares = self.running.iter().map(|member| {
            let mut partitions: BTreeMap<i32, usize> = BTreeMap::new();
            for record in member.seen() {
                *partitions.entry(record.partition).or_default() += 1;
            }
            format!("{partitions:?}")
        });
        shares.collect::<Vec<_>>().join(", ")
    }
}
