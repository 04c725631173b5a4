//! The checker finds each anomaly when it is there, and none when it is not.

use std::time::Duration;

use millstream_proto::{PartitionIndex, TopicName, TopicPartition};

use super::{
    Anomaly, CommitNumber, MemberNumber, Observation, Observation::*, Observed, Report, check,
    timing,
};

const A: MemberNumber = MemberNumber(1);
const B: MemberNumber = MemberNumber(2);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn place(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicName::new("t").expect("a name"),
        partition: PartitionIndex(partition),
    }
}

fn gained(member: MemberNumber) -> Observation {
    Gained {
        member,
        partitions: vec![place(0)],
    }
}

fn gave_up(member: MemberNumber) -> Observation {
    GaveUp {
        member,
        partitions: vec![place(0)],
    }
}

fn trusted(member: MemberNumber, until_ms: u64) -> Observation {
    Trusted {
        member,
        until: Some(ms(until_ms)),
    }
}

fn polled(member: MemberNumber, offset: i64) -> Observation {
    Polled {
        member,
        partition: place(0),
        offset,
    }
}

fn sent(commit: u64, member: MemberNumber, offset: i64) -> Observation {
    CommitSent {
        commit: CommitNumber(commit),
        member,
        partition: place(0),
        offset,
    }
}

const fn accepted(commit: u64) -> Observation {
    CommitAccepted {
        commit: CommitNumber(commit),
    }
}

fn read(asked: usize, offset: Option<i64>) -> Observation {
    CommittedRead {
        asked,
        partition: place(0),
        offset,
    }
}

fn log_end(end: i64) -> Observation {
    LogEnd {
        partition: place(0),
        end,
    }
}

/// Observations, 100 ms apart.
fn history(observations: impl IntoIterator<Item = Observation>) -> Vec<Observed> {
    (0..)
        .map(|number| ms(number * 100))
        .zip(observations)
        .map(|(at, what)| Observed { at, what })
        .collect()
}

fn report(observations: impl IntoIterator<Item = Observation>) -> Report {
    check(&history(observations))
}

fn anomalies(observations: impl IntoIterator<Item = Observation>) -> Vec<Anomaly> {
    report(observations).anomalies
}

fn two_owners() -> Vec<Anomaly> {
    vec![Anomaly::TwoOwners {
        partition: place(0),
        holder: A,
        newcomer: B,
    }]
}

#[test]
fn an_orderly_hand_over_is_no_anomaly() {
    let found = report([
        gained(A),
        polled(A, 0),
        polled(A, 1),
        sent(1, A, 2),
        accepted(1),
        gave_up(A),
        read(6, Some(2)),
        gained(B),
        polled(B, 2),
        sent(2, B, 3),
        accepted(2),
        log_end(3),
    ]);
    assert_eq!(found.anomalies, []);
    assert_eq!(
        (
            found.polled,
            found.gained,
            found.commits_accepted,
            found.stale_commits_sent
        ),
        (3, 2, 2, 0)
    );
}

#[test]
fn a_partition_given_before_it_was_given_up_has_two_owners() {
    assert_eq!(anomalies([gained(A), gained(B), gave_up(A)]), two_owners());
    // Another partition given up is not this one.
    let other = GaveUp {
        member: A,
        partitions: vec![place(1)],
    };
    assert_eq!(anomalies([gained(A), other, gained(B)]), two_owners());
}

#[test]
fn a_member_that_was_not_heard_of_for_its_session_may_lose_its_partitions_and_not_before() {
    assert_eq!(anomalies([gained(A), trusted(A, 150), gained(B)]), []);
    assert_eq!(
        anomalies([gained(A), trusted(A, 250), gained(B)]),
        two_owners()
    );
    let broke = |evicted_at| Broke {
        member: A,
        evicted_at,
    };
    assert_eq!(anomalies([gained(A), broke(ms(200)), gained(B)]), []);
    assert_eq!(
        anomalies([gained(A), broke(ms(1_000)), gained(B)]),
        two_owners()
    );
}

#[test]
fn what_a_member_hears_late_is_no_partition_of_its_own_until_the_broker_hears_of_it() {
    let start = || [trusted(B, 0), gained(A), polled(A, 0), gained(B)];
    assert_eq!(anomalies(start()), []);
    let fenced = start().into_iter().chain([Fenced { member: B }]);
    assert_eq!(anomalies(fenced), []);
    let heard = start().into_iter().chain([trusted(B, 1_000)]);
    assert_eq!(anomalies(heard), two_owners());
    let stale = Anomaly::StaleCommit {
        partition: place(0),
        member: B,
        offset: 1,
    };
    let commits = start().into_iter().chain([sent(1, B, 1), accepted(1)]);
    assert_eq!(anomalies(commits), [stale]);
}

