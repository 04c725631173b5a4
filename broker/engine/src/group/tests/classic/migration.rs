//! Groups that have members and change their kind, and members of both protocols in one group.

use std::{collections::BTreeSet, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use millstream_proto::{ErrorCode, group_record::GroupRecord};

use super::bench::{first_join, join, leaver, of, protocols, static_join, sync};
use crate::group::{
    ClassicJoin, ClassicSync, Config, Event, GroupType, Heartbeat, Joined, Leave, MigrationPolicy,
    Refusal, Reply, Ticket,
    tests::bench::{Bench, GROUP, a, config, join as consumer_join, member, set, topics},
};

/// Metadata of version 1: subscribes to topic `a`, and owns these partitions of it.
pub(super) fn owning(partitions: &[i32]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_slice(b"\0\x01\0\0\0\x01\0\x01a\xff\xff\xff\xff");
    bytes.put_slice(b"\0\0\0\x01\0\x01a");
    put_partitions(&mut bytes, partitions);
    bytes.freeze()
}

/// An assignment of version 1 with these partitions of topic `a`.
pub(super) fn assignment(partitions: &[i32]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_slice(b"\0\x01\0\0\0\x01\0\x01a");
    put_partitions(&mut bytes, partitions);
    bytes.put_i32(-1);
    bytes.freeze()
}

fn put_partitions(bytes: &mut BytesMut, partitions: &[i32]) {
    bytes.put_i32(i32::try_from(partitions.len()).expect("few"));
    partitions.iter().for_each(|at| bytes.put_i32(*at));
}

fn owns(join: ClassicJoin, partitions: &[i32]) -> ClassicJoin {
    ClassicJoin {
        protocols: vec![("range".to_owned(), owning(partitions))],
        ..join
    }
}

/// A stable classic group of `m1`, which leads, and `m2`, with a half of topic `a` each.
fn classic(config: Config, joins: [ClassicJoin; 2]) -> Bench {
    let mut bench = Bench::with(config);
    let joining = joins.map(|join| bench.join(owns(join, &[])));
    bench.pass(3_000);
    bench.pass(3_000);
    for ticket in joining {
        assert_eq!(bench.joined(ticket).generation, 1);
    }
    let second = bench.sync(sync("m2", 1, &[]));
    let first = bench.sync(ClassicSync {
        assignments: vec![
            ("m1".to_owned(), assignment(&[0, 1])),
            ("m2".to_owned(), assignment(&[2, 3])),
        ],
        ..sync("m1", 1, &[])
    });
    assert_eq!(bench.synced(first).assignment, assignment(&[0, 1]));
    assert_eq!(bench.synced(second).assignment, assignment(&[2, 3]));
    assert_eq!(bench.holds("m2"), set(&[a(2), a(3)]));
    bench
}

fn two() -> Bench {
    classic(config(), ["m1", "m2"].map(first_join))
}

fn group_type(bench: &Bench) -> GroupType {
    bench.describe().listing.group_type
}

/// Joins and syncs, and returns the generation and the partitions.
fn step(bench: &mut Bench, member_id: &str, owned: &[i32]) -> (i32, Bytes) {
    let ticket = bench.join(owns(join(member_id), owned));
    let generation = bench.joined(ticket).generation;
    let ticket = bench.sync(sync(member_id, generation, &[]));
    (generation, bench.synced(ticket).assignment)
}

#[test]
fn a_classic_group_is_upgraded_and_its_members_give_up_what_the_newcomer_gets() {
    let mut bench = two();
    let alive = bench.beat(consumer_join("m3", 1));
    assert_eq!(
        (alive.member_epoch, group_type(&bench)),
        (2, GroupType::Consumer)
    );
    assert!(
        bench
            .log
            .contains(&GroupRecord::ClassicGroup(GROUP.to_owned(), None))
    );
    assert_eq!(bench.last_push("m3").assignment, set(&[]), "all are held");
    assert_eq!(bench.holds("m1"), set(&[a(0), a(1)]));
    assert_eq!(bench.member("m1").expect("a member").topics, ["a"]);

    // One of the two has to give one up: it is told so, joins, is told what stays, and joins again.
    let loser = if bench.member("m1").expect("a member").target.len() == 1 {
        "m1"
    } else {
        "m2"
    };
    let (held, kept) = if loser == "m1" {
        ([0, 1], a(0))
    } else {
        ([2, 3], a(2))
    };
    assert_eq!(bench.heard(of(loser, 1)), Ok(true));
    assert_eq!(
        step(&mut bench, loser, &held),
        (1, assignment(&[kept.partition]))
    );
    assert_eq!(
        bench.heard(of(loser, 1)),
        Ok(true),
        "until it says that it gave it up"
    );
    assert_eq!(bench.last_push("m3").assignment, set(&[]));
    let (epoch, _) = step(&mut bench, loser, &[kept.partition]);
    assert_eq!(epoch, 2);
    assert_eq!(bench.heard(of(loser, 2)), Ok(false));
    assert_eq!(bench.last_push("m3").assignment.len(), 1);

    // The other one keeps all, in another epoch.
    let winner = if loser == "m1" { "m2" } else { "m1" };
    let held = if loser == "m1" { [2, 3] } else { [0, 1] };
    assert_eq!(bench.heard(of(winner, 1)), Ok(true));
    assert_eq!(step(&mut bench, winner, &held), (2, assignment(&held)));
    assert_eq!(bench.state(), "Stable");
    let before = bench.describe();
    bench.reload();
    assert_eq!(bench.describe(), before);
}

#[test]
fn a_member_that_gives_up_all_before_it_joins_is_done_in_one_step() {
    let mut bench = two();
    bench.beat(consumer_join("m3", 1));
    let loser = if bench.member("m1").expect("a member").target.len() == 1 {
        "m1"
    } else {
        "m2"
    };
    let (epoch, _) = step(&mut bench, loser, &[]);
    assert_eq!(epoch, 2);
    assert_eq!(bench.last_push("m3").assignment.len(), 1);
}

#[test]
fn what_a_member_is_not_told_yet_to_give_up_is_its_own_in_the_upgraded_group() {
    let mut bench = two();
    let joining =
        [("m1", [0, 1]), ("m2", [2, 3])].map(|(id, owned)| bench.join(owns(join(id), &owned)));
    for ticket in joining {
        assert_eq!(bench.joined(ticket).generation, 2);
    }
    // The leader wants m2 to give partition 3 up, and so gives it to nobody.
    let led = bench.sync(ClassicSync {
        assignments: vec![
            ("m1".to_owned(), assignment(&[0, 1])),
            ("m2".to_owned(), assignment(&[2])),
        ],
        ..sync("m1", 2, &[])
    });
    bench.synced(led);
    assert_eq!(bench.holds("m2"), set(&[a(2)]), "as the generation has it");

    bench.beat(consumer_join("m3", 1));
    assert_eq!(bench.last_push("m3").assignment, set(&[]));
    assert_eq!(bench.holds("m2"), set(&[a(2), a(3)]));
    let before = bench.describe();
    bench.reload();
    assert_eq!(bench.describe(), before);

    let ticket = bench.sync(sync("m2", 2, &[]));
    assert_eq!(bench.synced(ticket).assignment, assignment(&[2]));
    assert_eq!(bench.holds("m2"), set(&[a(2), a(3)]));
    let (epoch, _) = step(&mut bench, "m2", &[2]);
    assert_eq!(epoch, 3);
    assert!(!bench.holds("m2").contains(&a(3)));
}

#[test]
fn a_member_that_joined_before_the_upgrade_by_another_protocol_than_its_first_joins_again() {
    let both = |join| ClassicJoin {
        protocols: protocols(&["eager", "range"], &owning(&[])),
        ..join
    };
    let mut bench = two();
    let joining = [both(join("m1")), owns(join("m2"), &[2, 3])].map(|join| bench.join(join));
    for ticket in joining {
        assert_eq!(&*bench.joined(ticket).protocol, "range", "all have it");
    }
    bench.beat(consumer_join("m3", 1));
    let named = |protocol: &str| ClassicSync {
        protocol: Some(protocol.to_owned()),
        ..sync("m1", 2, &[])
    };
    let ticket = bench.sync(named("range"));
    assert_eq!(bench.refused(ticket).code(), ErrorCode::RebalanceInProgress);
    let ticket = bench.sync(named("other"));
    let code = bench.refused(ticket).code();
    assert_eq!(code, ErrorCode::InconsistentGroupProtocol);
    let ticket = bench.join(both(join("m1")));
    assert_eq!(&*bench.joined(ticket).protocol, "eager");
}

#[test]
fn members_that_wait_are_told_to_join_the_upgraded_group() {
    let mut bench = two();
    let joining = bench.join(owns(join("m1"), &[]));
    let pending = bench.member_id("m4");
    bench.beat(consumer_join("m3", 1));
    assert_eq!(
        bench.refused(joining).code(),
        ErrorCode::RebalanceInProgress
    );
    // An id that was told is good in the upgraded group.
    let ticket = bench.join(owns(join(&pending), &[]));
    assert_eq!(bench.joined(ticket).member_id, pending);

    let mut bench = two();
    for ticket in ["m1", "m2"].map(|id| bench.join(owns(join(id), &[]))) {
        bench.joined(ticket);
    }
    let syncing = bench.sync(sync("m2", 2, &[]));
    let alive = bench.beat(consumer_join("m3", 1));
    assert_eq!(
        bench.refused(syncing).code(),
        ErrorCode::RebalanceInProgress
    );
    assert_eq!(alive.member_epoch, 3, "after generation 2");
}

#[test]
fn who_may_not_upgrade_is_refused() {
    let with = |migration| Config {
        migration,
        ..config()
    };
    let refused = |bench: &mut Bench| {
        let before = bench.describe();
        let refusal = bench.try_beat(consumer_join("m9", 1)).expect_err("refused");
        assert_eq!(bench.describe(), before);
        refusal.code()
    };
    for migration in [MigrationPolicy::Disabled, MigrationPolicy::Downgrade] {
        let mut bench = classic(with(migration), ["m1", "m2"].map(first_join));
        assert_eq!(refused(&mut bench), ErrorCode::InconsistentGroupProtocol);
    }
    let mut other_type = Bench::stable(&[ClassicJoin {
        protocol_type: "connect".to_owned(),
        ..first_join("m1")
    }]);
    assert_eq!(
        refused(&mut other_type),
        ErrorCode::InconsistentGroupProtocol
    );
    // Its assignment, "m1", is in no known format.
    let mut other_format = Bench::two();
    assert_eq!(
        refused(&mut other_format),
        ErrorCode::InconsistentGroupProtocol
    );
    let small = Config {
        members_max: 2,
        ..with(MigrationPolicy::Upgrade)
    };
    let mut full = classic(small, ["m1", "m2"].map(first_join));
    assert_eq!(refused(&mut full), ErrorCode::GroupMaxSizeReached);
}

#[test]
fn somebody_who_was_put_out_gives_up_what_it_holds_before_it_is_a_member_again() {
    let mut bench = mixed(MigrationPolicy::Disabled);
    assert_eq!(bench.go(&[leaver("m1")]), [Ok(())]);
    let refusal = bench.refused_join(owns(join("m1"), &[0, 1]));
    assert_eq!(refusal.code(), ErrorCode::UnknownMemberId);
    let ticket = bench.join(owns(join("m1"), &[]));
    assert_eq!(&*bench.joined(ticket).member_id, "m1");
}

#[test]
fn somebody_who_was_put_out_gives_up_what_it_holds_before_it_is_of_the_classic_group_that_follows()
{
    let mut bench = mixed(MigrationPolicy::Bidirectional);
    assert_eq!(bench.go(&[leaver("m1")]), [Ok(())]);
    leave(&mut bench, "m3");
    let refusal = bench.refused_join(owns(join("m1"), &[0, 1]));
    assert_eq!(refusal.code(), ErrorCode::UnknownMemberId);
    let ticket = bench.join(owns(join("m1"), &[]));
    bench.pass(3_000);
    assert_eq!(&*bench.joined(ticket).member_id, "m1");
}

#[test]
fn what_somebody_says_to_hold_is_its_own_in_an_upgraded_group_that_had_no_generation() {
    let mut bench = Bench::new();
    let member_id = bench.member_id("m1");
    let ticket = bench.join(owns(join(&member_id), &[0, 1]));
    bench.beat(consumer_join("m3", 1));
    assert_eq!(
        bench.refused(ticket).code(),
        ErrorCode::RebalanceInProgress,
        "it waited for the first generation"
    );
    assert_eq!(bench.holds(&member_id), set(&[a(0), a(1)]));
    let target = bench.member("m3").expect("a member").target;
    assert_eq!(target, set(&[a(1), a(3)]));
    assert_eq!(bench.last_push("m3").assignment, set(&[a(3)]));
}

/// A consumer group of `m3`, which has a stream, and `m1` of the classic protocol.
fn mixed(policy: MigrationPolicy) -> Bench {
    let mut bench = Bench::with(Config {
        migration: policy,
        ..config()
    });
    bench.beat(consumer_join("m3", 1));
    let member_id = bench.member_id("m1");
    let ticket = bench.join(owns(join(&member_id), &[]));
    let joined = bench.joined(ticket);
    assert_eq!(
        (joined.generation, &*joined.leader, joined.members.len()),
        (2, "", 0)
    );
    let ticket = bench.sync(sync("m1", 2, &[]));
    let synced = bench.synced(ticket);
    assert_eq!(
        (&*synced.protocol_type, &*synced.protocol),
        ("consumer", "range")
    );
    bench.own(
        "m3",
        1,
        2,
        &bench
            .last_push("m3")
            .assignment
            .into_iter()
            .collect::<Vec<_>>(),
    );
    assert_eq!(
        bench.heard(of("m1", 2)),
        Ok(true),
        "what it waited for is free"
    );
    let (_, assigned) = step(&mut bench, "m1", &[]);
    assert_eq!(assigned.len(), assignment(&[0, 1]).len());
    bench
}

#[test]
fn a_member_of_the_classic_protocol_joins_a_consumer_group() {
    let mut bench = mixed(MigrationPolicy::Bidirectional);
    assert_eq!(bench.state(), "Stable");
    assert_eq!(bench.heard(of("m1", 2)), Ok(false));
    let held: BTreeSet<_> = bench
        .holds("m1")
        .union(&bench.holds("m3"))
        .copied()
        .collect();
    assert_eq!(held.len(), 4);
    let speaks_classic =
        |bench: &Bench| ["m1", "m3"].map(|id| bench.member(id).expect("a member").is_classic);
    assert_eq!(speaks_classic(&bench), [true, false]);
    // It is heard of again after a restart, with what it had.
    bench.reload();
    assert_eq!(speaks_classic(&bench), [true, false]);
    assert_eq!(bench.heard(of("m1", 2)), Ok(false));
    bench.pass(9_999);
    assert_eq!(bench.heard(of("m1", 2)), Ok(false));
    bench.pass(1);
    assert!(bench.member("m3").is_none());
}

#[test]
fn a_member_of_the_classic_protocol_that_says_nothing_or_does_nothing_is_put_out() {
    let mut bench = mixed(MigrationPolicy::Disabled);
    bench.pass(9_999);
    assert!(bench.member("m1").is_some());
    bench.pass(1);
    assert!(bench.member("m1").is_none(), "silent");

    let mut bench = mixed(MigrationPolicy::Disabled);
    bench.beat(consumer_join("m4", 4));
    assert_eq!(bench.heard(of("m1", 2)), Ok(true));
    bench.pass(4_999);
    assert_eq!(bench.heard(of("m1", 2)), Ok(true));
    bench.pass(1);
    assert!(bench.member("m1").is_none(), "it did not join");

    let mut bench = mixed(MigrationPolicy::Disabled);
    let ticket = bench.join(owns(join("m1"), &[0, 1]));
    assert_eq!(bench.joined(ticket).generation, 2);
    bench.pass(3_000);
    let ticket = bench.join(owns(join("m1"), &[0, 1]));
    assert_eq!(bench.joined(ticket).generation, 2);
    bench.pass(2_000);
    assert!(bench.member("m1").is_none(), "it did not sync");
}

#[test]
fn what_a_member_of_the_classic_protocol_may_not_ask_is_refused() {
    let mut bench = mixed(MigrationPolicy::Bidirectional);
    for (asked, code) in [
        (of("m9", 2), ErrorCode::UnknownMemberId),
        (of("m3", 2), ErrorCode::UnknownMemberId),
        (of("m1", 1), ErrorCode::IllegalGeneration),
        (of("m1", 3), ErrorCode::IllegalGeneration),
    ] {
        let refusal = bench.heard(asked.clone()).expect_err("refused");
        assert_eq!(refusal.code(), code, "{asked:?}");
        let refusal = bench.refused_sync(ClassicSync {
            member: asked,
            ..sync("m1", 2, &[])
        });
        assert_eq!(refusal.code(), code);
    }
    let other_protocol = ClassicSync {
        protocol: Some("sticky".to_owned()),
        ..sync("m1", 2, &[])
    };
    let refusal = bench.refused_sync(other_protocol);
    assert_eq!(refusal.code(), ErrorCode::InconsistentGroupProtocol);
    let refusal = bench
        .commit_as(of("m1", 1))
        .expect_err("an earlier generation");
    assert_eq!(refusal.code(), ErrorCode::IllegalGeneration);
    for other in [
        ClassicJoin {
            protocol_type: "connect".to_owned(),
            ..owns(first_join("m5"), &[])
        },
        ClassicJoin {
            protocols: vec![("sticky".to_owned(), owning(&[]))],
            ..first_join("m5")
        },
        ClassicJoin {
            protocols: vec![("range".to_owned(), Bytes::new())],
            ..first_join("m5")
        },
        ClassicJoin {
            protocols: Vec::new(),
            ..first_join("m5")
        },
    ] {
        let refusal = bench.refused_join(other.clone());
        assert_eq!(
            refusal.code(),
            ErrorCode::InconsistentGroupProtocol,
            "{other:?}"
        );
    }
    bench.beat(consumer_join("m4", 4));
    let ticket = bench.sync(sync("m1", 2, &[]));
    assert_eq!(
        bench.refused(ticket).code(),
        ErrorCode::RebalanceInProgress,
        "it has to join"
    );
}

fn leave(bench: &mut Bench, member_id: &str) {
    let leave = Leave {
        member: member(member_id),
        instance_id: None,
        keeps_partitions: false,
    };
    bench.leave(leave).expect("left");
}

#[test]
fn a_group_is_downgraded_with_the_end_of_its_last_member_of_the_consumer_protocol() {
    let mut bench = mixed(MigrationPolicy::Bidirectional);
    bench.beat(consumer_join("m4", 4));
    leave(&mut bench, "m3");
    assert_eq!(group_type(&bench), GroupType::Consumer, "one is left");
    let epoch = bench.describe().group_epoch;
    leave(&mut bench, "m4");
    let description = bench.describe();
    assert_eq!(description.listing.group_type, GroupType::Classic);
    assert_eq!(
        (description.listing.state, description.group_epoch),
        ("PreparingRebalance", epoch)
    );
    // Its members have yet to join, after a restart, too.
    bench.reload();
    assert_eq!(
        (group_type(&bench), bench.state()),
        (GroupType::Classic, "PreparingRebalance")
    );
    let refusal = bench.heard(of("m1", 2)).expect_err("of an earlier epoch");
    assert_eq!(refusal.code(), ErrorCode::IllegalGeneration);
    let ticket = bench.join(owns(join("m1"), &[]));
    let joined = bench.joined(ticket);
    assert_eq!((joined.generation, &*joined.leader), (epoch + 1, "m1"));
    bench.stabilize(&[joined]);
    // And back once more.
    let refusal = bench
        .try_beat(consumer_join("m5", 5))
        .expect_err("no known format");
    assert!(matches!(refusal, Refusal::ClassicGroup { .. }));
}

#[test]
fn a_silent_member_of_the_consumer_protocol_is_the_last_one_too() {
    let mut bench = mixed(MigrationPolicy::Downgrade);
    bench.pass(9_000);
    assert_eq!(bench.heard(of("m1", 2)), Ok(false));
    bench.pass(1_000);
    assert_eq!(group_type(&bench), GroupType::Classic);
    let ticket = bench.join(owns(join("m1"), &[]));
    assert_eq!(bench.joined(ticket).generation, 3);
}

#[test]
fn a_group_stays_what_it_is_where_the_policy_says_so() {
    for policy in [MigrationPolicy::Disabled, MigrationPolicy::Upgrade] {
        let mut bench = mixed(policy);
        leave(&mut bench, "m3");
        assert_eq!(group_type(&bench), GroupType::Consumer);
        assert_eq!(bench.heard(of("m1", 2)), Ok(true));
        let (epoch, assigned) = step(&mut bench, "m1", &[]);
        assert_eq!((epoch, assigned), (3, assignment(&[0, 1, 2, 3])));
    }
}

#[test]
fn members_of_either_protocol_are_put_out_of_a_consumer_group() {
    let mut bench = mixed(MigrationPolicy::Disabled);
    let results = bench.go(&[leaver("m9"), leaver("m1")]);
    assert_eq!(
        results[0].as_ref().map_err(Refusal::code),
        Err(ErrorCode::UnknownMemberId)
    );
    assert_eq!(results[1], Ok(()));
    assert_eq!(bench.holds("m3").len(), 4);
    assert_eq!(bench.go(&[leaver("m3")]), [Ok(())]);
    assert!(matches!(bench.closed("m3")[..], [Refusal::Fenced { .. }]));
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn a_static_member_changes_its_protocol_without_a_rebalance() {
    let joins = [static_join("host-1", "m1"), static_join("host-2", "m2")];
    let mut bench = classic(config(), joins);
    let static_beat = |instance: &str, member_id: &str, stream| Heartbeat {
        instance_id: Some(instance.to_owned()),
        ..consumer_join(member_id, stream)
    };
    let alive = bench.beat(static_beat("host-1", "m1-again", 1));
    assert_eq!(alive.member_epoch, 1, "nothing has to move");
    assert_eq!(bench.last_push("m1-again").assignment, set(&[a(0), a(1)]));
    assert!(bench.member("m1").is_none());
    bench.beat(static_beat("host-2", "m2-again", 2));
    let before = bench.describe();
    assert_eq!((before.group_epoch, before.listing.state), (1, "Stable"));

    // And back, one by one: the last one takes the group with it.
    let back = |bench: &mut Bench, instance, id: &str, owned: &[i32]| -> Joined {
        let ticket = bench.join(owns(static_join(instance, id), owned));
        bench.joined(ticket)
    };
    assert_eq!(back(&mut bench, "host-1", "m1-back", &[]).generation, 1);
    assert!(matches!(
        bench.closed("m1-again")[..],
        [Refusal::Fenced { .. }]
    ));
    assert_eq!(group_type(&bench), GroupType::Consumer);
    let joined = back(&mut bench, "host-2", "m2-back", &[]);
    assert_eq!(
        (joined.generation, group_type(&bench)),
        (1, GroupType::Classic)
    );
    assert_eq!(bench.state(), "PreparingRebalance");
    let joining: [Ticket; 2] = ["m1-back", "m2-back"].map(|id| bench.join(owns(join(id), &[])));
    for ticket in joining {
        assert_eq!(bench.joined(ticket).generation, 2);
    }
}

#[test]
fn an_id_that_was_told_by_a_consumer_group_is_good_in_the_classic_one_that_follows() {
    let mut bench = Bench::new();
    bench.beat(consumer_join("m3", 1));
    let member_id = bench.member_id("m1");
    leave(&mut bench, "m3");
    let ticket = bench.join(owns(join(&member_id), &[]));
    bench.pass(3_000);
    assert_eq!(bench.joined(ticket).member_id, member_id);
}

#[test]
fn a_topic_that_grows_reaches_members_of_the_classic_protocol() {
    let mut bench = mixed(MigrationPolicy::Bidirectional);
    bench.event(Event::TopicsChanged {
        topics: topics(2, 6),
        deleted: Vec::new(),
    });
    assert_eq!(bench.heard(of("m1", 2)), Ok(true));
    let held: Vec<i32> = bench.holds("m1").iter().map(|at| at.partition).collect();
    let (epoch, _) = step(&mut bench, "m1", &held);
    assert_eq!((epoch, bench.holds("m1").len()), (3, 3));
}

#[test]
fn a_static_member_that_is_back_may_change_its_protocols() {
    let mut bench = Bench::new();
    bench.beat(consumer_join("m3", 1));
    let ticket = bench.join(owns(static_join("host-1", "m1"), &[]));
    bench.joined(ticket);
    let ticket = bench.join(ClassicJoin {
        protocols: vec![("sticky".to_owned(), owning(&[]))],
        ..static_join("host-1", "m1-again")
    });
    assert_eq!(&*bench.joined(ticket).protocol, "sticky");
}

#[test]
fn a_static_name_is_known_to_one_member_only() {
    let mut bench = mixed(MigrationPolicy::Bidirectional);
    let ticket = bench.join(owns(static_join("host-5", "m5"), &[]));
    bench.joined(ticket);
    let named = |member_id: &str, instance: &str| ClassicJoin {
        instance_id: Some(instance.to_owned()),
        ..owns(join(member_id), &[])
    };
    let refusal = bench.refused_join(named("m1", "host-5"));
    assert_eq!(refusal.code(), ErrorCode::FencedInstanceId);
    let refusal = bench.refused_join(named("m1", "host-6"));
    assert_eq!(refusal.code(), ErrorCode::UnknownMemberId);
    let reply = bench.ask(|ticket| Event::ClassicJoin(ticket, Box::new(owns(join(""), &[]))));
    let fresh = Arc::from("fresh");
    assert_eq!(reply, Reply::MemberIdRequired { member_id: fresh });
}
