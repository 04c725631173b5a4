//! `offsets list`, `commit`, `reset` and `delete` against the fake broker.

use std::collections::BTreeMap;

use crate::{fake_broker::FakeBroker, groups};

/// A group without members that is at different places, and a topic whose partitions differ.
fn broker() -> FakeBroker {
    let broker = groups::broker();
    broker.change(|state| {
        state.append("flights", 1, 1_357_120_800_000, &["d", "e", "f", "g"]);
        state.topics.get_mut("flights").unwrap().partitions[2].log_start_offset = 2;
        state.create_topic("weather", 1);
        let place = ("flights".to_owned(), 2);
        let committed = &mut state.group("audit").committed;
        committed.insert(place, (3, String::new()));
    });
    broker
}

fn committed(broker: &FakeBroker) -> BTreeMap<i32, i64> {
    broker.change(|state| state.committed("audit", "flights"))
}

#[test]
fn what_is_committed_is_listed() {
    let broker = broker();
    let lists = [
        broker.stdout("offsets list audit"),
        broker.stdout("offsets list readers --topic flights:5,6"),
        broker.stdout("offsets list readers --topic flights:5 --output json"),
    ];
    insta::assert_snapshot!(lists.join("\n"));
    assert_eq!(broker.stdout("offsets list audit --topic weather"), "");
}

#[test]
fn a_reset_shows_its_plan_and_a_dry_run_stops_there() {
    let broker = broker();
    let before = committed(&broker);
    let plans: Vec<_> = [
        "--topic flights --to earliest",
        "--topic flights:0,1,2 --to latest",
        "--topic flights:0,1,2 --to 1",
        "--topic flights:0,1,2 --to 5",
        "--topic flights:0,1 --to 2013-01-02",
        "--topic flights:0,1 --to -1h30m",
        "--topic flights:0,1 --to -9000d",
        "--topic flights:1 --topic weather --to latest",
        "--topic flights:0,2 --to 1 --output json",
    ]
    .iter()
    .map(|options| {
        let line = format!("offsets reset audit {options} --dry-run");
        format!("$ millstream {line}\n{}", broker.stdout(&line))
    })
    .collect();
    insta::assert_snapshot!(plans.join("\n"));
    assert_eq!(committed(&broker), before);
}

#[test]
fn a_reset_moves_what_it_was_told_and_nothing_else() {
    let broker = broker();
    let said = broker.stdout("offsets reset audit --topic flights:1,2 --to 1 --yes");
    assert!(said.ends_with("reset 2 offsets of group audit\n"), "{said}");
    assert_eq!(committed(&broker), BTreeMap::from([(0, 2), (1, 1), (2, 2)]));
    let json = broker.json("offsets reset audit --topic flights:1 --to latest --yes");
    assert_eq!(json["partitions"][0]["to"], 7);
    assert_eq!(committed(&broker), BTreeMap::from([(0, 2), (1, 7), (2, 2)]));
}

#[test]
fn a_reset_that_nobody_confirms_prints_its_plan_and_changes_nothing() {
    let broker = broker();
    let before = committed(&broker);
    let output = broker.run("offsets reset audit --topic flights --to earliest");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let plan = String::from_utf8(output.stdout).unwrap();
    assert_eq!(plan.lines().count(), 9, "{plan}");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: resetting 8 offsets of group audit needs a confirmation\n\
         hint: pass --yes, or see what would happen with --dry-run\n"
    );
    assert_eq!(committed(&broker), before);
}

#[test]
fn an_offset_is_committed_with_its_metadata_and_begins_a_group() {
    let broker = broker();
    let line = "offsets commit audit --topic flights --partition 1 --offset 6 --metadata m";
    let said = broker.stdout(line);
    assert_eq!(said, "committed offset 6 of flights-1 for group audit\n");
    assert_eq!(committed(&broker)[&1], 6);
    let place = ("flights".to_owned(), 1);
    let metadata = broker.change(|state| state.group("audit").committed[&place].1.clone());
    assert_eq!(metadata, "m");
    let line = "offsets commit new --topic weather --partition 0 --offset 0";
    let said = broker.stdout(line);
    assert_eq!(
        said,
        "committed offset 0 of weather-0 for the new group new\n"
    );
}

#[test]
fn offsets_are_deleted_once_that_is_confirmed() {
    let broker = broker();
    let before = committed(&broker);
    let plan = broker.stdout("offsets delete audit --topic flights --dry-run");
    let columns = "TOPIC    PARTITION  OFFSET\n";
    assert_eq!(
        plan,
        format!("{columns}flights          0       2\nflights          2       3\n")
    );
    assert_eq!(committed(&broker), before);
    let said = broker.stdout("offsets delete audit --topic flights:2,5 --yes");
    assert!(
        said.ends_with("deleted 1 committed offset of group audit\n"),
        "{said}"
    );
    assert_eq!(committed(&broker), BTreeMap::from([(0, 2)]));
}

#[test]
fn refusals_say_what_is_wrong_and_change_nothing() {
    let broker = broker();
    let all = |broker: &FakeBroker| {
        broker.change(|state| {
            let groups = state.groups.iter();
            let committed = groups.map(|(name, group)| (name.clone(), group.committed.clone()));
            committed.collect::<BTreeMap<_, _>>()
        })
    };
    let before = all(&broker);
    let refusals: Vec<_> = [
        "offsets list raeders",
        "offsets reset raeders --topic flights --to latest --yes",
        "offsets reset readers --topic flights --to latest --dry-run",
        "offsets reset readers --topic flights --to latest --yes",
        "offsets reset audit --topic flihgts --to latest --yes",
        "offsets reset audit --topic flights:0,8 --to latest --yes",
        "offsets commit readers --topic flights --partition 0 --offset 0",
        "offsets commit audit --topic flights --partition 8 --offset 0",
        "offsets commit audit --topic flights --partition 2 --offset 1",
        "offsets commit audit --topic flights --partition 2 --offset 4",
        "offsets commit audit --topic flihgts --partition 0 --offset 0",
        "offsets delete raeders --topic flights --yes",
        "offsets delete audit --topic flights:5 --yes",
    ]
    .iter()
    .map(|line| broker.refusal(line))
    .collect();
    insta::assert_snapshot!(refusals.join("\n"));
    let output = broker.run("offsets delete readers --topic flights:0,1 --yes");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "error: 2 of 2 offsets were not deleted, flights-0: a member subscribes\n";
    assert!(said.starts_with(expected), "{said}");
    assert_eq!(all(&broker), before);
}