#[test]
fn a_member_taken_back_in_must_still_own_what_it_held() {
    let resumed = Resumed { member: A };
    assert_eq!(
        anomalies([gained(A), trusted(A, 0), resumed.clone()]),
        [],
        "nobody else got it"
    );
    assert_eq!(
        anomalies([gained(A), trusted(A, 0), gained(B), resumed]),
        two_owners()
    );
}

#[test]
fn a_membership_ended_early_is_fenced_without_cause() {
    let fenced = Fenced { member: A };
    let expected = [Anomaly::FencedWithoutCause { member: A }];
    assert_eq!(anomalies([gained(A), fenced.clone()]), expected);
    assert_eq!(anomalies([trusted(A, 200), fenced.clone()]), expected);
    assert_eq!(anomalies([trusted(A, 100), fenced]), []);
}

fn stale(offset: i64) -> Vec<Anomaly> {
    vec![Anomaly::StaleCommit {
        partition: place(0),
        member: A,
        offset,
    }]
}

#[test]
fn a_commit_accepted_of_one_who_lost_the_partition_is_stale() {
    let start = || [gained(A), polled(A, 0), trusted(A, 0)];
    let end = || [sent(1, A, 1), accepted(1)];
    let lost: [Vec<Observation>; 4] = [
        vec![gained(B)],
        vec![gave_up(A)],
        vec![Left { member: A }],
        vec![Fenced { member: A }],
    ];
    for lost in lost {
        let all = start().into_iter().chain(lost.clone()).chain(end());
        assert_eq!(anomalies(all), stale(1), "{lost:?}");
    }
    assert_eq!(anomalies(start().into_iter().chain(end())), []);
}

#[test]
fn a_stale_commit_that_is_refused_is_counted_and_no_anomaly() {
    let found = report([
        gained(A),
        polled(A, 0),
        trusted(A, 0),
        gained(B),
        sent(1, A, 1),
    ]);
    assert_eq!(found.anomalies, []);
    assert_eq!((found.stale_commits_sent, found.commits_accepted), (1, 0));
}

#[test]
fn a_commit_on_its_way_when_the_partition_goes_is_not_stale() {
    assert_eq!(
        anomalies([
            gained(A),
            polled(A, 0),
            trusted(A, 0),
            sent(1, A, 1),
            gained(B),
            accepted(1)
        ]),
        []
    );
}

fn regressed(before: i64, after: Option<i64>) -> Vec<Anomaly> {
    vec![Anomaly::CommitRegressed {
        partition: place(0),
        before,
        after,
    }]
}

#[test]
fn an_earlier_offset_accepted_after_a_later_one_is_a_regression() {
    let two = [gained(A), polled(A, 0), polled(A, 1), sent(1, A, 2)];
    let again = [accepted(1), sent(2, A, 1), accepted(2)];
    assert_eq!(
        anomalies(two.iter().cloned().chain(again)),
        regressed(2, Some(1))
    );
    // Sent before the other was answered, they may have been taken in either order.
    let crossing = [sent(2, A, 1), accepted(1), accepted(2)];
    assert_eq!(anomalies(two.into_iter().chain(crossing)), []);
}

#[test]
fn an_offset_read_below_what_was_accepted_before_is_a_regression() {
    let start = [
        gained(A),
        polled(A, 0),
        polled(A, 1),
        sent(1, A, 2),
        accepted(1),
    ];
    for (asked, offset, expected) in [
        (5, Some(2), vec![]),
        (5, Some(1), regressed(2, Some(1))),
        (5, None, regressed(2, None)),
        // Asked before it was accepted.
        (4, None, vec![]),
    ] {
        let all = start.iter().cloned().chain([read(asked, offset)]);
        assert_eq!(anomalies(all), expected, "{asked} {offset:?}");
    }
}

#[test]
fn an_offset_read_below_one_read_before_is_a_regression() {
    assert_eq!(anomalies([read(0, Some(2)), read(1, Some(2))]), []);
    assert_eq!(
        anomalies([read(0, Some(2)), read(1, Some(1))]),
        regressed(2, Some(1))
    );
    // Both asked at once.
    assert_eq!(anomalies([read(0, Some(2)), read(0, Some(1))]), []);
}

