//! `kafka-consumer-groups --describe` of a group with a member: Java's consumer of the version of the tools.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{members::produce_keys, tools::consumer_groups};
use crate::interop::{
    bench::Bench,
    client::{CLIENTS, KAFKA_3, Needs, Protocol, Subscription},
    matrix::Table,
    program::Member,
    wire::Wire,
};

const PARTITIONS: i32 = 2;
/// How the member's partitions end in what the tools of both versions print.
const ASSIGNMENT: &str = "0,1";
/// Where a member is, as Kafka writes it.
const HOST: &str = "/127.0.0.1";
/// Machines are shared.
const READ_MAX: Duration = Duration::from_secs(90);
/// How long it may take until a group is described as it is: what was read is committed a moment later.
const DESCRIBED_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// A member as the rows of partitions name it: its id, its host and its client id.
type Names = [String; 3];

/// Runs a cell for each protocol.
pub(super) fn run(bench: &mut Bench<'_>, version: &str) {
    let row = "kafka-consumer-groups --describe a member";
    bench.cell(Table::Tools, row, version, |bench| {
        describe_member(bench, version, Protocol::Classic)
    });
    if version != KAFKA_3 {
        let row = format!("{row}, KIP-848");
        bench.cell(Table::Tools, &row, version, |bench| {
            describe_member(bench, version, Protocol::Consumer)
        });
    }
}

fn describe_member(bench: &Bench<'_>, version: &str, protocol: Protocol) -> Result<()> {
    let of_version = |needs: Needs| matches!(needs, Needs::Java(java) if java == version);
    let client = CLIENTS.iter().find(|client| of_version(client.needs));
    let client = client.context("no Java client of this version")?;
    let group = format!("described-{version}-{}", protocol.name());
    let server = &bench.broker.server;
    Wire::connect(server)?.create_topic(&group, PARTITIONS, &[])?;
    let records = produce_keys(bench, &group, "described")?.len();
    let subscription = Subscription {
        topics: &[&group],
        group: &group,
        protocol,
        count: None,
    };
    let command = client.consume(bench.installation, server, &subscription);
    let mut member = Member::start(&command)?;
    wait_read(&mut member, records)?;
    let describe = Describe {
        bench,
        version,
        group: &group,
    };
    let names = describe.until(&[], |rows| in_partitions(rows, &group, records))?;
    let verbose = ["--members", "--verbose"];
    describe.until(&verbose, |rows| in_members(rows, &group, &names))?;
    describe.until(&["--state"], in_state)?;
    member.check()?;
    member.leave().map(drop)
}

fn wait_read(member: &mut Member, records: usize) -> Result<()> {
    let start = Instant::now();
    loop {
        member.check()?;
        let read = member.seen().len();
        if read >= records {
            return Ok(());
        }
        let seconds = READ_MAX.as_secs();
        ensure!(
            start.elapsed() < READ_MAX,
            "the member read {read} of {records} records in {seconds} s"
        );
        thread::sleep(POLL);
    }
}

/// The tool for one group.
struct Describe<'a> {
    bench: &'a Bench<'a>,
    version: &'a str,
    group: &'a str,
}

impl Describe<'_> {
    /// Runs the tool until the rows of the group are as they must be.
    fn until<T>(&self, options: &[&str], check: impl Fn(&[Vec<&str>]) -> Result<T>) -> Result<T> {
        let mut arguments = vec!["--describe", "--group", self.group];
        arguments.extend(options);
        let start = Instant::now();
        loop {
            let printed = consumer_groups(self.bench, self.version, &arguments)?;
            let error = match check(&rows(&printed, self.group)) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            if start.elapsed() > DESCRIBED_MAX {
                let options = arguments.join(" ");
                return Err(error.context(format!("{options} prints {printed:.600?}")));
            }
        }
    }
}

/// The words of the rows that begin with the group.
fn rows<'a>(printed: &'a str, group: &str) -> Vec<Vec<&'a str>> {
    let rows = printed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_group = |row: &Vec<&str>| row.first().is_some_and(|word| *word == group);
    rows.filter(of_group).collect()
}

