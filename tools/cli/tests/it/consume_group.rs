//! `consume --group` against the fake broker: what is printed is committed, and nothing else.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    process::Child,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{fake_broker::FakeBroker, groups::member};

fn committed(broker: &FakeBroker) -> BTreeMap<i32, i64> {
    broker.change(|state| state.committed("g", "flights"))
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn has_left(broker: &FakeBroker) -> bool {
    broker.change(|state| state.group("g").members.is_empty())
}

/// A command that was started, and its standard output.
fn start(broker: &FakeBroker, line: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = broker.command(line).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

fn lines(output: &mut impl std::io::BufRead, count: usize) -> Vec<String> {
    output.lines().take(count).map(Result::unwrap).collect()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_group_goes_on_where_it_ended() {
    let broker = FakeBroker::start(3);
    broker.append(0, &["a", "b"]);
    broker.append(1, &["c"]);
    let first = broker.stdout("consume flights --group g");
    assert_eq!(sorted(&first), ["a", "b", "c"]);
    // Where a partition without records starts is remembered, too.
    assert_eq!(committed(&broker), BTreeMap::from([(0, 2), (1, 1), (2, 0)]));
    assert!(has_left(&broker));
    assert_eq!(broker.stdout("consume flights --group g"), "");
    broker.append(2, &["d"]);
    assert_eq!(broker.stdout("consume flights --group g"), "d\n");
}

#[test]
fn a_limit_commits_just_what_it_printed() {
    let broker = FakeBroker::start(1);
    broker.append(0, &["a", "b", "c"]);
    assert_eq!(
        broker.stdout("consume flights --group g --limit 2"),
        "a\nb\n"
    );
    assert_eq!(committed(&broker), BTreeMap::from([(0, 2)]));
    assert_eq!(broker.stdout("consume flights --group g --limit 2"), "c\n");
    assert_eq!(committed(&broker), BTreeMap::from([(0, 3)]));
}

#[test]
fn from_says_where_a_group_starts_and_does_not_move_one() {
    let broker = FakeBroker::start(2);
    broker.append(0, &["a", "b"]);
    broker.append(1, &["c"]);
    assert_eq!(broker.stdout("consume flights --group g --from 1"), "b\n");
    let refusals = [
        broker.refusal("consume flights --group g --from earliest"),
        broker.refusal("consume flights --group g --from 2013-01-31T20:00:00Z"),
        broker.refusal("consume flights --group new --from 3"),
        broker.refusal("consume flihgts --group g"),
    ];
    insta::assert_snapshot!(refusals.join("\n"));
    assert_eq!(committed(&broker), BTreeMap::from([(0, 2), (1, 1)]));
    assert_eq!(
        broker.stdout("consume flights --group late --from latest"),
        ""
    );
    let late = broker.change(|state| state.committed("late", "flights"));
    assert_eq!(late, BTreeMap::from([(0, 2), (1, 1)]));
}

#[test]
fn a_group_that_retention_passed_is_told_how_to_go_on() {
    let broker = FakeBroker::start(1);
    broker.append(0, &["a", "b"]);
    broker.change(|state| {
        let place = ("flights".to_owned(), 0);
        state.group("g").committed.insert(place, (0, String::new()));
        state.topics.get_mut("flights").unwrap().partitions[0].log_start_offset = 1;
    });
    insta::assert_snapshot!(broker.refusal("consume flights --group g"));
    broker.stdout("offsets reset g --topic flights:0 --to earliest --yes");
    assert_eq!(broker.stdout("consume flights --group g"), "b\n");
}

#[test]
fn both_signals_commit_what_was_printed_and_leave() {
    for (number, end) in [(1, Signal::INT), (2, Signal::TERM)] {
        let broker = FakeBroker::start(1);
        broker.append(0, &["a", "b"]);
        let (mut child, mut output) = start(&broker, "consume flights --group g --follow");
        assert_eq!(lines(&mut output, 2), ["a", "b"]);
        broker.append(0, &["c"]);
        assert_eq!(lines(&mut output, 1), ["c"]);
        signal(&child, end);
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), rest.as_str()),
            (Some(0), ""),
            "{number}"
        );
        assert_eq!(committed(&broker), BTreeMap::from([(0, 3)]));
        assert!(has_left(&broker));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_what_it_did_not_get_is_not_committed() {
    let broker = FakeBroker::start(1);
    let value = "x".repeat(99);
    for _ in 0..100 {
        broker.append(0, &[value.as_str(); 100]);
    }
    let mut child = broker.command("consume flights --group g").spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let mut output = BufReader::with_capacity(100, output);
    assert_eq!(lines(&mut output, 1), [value]);
    drop(output);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(
        (ended.status.code(), ended.stderr.as_slice()),
        (Some(0), &b""[..])
    );
    // A pipe holds 64 KiB.
    let printed = committed(&broker).get(&0).copied().unwrap_or(0);
    assert!(printed <= 656, "{printed} records are committed");
    assert!(has_left(&broker));
    let rest = broker.stdout("consume flights --group g");
    assert_eq!(
        i64::try_from(rest.lines().count()).unwrap(),
        10_000 - printed
    );
}

#[test]
fn a_partition_that_is_taken_back_is_committed_first() {
    let broker = FakeBroker::start(2);
    broker.append(0, &["a", "b"]);
    broker.append(1, &["c"]);
    let (mut child, mut output) = start(&broker, "consume flights --group g --follow");
    assert_eq!(lines(&mut output, 3).len(), 3);
    broker.change(|state| state.group("g").members[0].target[0].partitions = vec![0]);
    broker.until("partition 1 is given up", |state| {
        state.groups["g"].members[0].assigned[0].partitions == [0]
    });
    assert_eq!(committed(&broker)[&1], 1);
    broker.append(1, &["for the next owner"]);
    broker.append(0, &["d"]);
    assert_eq!(lines(&mut output, 1), ["d"]);
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(committed(&broker), BTreeMap::from([(0, 3), (1, 1)]));
}

#[test]
fn a_member_ends_while_others_still_read_and_takes_what_nobody_holds() {
    let broker = FakeBroker::start(2);
    broker.append(0, &["a"]);
    broker.append(1, &["b"]);
    // Another member holds them and is slow.
    broker.change(|state| state.group("g").members.push(member(1, &[0, 1])));
    let started = Instant::now();
    assert_eq!(broker.stdout("consume flights --group g"), "");
    assert!(
        started.elapsed().as_millis() >= 2_000,
        "it waits for partitions that are let go"
    );
    // It is gone now: the next member gets everything.
    broker.change(|state| state.group("g").members.clear());
    assert_eq!(
        sorted(&broker.stdout("consume flights --group g")),
        ["a", "b"]
    );
}

#[test]
fn nothing_is_read_twice_or_left_out_however_often_it_is_stopped() {
    let broker = FakeBroker::start(1);
    let values: Vec<_> = (0..2_000).map(|number| number.to_string()).collect();
    for some in values.chunks(50) {
        let some: Vec<_> = some.iter().map(String::as_str).collect();
        broker.append(0, &some);
    }
    let mut read = Vec::new();
    while read.len() < values.len() {
        let (mut child, mut output) = start(&broker, "consume flights --group g");
        read.extend(lines(&mut output, 1));
        signal(&child, Signal::TERM);
        read.extend(output.lines().map(Result::unwrap));
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    assert_eq!(read, values);
}
