//! Leaving: members that go, and members that an operator puts out.

use millstream_proto::ErrorCode;

use super::bench::{first_join, join, leaver, static_join, sync};
use crate::group::{Leaver, Refusal, tests::bench::Bench};

fn codes(results: &[Result<(), Refusal>]) -> Vec<Option<ErrorCode>> {
    let code = |result: &Result<(), Refusal>| result.as_ref().err().map(Refusal::code);
    results.iter().map(code).collect()
}

fn named(member_id: &str, instance_id: &str) -> Leaver {
    Leaver {
        instance_id: Some(instance_id.to_owned()),
        ..leaver(member_id)
    }
}

#[test]
fn the_others_join_again_after_one_has_left() {
    let mut bench = Bench::two();
    let going = Leaver {
        reason: "scaled down".to_owned(),
        ..leaver("m1")
    };
    assert_eq!(bench.go(&[going]), [Ok(())]);
    assert_eq!(bench.state(), "PreparingRebalance");
    let ticket = bench.join(join("m2"));
    let joined = bench.joined(ticket);
    assert_eq!((joined.generation, &*joined.leader), (2, "m2"));
    bench.stabilize(&[joined]);
    let newest = bench.describe().rebalances.pop().expect("remembered");
    assert_eq!(&*newest.reason, "members left: m1: scaled down");
}

#[test]
fn the_last_one_leaves_an_empty_group_which_is_written() {
    let mut bench = Bench::two();
    assert_eq!(bench.go(&[leaver("m1"), leaver("m2")]), [Ok(()), Ok(())]);
    assert_eq!((bench.state(), bench.describe().group_epoch), ("Empty", 2));
    let before = bench.describe();
    bench.reload();
    assert_eq!(bench.describe(), before);
}

#[test]
fn each_of_several_is_answered_for_itself() {
    let mut bench = Bench::stable(&[static_join("host-1", "m1"), first_join("m2")]);
    let pending = bench.member_id("m3");
    let results = bench.go(&[
        leaver("m9"),
        leaver(""),
        named("", "host-9"),
        named("m2", "host-1"),
        named("", "host-1"),
        leaver(&pending),
    ]);
    let unknown = Some(ErrorCode::UnknownMemberId);
    let fenced = Some(ErrorCode::FencedInstanceId);
    assert_eq!(
        codes(&results),
        [unknown, unknown, unknown, fenced, None, None]
    );
    assert_eq!(bench.describe().members.len(), 1);
    let again = bench.go(&[leaver(&pending)]);
    assert_eq!(codes(&again), [unknown]);
}

#[test]
fn who_waits_and_is_put_out_is_told_so() {
    let mut bench = Bench::two();
    let joining = bench.join(join("m1"));
    bench.go(&[leaver("m1")]);
    assert_eq!(bench.refused(joining).code(), ErrorCode::UnknownMemberId);

    let ticket = bench.join(join("m2"));
    assert_eq!(bench.joined(ticket).generation, 2);
    let newcomer = bench.join(first_join("m3"));
    let ticket = bench.join(join("m2"));
    bench.joined(ticket);
    bench.joined(newcomer);
    let syncing = bench.sync(sync("m3", 3, &[]));
    bench.go(&[leaver("m3")]);
    assert_eq!(bench.refused(syncing).code(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_rebalance_ends_when_the_one_that_it_waits_for_goes() {
    let mut bench = Bench::two();
    let waiting = bench.join(join("m1"));
    bench.go(&[leaver("m2")]);
    assert_eq!(bench.joined(waiting).generation, 2);

    let mut bench = Bench::two();
    let pending = bench.member_id("m3");
    let waiting = [bench.join(join("m1")), bench.join(join("m2"))];
    assert!(bench.waits(waiting[0]));
    bench.go(&[leaver(&pending)]);
    for ticket in waiting {
        assert_eq!(bench.joined(ticket).generation, 2);
    }
}

#[test]
fn nobody_leaves_a_group_that_does_not_exist() {
    let results = Bench::new().go(&[leaver("m1")]);
    assert_eq!(codes(&results), [Some(ErrorCode::UnknownMemberId)]);
}
