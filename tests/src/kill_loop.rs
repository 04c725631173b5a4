//! [`KillLoop`]: rounds of writing and dying, and the count of what they died of.
//!
//! Half the rounds kill the daemon at a random instant, half arm it to kill itself at a named
//! phase. A round counts once it acknowledged [`KillLoop::RECORDS_PER_ROUND`] records and the
//! daemon is dead; one that dies too early is continued with the phase armed for later.

use std::{
    collections::BTreeMap,
    fmt,
    os::unix::process::ExitStatusExt as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use millstream::Client;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    Daemon, DaemonOptions, Native,
    checker::Report,
    native,
    workload::{Workload, WorkloadOptions},
};

/// A phase at which the daemon can be told to kill itself, and how often it passes it before.
const PHASES: [(&str, u64); 6] = [
    ("append", 200),
    ("roll", 1),
    ("flush", 100),
    ("recovery-point", 4),
    ("retention", 2),
    ("topic-creation", 1),
];
/// Rounds after which a new topic takes over, so that no history grows without end.
const ROUNDS_PER_TOPIC: usize = 25;
/// Partitions of the topic that keeps everything.
const PARTITIONS: usize = 4;
/// How long a round may take to acknowledge its records and die.
const ROUND_WITHIN: Duration = Duration::from_secs(60);
/// A random kill comes up to this after the round's records.
const RANDOM_KILL_WITHIN_MS: u64 = 100;
/// Pause between two looks at a round's progress.
const LOOK: Duration = Duration::from_millis(1);

/// What the rounds died of, how many records they acknowledged, what was wrong.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Rounds by cause of death.
    pub deaths: BTreeMap<&'static str, usize>,
    /// The slowest restart until `/ready`.
    pub slowest_ready: Duration,
    /// What the checker found in all topics.
    pub report: Report,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deaths: Vec<_> = self
            .deaths
            .iter()
            .map(|(cause, count)| format!("{cause} {count}"))
            .collect();
        write!(
            f,
            "kills: {}; ready again within {:?}; {}",
            deaths.join(", "),
            self.slowest_ready,
            self.report
        )
    }
}

/// The loop.
#[derive(Debug)]
pub struct KillLoop {
    daemon: Daemon,
    rng: StdRng,
    /// Per phase, how often it is passed before it kills; grows where a round died too early.
    passes: BTreeMap<&'static str, u64>,
    outcome: Outcome,
}

/// The two topics of a stretch of rounds: one that keeps everything, one under retention.
#[derive(Debug)]
struct Stretch {
    kept: Workload,
    retained: Workload,
}

impl Stretch {
    fn acknowledged(&self) -> u64 {
        self.kept.acknowledged() + self.retained.acknowledged()
    }

    fn pause(&self, is_paused: bool) {
        self.kept.pause(is_paused);
        self.retained.pause(is_paused);
    }
}

impl KillLoop {
    /// Records that each round acknowledges at least.
    pub const RECORDS_PER_ROUND: u64 = 10_000;

    /// Starts a daemon.
    ///
    /// # Errors
    /// When it does not start.
    pub fn new(seed: u64) -> Result<Self> {
        let daemon = DaemonOptions::default()
            .set("log.recovery_point_interval", "100ms")
            .set("log.retention_check_interval", "100ms")
            .start()?;
        Ok(Self {
            daemon,
            rng: StdRng::seed_from_u64(seed),
            passes: PHASES.into_iter().collect(),
            outcome: Outcome::default(),
        })
    }

    /// Runs the rounds and checks everything.
    ///
    /// # Errors
    /// When the daemon does not come back, or a client gives up.
    pub async fn run(mut self, rounds: usize) -> Result<Outcome> {
        let mut stretch = None;
        for round in 0..rounds {
            if round % ROUNDS_PER_TOPIC == 0 {
                self.finish(stretch.take()).await?;
                stretch = Some(self.begin(round).await?);
            }
            let stretch = stretch.as_mut().context("a stretch has begun")?;
            let armed = (round % 2 == 1).then(|| PHASES[round / 2 % PHASES.len()].0);
            self.round(round, armed, stretch)
                .await
                .with_context(|| format!("round {round}, {}", armed.unwrap_or("random")))?;
        }
        self.finish(stretch).await?;
        Ok(self.outcome)
    }

    async fn begin(&mut self, round: usize) -> Result<Stretch> {
        let native = Native::connect(self.daemon.native()).await?;
        let client = Client::connect(&self.daemon.native().to_string()).await?;
        let topic = format!("kept-{round}");
        let partitions = i32::try_from(PARTITIONS)?;
        let configs = [("segment.bytes", "1048576"), ("retention.ms", "-1")];
        let topic_id = native.create_topic(&topic, partitions, &configs).await?;
        let kept = WorkloadOptions {
            topic,
            topic_id,
            partitions: PARTITIONS,
            is_followed: true,
            pace: None,
        };
        let topic = format!("retained-{round}");
        let configs = [("segment.bytes", "1048576"), ("retention.bytes", "2097152")];
        let topic_id = native.create_topic(&topic, 1, &configs).await?;
        let retained = WorkloadOptions {
            topic,
            topic_id,
            partitions: 1,
            is_followed: false,
            pace: None,
        };
        Ok(Stretch {
            kept: Workload::start(&client, kept).await?,
            retained: Workload::start(&client, retained).await?,
        })
    }

