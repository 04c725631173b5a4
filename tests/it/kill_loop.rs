//! kill -9 in a loop: everything acknowledged is there afterwards, once, where it was.
//!
//! `MILLSTREAM_KILL_ROUNDS` and `MILLSTREAM_KILL_SEED` make it longer and repeat a run.

use anyhow::Result;
use millstream_tests::{kill_loop::KillLoop, scale};

const ROUNDS: usize = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_loop_loses_and_duplicates_nothing() -> Result<()> {
    let rounds = scale::from_environment("MILLSTREAM_KILL_ROUNDS", ROUNDS);
    let seed = scale::from_environment("MILLSTREAM_KILL_SEED", u64::from(std::process::id()));
    println!("MILLSTREAM_KILL_SEED={seed}, {rounds} rounds");
    let outcome = KillLoop::new(seed)?.run(rounds).await?;
    println!("{outcome}");
    assert!(outcome.report.anomalies.is_empty(), "{outcome}");
    let expected = u64::try_from(rounds)? * KillLoop::RECORDS_PER_ROUND;
    assert!(
        u64::try_from(outcome.report.acknowledged)? >= expected,
        "{outcome}"
    );
    assert_eq!(outcome.deaths.values().sum::<usize>(), rounds);
    if rounds >= ROUNDS {
        assert_eq!(outcome.deaths.len(), 7, "random and six phases: {outcome}");
        assert!(
            outcome.deaths.values().all(|count| *count >= 2),
            "{outcome}"
        );
    }
    Ok(())
}
