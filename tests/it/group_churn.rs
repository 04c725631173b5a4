//! Members of a group join, leave, crash and stand still, and the daemon is killed: a partition never
//! has two owners, nothing committed is lost, every record is seen, and nobody is stopped for another.
//!
//! `MILLSTREAM_REBALANCES`, `MILLSTREAM_MIXED_REBALANCES` and `MILLSTREAM_CHURN_SEED` make it longer and
//! repeat a run.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use millstream::Client;
use millstream_tests::{
    Daemon, Native,
    churn::{
        Cast, Dialect, Ending, Life, Observer, Outcome, Plan, Protocol, RawMember, Run, Scene,
        SubscribeBy, check, drain, live, moves, record_log_ends, timing,
    },
    scale,
    workload::{Workload, WorkloadOptions},
};
use tokio::task::JoinSet;

/// Rebalances in CI.
const REBALANCES: i32 = 150;
const MIXED_REBALANCES: i32 = 200;
/// Rebalances between two kills of the daemon, of which there are at least two.
const REBALANCES_PER_KILL: i32 = 200;
const KILLS_MIN: i32 = 2;
/// Rounds of evictions in CI; the long form has more.
const EVICTION_ROUNDS: usize = 3;
const EVICTION_ROUNDS_LONG: usize = 25;
/// From an eviction to the new owner's first record, 99 of 100.
const EVICTION_P99: Duration = Duration::from_millis(100);
/// Machines that run CI are shared: times are asserted at ten times their value there.
const CI_FACTOR: u32 = 10;
/// What members of the native API do in a run, each at least once.
const DONE_NATIVE: &[&str] = &[
    "joined",
    "left",
    "crashed",
    "paused",
    "stood still",
    "interrupted",
    "resumed",
    "fenced",
    "lost",
    "late return refused",
    "daemon killed",
];
/// What members of the Kafka protocol do.
const DONE_KAFKA: &[&str] = &[
    "joined",
    "left",
    "crashed",
    "paused",
    "interrupted",
    "resumed",
    "fenced",
    "succeeded",
    "commit refused",
    "daemon killed",
];

const EAGER: Protocol = Protocol::Kafka(Dialect::Eager);
const COOPERATIVE: Protocol = Protocol::Kafka(Dialect::Cooperative);
const CONSUMER: Protocol = Protocol::Kafka(Dialect::Consumer);

fn seed() -> u64 {
    let seed = scale::from_environment("MILLSTREAM_CHURN_SEED", u64::from(std::process::id()));
    println!("MILLSTREAM_CHURN_SEED={seed}");
    seed
}

fn kills(rebalances: i32) -> i32 {
    (rebalances / REBALANCES_PER_KILL).max(KILLS_MIN)
}

fn assert_no_anomaly(outcome: &Outcome) {
    println!("{outcome}");
    assert!(outcome.written.anomalies.is_empty(), "{outcome}");
    for group in &outcome.groups {
        assert!(group.report.anomalies.is_empty(), "{outcome}");
        assert!(group.report.stale_commits_sent > 0, "{outcome}");
    }
}

fn assert_done(outcome: &Outcome, group: usize, done: &[&str]) {
    let group = &outcome.groups[group];
    for done in done {
        assert!(group.tally.contains_key(done), "nobody {done}: {group}");
    }
}