    async fn finish(&mut self, stretch: Option<Stretch>) -> Result<()> {
        let Some(stretch) = stretch else {
            return Ok(());
        };
        let native = Native::connect(self.daemon.native()).await?;
        self.outcome
            .report
            .merge(stretch.kept.finish(&native).await?);
        self.outcome
            .report
            .merge(stretch.retained.finish(&native).await?);
        Ok(())
    }

    /// Writes until enough is acknowledged and the daemon is dead, starts it again, verifies.
    async fn round(
        &mut self,
        round: usize,
        armed: Option<&'static str>,
        stretch: &mut Stretch,
    ) -> Result<()> {
        let goal = stretch.acknowledged() + Self::RECORDS_PER_ROUND;
        if let Some(phase) = armed {
            self.rearm(phase)?;
        }
        let cause = loop {
            stretch.pause(false);
            let cause = self.until_dead(round, armed, stretch, goal).await?;
            if stretch.acknowledged() >= goal {
                break cause;
            }
            // Too early: the phase comes more often than thought.
            *self
                .passes
                .get_mut(cause)
                .context("only phases kill early")? *= 2;
            self.start_armed(cause)?;
        };
        *self.outcome.deaths.entry(cause).or_default() += 1;
        stretch.pause(true);
        self.outcome.slowest_ready = self.outcome.slowest_ready.max(self.daemon.restart()?);
        let native = Native::connect(self.daemon.native()).await?;
        if cause == "topic-creation" {
            check_created(&native, &created_topic(round)).await?;
        }
        for workload in [&mut stretch.kept, &mut stretch.retained] {
            workload.verify(&native).await?;
            workload.check_alive().await?;
            let report = workload.report_so_far();
            ensure!(
                report.anomalies.is_empty(),
                "{report}\n{}",
                self.daemon.log_tail()
            );
        }
        stretch.pause(false);
        Ok(())
    }

    /// Stops the daemon in good order and starts it armed.
    fn rearm(&mut self, phase: &'static str) -> Result<()> {
        let status = self.daemon.terminate()?;
        ensure!(status.success(), "SIGTERM ended it with {status}");
        self.start_armed(phase)
    }

    /// Starts the daemon armed; one that dies of it before it is ready is armed for later.
    fn start_armed(&mut self, phase: &'static str) -> Result<()> {
        loop {
            let arming = self.arming(phase);
            self.daemon.spawn(&[("MILLSTREAM_KILL_AT", &arming)])?;
            let ready = self.daemon.wait_ready();
            let is_killed = self
                .daemon
                .exit_status()
                .is_some_and(|end| end.signal() == Some(9));
            if !is_killed {
                return ready;
            }
            self.daemon.wait_end(Duration::ZERO)?;
            *self.passes.entry(phase).or_default() *= 2;
        }
    }

    fn arming(&mut self, phase: &'static str) -> String {
        let passes = self.passes[phase];
        // A creation of a topic is asked for; the other phases come by themselves.
        let extra = if phase == "topic-creation" {
            0
        } else {
            self.rng.random_range(0..=passes / 2)
        };
        format!("{phase}:{}", passes + extra)
    }

    /// Waits for the daemon's death, and causes it where none is armed. Returns its cause.
    async fn until_dead(
        &mut self,
        round: usize,
        armed: Option<&'static str>,
        stretch: &mut Stretch,
        goal: u64,
    ) -> Result<&'static str> {
        let start = Instant::now();
        let mut is_creation_asked = false;
        loop {
            if let Some(status) = self.daemon.exit_status() {
                let phase = armed.context("nothing was armed")?;
                ensure!(status.signal() == Some(9), "it ended with {status}");
                self.daemon.wait_end(Duration::ZERO)?;
                return Ok(phase);
            }
            stretch.kept.check_alive().await?;
            stretch.retained.check_alive().await?;
            if stretch.acknowledged() >= goal {
                match armed {
                    None => {
                        let wait = self.rng.random_range(0..RANDOM_KILL_WITHIN_MS);
                        tokio::time::sleep(Duration::from_millis(wait)).await;
                        self.daemon.kill()?;
                        return Ok("random");
                    }
                    Some("topic-creation") if !is_creation_asked => {
                        is_creation_asked = true;
                        let native = Native::connect(self.daemon.native()).await?;
                        let asked = native.create_topic(&created_topic(round), 2, &[]).await;
                        ensure!(
                            asked.is_err(),
                            "a daemon that dies in a creation answers it"
                        );
                    }
                    Some(_) => {}
                }
            }
            if start.elapsed() > ROUND_WITHIN {
                bail!(
                    "{} of {goal} acknowledged and not dead after {ROUND_WITHIN:?}",
                    stretch.acknowledged()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn created_topic(round: usize) -> String {
    format!("created-{round}")
}

/// A topic whose creation was cut off is there or not, and either way can be there afterwards.
async fn check_created(native: &Native, topic: &str) -> Result<()> {
    let listed = native.list_topics().await?.iter().any(|name| name == topic);
    let answer = native.try_create_topic(topic, 2, &[]).await?;
    let existed = answer
        .error
        .as_ref()
        .is_some_and(|error| error.name == "TOPIC_ALREADY_EXISTS");
    ensure!(
        existed == listed,
        "{topic} listed: {listed}, created again: {:?}",
        answer.error
    );
    let topic_id = native.describe_topic(topic).await?.topic_id;
    for partition in 0..2 {
        let batch = native::batch(Default::default(), 0, ["it works"]);
        native
            .produce()
            .await?
            .produce(&topic_id, partition, batch)
            .await?;
    }
    Ok(())
}