#[test]
fn a_commit_past_what_anyone_got_is_ahead() {
    let ahead = [Anomaly::CommitAhead {
        partition: place(0),
        unseen: 1,
        offset: 3,
    }];
    let start = [gained(A), polled(A, 0)];
    let commit = [sent(1, A, 3), accepted(1)];
    let found = anomalies(start.iter().cloned().chain(commit));
    assert_eq!(found, ahead);
}

#[test]
fn records_that_nobody_got_are_unseen() {
    let unseen = [Anomaly::Unseen {
        partition: place(0),
        first: 1,
        count: 2,
    }];
    let found = anomalies([gained(A), polled(A, 0), gained(A), polled(A, 3), log_end(4)]);
    assert_eq!(found, unseen);
    let all_by_two = [
        gained(A),
        polled(A, 0),
        gave_up(A),
        gained(B),
        polled(B, 1),
        log_end(2),
    ];
    assert_eq!(anomalies(all_by_two), []);
}

#[test]
fn a_record_skipped_or_repeated_by_a_holder_is_out_of_turn() {
    for found in [0, 2] {
        let expected = [Anomaly::PollOutOfTurn {
            partition: place(0),
            member: A,
            expected: 1,
            found,
        }];
        assert_eq!(
            anomalies([gained(A), polled(A, 0), polled(A, found)]),
            expected
        );
    }
    // Given anew it may start again at what is committed.
    assert_eq!(
        anomalies([gained(A), polled(A, 0), gave_up(A), gained(A), polled(A, 0)]),
        []
    );
}

#[test]
fn an_eviction_lasts_from_when_it_is_due_to_the_next_owners_first_record() {
    let broke = Broke {
        member: A,
        evicted_at: ms(250),
    };
    let found = timing::evictions(&history([
        gained(A),
        broke.clone(),
        polled(A, 0),
        gained(B),
        polled(B, 0),
        polled(B, 1),
    ]));
    assert_eq!((found.times, found.pending), (vec![ms(150)], 0));
    let nobody = timing::evictions(&history([gained(A), broke, gained(B)]));
    assert_eq!((nobody.times, nobody.pending), (vec![], 1));
}

#[test]
fn pauses_are_between_records_of_one_holding_and_nobody_elses_doing() {
    let found = timing::pauses(&history([
        gained(A),
        polled(A, 0),
        polled(A, 1),
        DaemonDown,
        DaemonUp,
        polled(A, 2),
        polled(B, 5),
        polled(A, 3),
        gave_up(A),
        gained(A),
        polled(A, 4),
        polled(A, 5),
        StoodStill { member: A },
        polled(A, 6),
    ]));
    assert_eq!(found, [ms(100), ms(200), ms(100)]);
}

/// Two cooperative members through a generation that takes a partition from one of them.
fn generations(is_early: bool) -> Vec<Observation> {
    let waits = [gained(A), polled(A, 0), trusted(A, 2_000)];
    let told = [gave_up(A), Resumed { member: A }];
    let next = [gained(B), polled(B, 0), sent(1, B, 1), accepted(1)];
    let (first, second) = if is_early {
        (&next[..1], &told[..])
    } else {
        (&told[..], &next[..])
    };
    [&waits[..], first, second].concat()
}

#[test]
fn a_generation_that_gives_a_partition_away_while_its_member_waits_has_two_owners() {
    assert_eq!(anomalies(generations(false)), []);
    assert_eq!(anomalies(generations(true)), two_owners());
}

#[test]
fn the_predecessor_of_a_static_member_may_not_commit_any_more() {
    let succeeded = [gained(A), polled(A, 0), trusted(A, 0), gained(B)];
    let insists = [sent(1, A, 1)];
    let refused = succeeded.iter().cloned().chain(insists.clone());
    assert_eq!(anomalies(refused), []);
    let taken = succeeded.into_iter().chain(insists).chain([accepted(1)]);
    assert_eq!(anomalies(taken), stale(1));
}

#[test]
fn an_excerpt_shows_what_led_to_the_anomaly() {
    let after = [gave_up(B), gained(A)];
    let report = report(generations(true).into_iter().chain(after));
    let [excerpt] = &report.excerpts[..] else {
        panic!("{report}");
    };
    let lines: Vec<_> = excerpt.lines().collect();
    assert!(lines[0].starts_with("two-owners"), "{excerpt}");
    let last = lines.last().expect("lines");
    assert!(
        last.contains("Gained") && last.contains("MemberNumber(2)"),
        "{excerpt}"
    );
}