fn assert_eviction_times(outcome: &Outcome, limit: Duration) {
    let times = &outcome.groups[0].evictions.times;
    let p99 = timing::percentile(times, 99);
    assert!(!times.is_empty(), "{outcome}");
    assert!(p99 <= limit, "{p99:?}: {outcome}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn group_churn_gives_no_partition_twice_and_loses_no_commit_and_no_record() -> Result<()> {
    let rebalances = scale::from_environment("MILLSTREAM_REBALANCES", REBALANCES);
    let is_long = rebalances > REBALANCES;
    let cast = Cast {
        group: "churn",
        steady: vec![Protocol::Client; 6],
        guests: 44,
        guests_speak: vec![Protocol::Client, Protocol::Native],
        rebalances,
    };
    let outcome = Run::carry_out(Plan {
        casts: vec![cast],
        kills: kills(rebalances),
        eviction_rounds: if is_long {
            EVICTION_ROUNDS_LONG
        } else {
            EVICTION_ROUNDS
        },
        seed: seed(),
    })
    .await?;
    assert_no_anomaly(&outcome);
    assert!(outcome.rebalances() >= rebalances, "{outcome}");
    assert_done(&outcome, 0, DONE_NATIVE);
    let factor = if is_long { 1 } else { CI_FACTOR };
    assert_eviction_times(&outcome, EVICTION_P99 * factor);
    Ok(())
}

/// Fifty members of every protocol, in three groups: one of all protocols at once; one of the classic
/// protocol, of both its kinds; and one that changes its kind whenever members of another protocol come
/// to those of the classic one that stay, and are gone again. A classic generation waits for those who
/// are gone, and so there are fewer of them in the same time.
fn casts(rebalances: i32) -> Vec<Cast> {
    let everybody = vec![
        Protocol::Client,
        Protocol::Native,
        CONSUMER,
        EAGER,
        COOPERATIVE,
    ];
    vec![
        Cast {
            group: "mixed",
            steady: vec![
                Protocol::Client,
                Protocol::Client,
                CONSUMER,
                CONSUMER,
                EAGER,
                COOPERATIVE,
            ],
            guests: 20,
            guests_speak: everybody,
            rebalances: rebalances / 2,
        },
        Cast {
            group: "classic",
            steady: vec![EAGER, COOPERATIVE, COOPERATIVE],
            guests: 11,
            guests_speak: vec![EAGER, COOPERATIVE],
            rebalances: rebalances / 10,
        },
        Cast {
            group: "migrating",
            steady: vec![EAGER, COOPERATIVE, COOPERATIVE],
            guests: 7,
            guests_speak: vec![CONSUMER, Protocol::Native, EAGER, COOPERATIVE],
            rebalances: rebalances * 2 / 5,
        },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn churn_of_all_protocols_gives_no_partition_twice_and_loses_no_commit_and_no_record()
-> Result<()> {
    let rebalances = scale::from_environment("MILLSTREAM_MIXED_REBALANCES", MIXED_REBALANCES);
    let outcome = Run::carry_out(Plan {
        casts: casts(rebalances),
        kills: kills(rebalances),
        eviction_rounds: 0,
        seed: seed(),
    })
    .await?;
    assert_no_anomaly(&outcome);
    assert!(outcome.rebalances() >= rebalances, "{outcome}");
    for group in 0..outcome.groups.len() {
        assert_done(&outcome, group, DONE_KAFKA);
    }
    Ok(())
}

const TOPIC: &str = "calm";
const PARTITIONS: usize = 24;
const STEADY: usize = 5;
/// A slow disk would pause partitions too.
const IN_MEMORY: [(&str, &str); 1] = [("millstream.durability", "replicated")];
/// What a guest gets; without it four members have one more each.
const SHARE: usize = PARTITIONS / (STEADY + 1);
const SESSION: Duration = Duration::from_secs(10);
const ROUNDS: usize = 5;
/// What a partition may pause that stays where it is. It gets a record every 24 ms.
const PAUSE_MAX: Duration = Duration::from_secs(1);

async fn write(daemon: &Daemon, native: &Native) -> Result<Workload> {
    let client = Client::connect(&daemon.native().to_string()).await?;
    let options = WorkloadOptions {
        topic: TOPIC.to_owned(),
        topic_id: native
            .create_topic(TOPIC, i32::try_from(PARTITIONS)?, &IN_MEMORY)
            .await?,
        partitions: PARTITIONS,
        is_followed: false,
        pace: Some(Duration::from_millis(1)),
    };
    Workload::start(&client, options).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebalance_leaves_partitions_alone_that_do_not_move() -> Result<()> {
    let daemon = Daemon::start()?;
    let native = Native::connect(daemon.native()).await?;
    let workload = write(&daemon, &native).await?;
    let scene = Arc::new(Scene::new(&daemon, "calm", &[TOPIC]));
    let mut steady = JoinSet::new();
    for _ in 0..STEADY {
        let life = Life {
            session: SESSION,
            by: SubscribeBy::Name,
            works: None,
            stands_still: None,
            ending: Ending::Leave,
        };
        steady.spawn(live(Arc::clone(&scene), life));
    }
    let mut observer = Observer::start(&scene).await?;
    let group = observer.until_stable(STEADY).await?;
    assert_eq!(group.partitions.len(), PARTITIONS);
    observer.until_past(&observer.committed()).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let begin = scene.recorder.len();
        let before = observer.committed();
        let mut guest = RawMember::join(&scene, SESSION).await?;
        guest
            .work_until(|| observer.is_stable(STEADY + 1) && observer.is_past(&before))
            .await?;
        assert_eq!(guest.partitions().len(), SHARE);
        let before = observer.committed();
        guest.leave().await?;
        observer.until_stable(STEADY).await?;
        observer.until_past(&before).await?;
        rounds.push(begin..scene.recorder.len());
    }
    workload.finish(&native).await?;
    drain(&scene).await?;
    scene.end();
    while let Some(member) = steady.join_next().await {
        member??;
    }
    observer.finish().await?;
    record_log_ends(&scene).await?;

    let history = scene.recorder.observed();
    let report = check(&history);
    assert!(report.anomalies.is_empty(), "{report}");
    let mut pauses = Vec::new();
    for round in rounds {
        let moves = moves(&history[round.clone()]);
        // The guest gets its share, and nothing else moves: neither when it comes nor when it goes.
        assert_eq!(moves.given_up.len(), SHARE, "{moves:?}");
        assert!(moves.needless.is_empty(), "{moves:?}");
        pauses.extend(timing::pauses(&history[round]));
    }
    let longest = timing::percentile(&pauses, 100);
    println!(
        "between two records of a partition that stayed: p99 {:?}, longest {longest:?}",
        timing::percentile(&pauses, 99)
    );
    assert!(longest <= PAUSE_MAX, "{longest:?}");
    Ok(())
}
