//! `groups list`, `describe` and `delete` against the fake broker.

use millstream_proto::grpc::v1;

use crate::fake_broker::FakeBroker;

fn partitions(topic: &str, partitions: &[i32]) -> Vec<v1::TopicPartitions> {
    vec![v1::TopicPartitions {
        topic: topic.to_owned(),
        partitions: partitions.to_vec(),
        ..Default::default()
    }]
}

/// A member that holds, and is to hold, these partitions of `flights`.
pub(crate) fn member(number: u16, held: &[i32]) -> v1::GroupMember {
    v1::GroupMember {
        member_id: format!("6b0c{number:04}-aaaa-4bbb-8ccc-dddddddddddd"),
        client_id: format!("consume-{}", 4711 + number),
        client_host: "127.0.0.1".to_owned(),
        member_epoch: 7,
        subscription: Some(v1::MemberSubscription {
            topics: vec!["flights".to_owned()],
            topic_regex: String::new(),
        }),
        assigned: partitions("flights", held),
        target: partitions("flights", held),
        state: "Stable".to_owned(),
        ..Default::default()
    }
}

/// Two groups: `readers` has two members and lags in one of its partitions; `audit` is a name.
pub(crate) fn broker() -> FakeBroker {
    let broker = FakeBroker::start(8);
    for partition in 0..8 {
        broker.append(partition, &["a", "b", "c"]);
    }
    broker.change(|state| {
        let readers = state.group("readers");
        let held = [vec![0, 1, 2, 5], vec![3, 4, 6]];
        readers.members = vec![member(1, &held[0]), member(2, &held[1])];
        readers.members[1].instance_id = "night-shift".to_owned();
        for partition in 0..7 {
            let place = ("flights".to_owned(), partition);
            let offset = if partition == 5 { 1 } else { 3 };
            let metadata = if partition == 5 { "page 9" } else { "" };
            readers
                .lag_ms
                .insert(place.clone(), i64::from(offset == 1) * 12_340);
            readers
                .committed
                .insert(place, (offset, metadata.to_owned()));
        }
        for (group_epoch, reason) in (6..).zip([
            "member 6b0c0001-aaaa-4bbb-8ccc-dddddddddddd joined",
            "member 6b0c0002-aaaa-4bbb-8ccc-dddddddddddd joined",
        ]) {
            readers.rebalances.push(v1::Rebalance {
                timestamp_ms: 1_357_034_400_000 + i64::from(group_epoch),
                group_epoch,
                reason: reason.to_owned(),
                members: u32::try_from(group_epoch - 5).unwrap(),
            });
        }
        let place = ("flights".to_owned(), 0);
        let committed = &mut state.group("audit").committed;
        committed.insert(place, (2, "run 17".to_owned()));
    });
    broker
}

#[test]
fn groups_are_listed_by_name_and_picked_by_state() {
    let broker = broker();
    let table = broker.stdout("groups list");
    let json = broker.stdout("groups list --state empty --output json");
    insta::assert_snapshot!(format!("{table}\n{json}"));
    assert_eq!(broker.stdout("groups list --state Assigning"), "");
}

#[test]
fn a_group_is_described_within_100_columns() {
    let broker = broker();
    let tables = [
        broker.stdout("groups describe readers"),
        broker.stdout("groups describe readers --rebalances"),
        broker.stdout("groups describe audit"),
    ];
    for line in tables.iter().flat_map(|table| table.lines()) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    insta::assert_snapshot!(tables.join("\n----\n\n"));
}

#[test]
fn a_group_is_described_for_programs() {
    let broker = broker();
    let json = broker.json("groups describe readers");
    assert_eq!(json["partitions"][5]["lag"], 2);
    assert_eq!(json["partitions"][5]["lag_seconds"], 12.34);
    let audit = broker.stdout("groups describe audit --output json");
    insta::assert_snapshot!(audit);
}

#[test]
fn a_lag_that_the_broker_found_already_has_a_lower_bound() {
    let broker = broker();
    let told = || {
        let table = broker.stdout("groups describe readers");
        let json = broker.json("groups describe readers");
        let is_minimum = json["partitions"][5]["lag_seconds_is_minimum"].clone();
        [
            table.contains(", more than 12.3 s behind"),
            table.contains(" > 12.3 s "),
            is_minimum == true,
        ]
    };
    assert_eq!(told(), [false; 3]);
    broker.change(|state| {
        let place = ("flights".to_owned(), 5);
        state.group("readers").lag_ms_minima.insert(place);
    });
    assert_eq!(told(), [true; 3]);
}

#[test]
fn a_lag_above_the_bound_is_a_negative_answer() {
    let broker = broker();
    let code = |line: &str| broker.run(line).status.code();
    assert_eq!(code("groups describe readers --lag-max 1"), Some(1));
    assert_eq!(code("groups describe readers --lag-max 2"), Some(0));
    broker.change(|state| {
        let topic = state.topics.get_mut("flights").unwrap();
        topic.partitions[0].log_end_offset = 100;
    });
    assert_eq!(code("groups describe audit --lag-max 97"), Some(1));
    // Held, and nothing committed: unknown.
    broker.change(|state| state.group("new").members.push(member(3, &[7])));
    assert_eq!(code("groups describe new --lag-max 1000"), Some(1));
    assert_eq!(code("groups describe new"), Some(0));
}

#[test]
fn a_group_without_members_is_deleted_once_that_is_confirmed() {
    let broker = broker();
    let plan = broker.stdout("groups delete audit --dry-run");
    assert_eq!(
        plan,
        "deleting group audit (1 committed offset) would succeed\n"
    );
    let dry_run = broker.json("groups delete audit --dry-run");
    assert_eq!(dry_run[0]["deleted"], false);
    assert!(broker.refusal("groups delete audit").contains("pass --yes"));
    assert!(broker.change(|state| state.groups.contains_key("audit")));
    assert_eq!(
        broker.stdout("groups delete audit --yes"),
        "deleted group audit\n"
    );
    assert!(!broker.change(|state| state.groups.contains_key("audit")));
}

#[test]
fn refusals_name_members_and_near_names_and_change_nothing() {
    let broker = broker();
    broker.change(|state| {
        let crowd = &mut state.group("crowd").members;
        crowd.extend((0..7).map(|number| member(number, &[])));
    });
    let refusals: Vec<_> = [
        "groups describe raeders",
        "groups describe weather",
        "groups delete raeders --yes",
        "groups delete audit",
        "groups delete audit readers --yes",
        "groups delete crowd --yes",
    ]
    .iter()
    .map(|line| broker.refusal(line))
    .collect();
    insta::assert_snapshot!(refusals.join("\n"));
    assert_eq!(broker.change(|state| state.groups.len()), 3);
}
