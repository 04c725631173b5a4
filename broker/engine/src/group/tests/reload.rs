//! What a restart keeps.

use super::bench::{Bench, a, join, offset, resume, set};

#[test]
fn groups_members_and_offsets_are_what_they_were() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.beat(join("m2", 2));
    bench.commit("m1", 1, &[offset(0, 7)]).expect("accepted");
    let before = bench.describe();
    bench.reload();
    assert_eq!(bench.describe(), before);
}

#[test]
fn members_get_a_session_to_come_back_and_keep_their_partitions() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.beat(join("m2", 2));
    bench.own("m1", 1, 2, &[a(0), a(1)]);
    bench.reload();
    let epoch = bench.describe().group_epoch;
    bench.pass(9_000);
    bench.beat(resume("m1", 3, 2, &[a(0), a(1)]));
    assert_eq!(bench.describe().group_epoch, epoch);
    bench.pass(1_000);
    assert_eq!(bench.member("m2"), None, "it did not come back");
    assert_eq!(bench.holds("m1"), set(&[a(0), a(1), a(2), a(3)]));
}

#[test]
fn a_member_that_was_to_give_up_partitions_still_is() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.beat(join("m2", 2));
    bench.reload();
    bench.beat(resume("m2", 3, 2, &[]));
    assert_eq!(bench.holds("m2"), set(&[]));
    bench.pass(5_000);
    assert_eq!(bench.member("m1"), None, "not in time");
    assert_eq!(bench.holds("m2").len(), 4);
}

#[test]
fn compacted_records_in_any_order_of_kinds_give_the_same_group() {
    let mut bench = Bench::new();
    bench.beat(join("m1", 1));
    bench.beat(join("m2", 2));
    bench.own("m1", 1, 2, &[a(0), a(1)]);
    let before = bench.describe();
    let key = |record: &millstream_proto::group_record::GroupRecord| {
        record.encode().expect("short texts").0
    };
    let log = bench.log.clone();
    let is_newest = |at: usize| {
        log[at + 1..]
            .iter()
            .all(|later| key(later) != key(&log[at]))
    };
    bench.log = (0..log.len())
        .filter(|at| is_newest(*at))
        .map(|at| log[at].clone())
        .collect();
    bench.reload();
    assert_eq!(bench.describe(), before);
}