/// Whether all partitions are one member's, with all records committed and none left; answers who it is.
fn in_partitions(rows: &[Vec<&str>], topic: &str, records: usize) -> Result<Names> {
    let mut committed = 0;
    let mut members: Vec<Names> = Vec::new();
    for row in rows {
        let [_, of, _, offset, end, lag, id, host, client_id] = row.as_slice() else {
            bail!("a row has {} columns", row.len());
        };
        ensure!(*of == topic && offset == end, "{offset} of {end} are read");
        ensure!(*lag == "0", "the lag is {lag}");
        ensure!(*id != "-" && *host == HOST, "{id} is at {host}");
        committed += offset.parse::<usize>()?;
        members.push([id, host, client_id].map(|word| (*word).to_owned()));
    }
    ensure!(
        committed == records,
        "{committed} of {records} records are committed"
    );
    members.dedup();
    let [names] = <[Names; 1]>::try_from(members)
        .map_err(|members| anyhow!("partitions are of {members:?}"))?;
    Ok(names)
}

/// Whether there is this member only, with all partitions.
fn in_members(rows: &[Vec<&str>], topic: &str, names: &Names) -> Result<()> {
    let [row] = rows else {
        bail!("{} members", rows.len());
    };
    let [id, host, client_id] = names;
    let partitions = PARTITIONS.to_string();
    let start = [topic, id, host, client_id, &partitions];
    ensure!(row.starts_with(&start), "not a row of {start:?}");
    // Tools of 3.9.2 leave the topic out.
    let assigned = |word: &&str| word.contains(ASSIGNMENT);
    ensure!(row.iter().any(assigned), "no assignment of {ASSIGNMENT}");
    Ok(())
}

/// Whether the group is stable, with one member.
fn in_state(rows: &[Vec<&str>]) -> Result<()> {
    let [row] = rows else {
        bail!("{} rows", rows.len());
    };
    let stable = row.contains(&"Stable") && row.last() == Some(&"1");
    ensure!(stable, "not stable with one member");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITIONS_3: &str = "
GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID
g     g     0         40             40             0   c-1-x       /127.0.0.1 c-1
g     g     1         50             50             0   c-1-x       /127.0.0.1 c-1
";
    const MEMBERS_3: &str = "
GROUP CONSUMER-ID HOST       CLIENT-ID #PARTITIONS ASSIGNMENT
g     c-1-x       /127.0.0.1 c-1       2           g(0,1)
";
    const MEMBERS_4: &str = "
GROUP CONSUMER-ID HOST       CLIENT-ID #PARTITIONS CURRENT-EPOCH CURRENT-ASSIGNMENT TARGET-EPOCH TARGET-ASSIGNMENT
g     c-1-x       /127.0.0.1 c-1       2           3             g:0,1              3            g:0,1
";
    const STATE: &str = "
GROUP COORDINATOR (ID)     ASSIGNMENT-STRATEGY STATE  #MEMBERS
g     127.0.0.1:9092  (1)  range               Stable 1
";

    #[test]
    fn member_is_found_in_what_the_tools_print() {
        let names = in_partitions(&rows(PARTITIONS_3, "g"), "g", 90).expect("one member");
        assert_eq!(names, ["c-1-x", "/127.0.0.1", "c-1"]);
        for printed in [MEMBERS_3, MEMBERS_4] {
            in_members(&rows(printed, "g"), "g", &names).expect("the same member");
        }
        in_state(&rows(STATE, "g")).expect("stable");
    }

    #[test]
    fn what_is_missing_is_an_error() {
        let behind = PARTITIONS_3.replace("50             0", "51             1");
        assert!(in_partitions(&rows(&behind, "g"), "g", 90).is_err());
        let left = PARTITIONS_3.replace("c-1-x       /127.0.0.1", "-           -");
        assert!(in_partitions(&rows(&left, "g"), "g", 90).is_err());
        assert!(in_partitions(&rows(PARTITIONS_3, "g"), "g", 91).is_err());
        let names = ["c-1-x", "/127.0.0.1", "c-1"].map(str::to_owned);
        let half = MEMBERS_4.replace("0,1", "0");
        assert!(in_members(&rows(&half, "g"), "g", &names).is_err());
        assert!(in_state(&rows(&STATE.replace("Stable", "Empty"), "g")).is_err());
    }
}
