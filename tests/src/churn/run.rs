//! [`Run`]: groups under churn from their first members to their last, with the daemon killed in between.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::task::block_in_place;

use super::{
    Observation,
    group::{Cast, Group, GroupOutcome},
    scene::BROKERS_SESSION,
};
use crate::{
    Daemon, DaemonOptions, Native, checker,
    workload::{Workload, WorkloadOptions},
};

/// Topics and their partitions; every group reads all of them.
const TOPICS: [(&str, i32); 2] = [("churn-a", 40), ("churn-b", 24)];
/// Pause between two records of one topic.
const PACE: Duration = Duration::from_millis(1);
/// Settings of the daemon: sessions are as short as members ask for, and a classic group begins at once.
const SETTINGS: [(&str, &str); 2] = [
    ("groups.classic_session_timeout_min", "1s"),
    ("groups.initial_rebalance_delay", "100ms"),
];

/// What is to happen.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The groups.
    pub casts: Vec<Cast>,
    /// Kills of the daemon, spread over their rebalances.
    pub kills: i32,
    /// Rounds of evictions in the first group, after the chaos.
    pub eviction_rounds: usize,
    /// Of what is random.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Each group.
    pub groups: Vec<GroupOutcome>,
    /// The slowest restart of the daemon until it was ready.
    pub slowest_ready: Duration,
    /// What was written, and read back from the log.
    pub written: checker::Report,
    /// How long it took.
    pub elapsed: Duration,
}

impl Outcome {
    /// Rebalances of all groups.
    #[must_use]
    pub fn rebalances(&self) -> i32 {
        self.groups.iter().map(|group| group.rebalances).sum()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} rebalances in {:.1?}; daemon ready again within {:?}",
            self.rebalances(),
            self.elapsed,
            self.slowest_ready
        )?;
        write!(f, "log: {}", self.written)?;
        for group in &self.groups {
            write!(f, "\n{group}")?;
        }
        Ok(())
    }
}

/// A daemon with its groups, and those who write to its topics.
#[derive(Debug)]
pub struct Run {
    daemon: Daemon,
    groups: Vec<Group>,
    workloads: Vec<Workload>,
    slowest_ready: Duration,
}

impl Run {
    /// Runs a plan.
    ///
    /// # Errors
    /// When the daemon does not come back, a group does not settle, or a client gives up.
    pub async fn carry_out(plan: Plan) -> Result<Outcome> {
        let start = Instant::now();
        let mut run = Self::start(plan.casts).await?;
        run.chaos(plan.kills, plan.seed).await?;
        for _ in 0..plan.eviction_rounds {
            run.groups[0].evict().await?;
        }
        run.finish(start).await
    }

    async fn start(casts: Vec<Cast>) -> Result<Self> {
        let options = DaemonOptions::default().set(
            "groups.session_timeout",
            format!("{}s", BROKERS_SESSION.as_secs()),
        );
        let options = SETTINGS
            .iter()
            .fold(options, |options, (key, value)| options.set(key, value));
        let daemon = options.start()?;
        let native = Native::connect(daemon.native()).await?;
        let client = millstream::Client::connect(&daemon.native().to_string()).await?;
        let mut workloads = Vec::new();
        for (topic, partitions) in TOPICS {
            let options = WorkloadOptions {
                topic: topic.to_owned(),
                topic_id: native.create_topic(topic, partitions, &[]).await?,
                partitions: usize::try_from(partitions)?,
                is_followed: false,
                pace: Some(PACE),
            };
            workloads.push(Workload::start(&client, options).await?);
        }
        let topics = TOPICS.map(|(topic, _)| topic);
        let mut groups = Vec::new();
        for cast in casts {
            groups.push(Group::start(&daemon, &topics, cast).await?);
        }
        Ok(Self {
            daemon,
            groups,
            workloads,
            slowest_ready: Duration::ZERO,
        })
    }

    /// Members come and go, and the daemon is killed, until there were so many rebalances.
    async fn chaos(&mut self, kills: i32, seed: u64) -> Result<()> {
        for (group, seed) in self.groups.iter_mut().zip(seed..) {
            group.begin_chaos(seed);
        }
        for part in 1..=kills + 1 {
            for group in &mut self.groups {
                group.until_rebalanced(part, kills + 1).await?;
            }
            self.check_alive().await?;
            if part <= kills {
                self.kill_daemon()?;
            }
        }
        for group in &mut self.groups {
            group.end_chaos().await?;
        }
        Ok(())
    }

    fn kill_daemon(&mut self) -> Result<()> {
        let tell = |what: Observation| {
            let scenes = self.groups.iter().map(Group::scene);
            scenes.for_each(|scene| scene.recorder.record(what.clone()));
        };
        tell(Observation::DaemonDown);
        let ready_after = block_in_place(|| {
            self.daemon.kill()?;
            self.daemon.restart()
        })?;
        tell(Observation::DaemonUp);
        self.groups
            .iter()
            .for_each(|group| group.scene().count("daemon killed"));
        self.slowest_ready = self.slowest_ready.max(ready_after);
        Ok(())
    }

    async fn check_alive(&mut self) -> Result<()> {
        for workload in &mut self.workloads {
            workload.check_alive().await?;
        }
        for group in &mut self.groups {
            group.check_alive().await?;
        }
        Ok(())
    }

    async fn finish(mut self, start: Instant) -> Result<Outcome> {
        self.check_alive().await?;
        let native = Native::connect(self.daemon.native()).await?;
        let mut written = checker::Report::default();
        for workload in self.workloads {
            written.merge(workload.finish(&native).await?);
        }
        let mut finished = Vec::new();
        for group in self.groups {
            finished.push(group.finish().await?);
        }
        self.daemon.terminate()?;
        let groups = finished.into_iter().map(|group| group.judge(&self.daemon));
        let groups: Vec<GroupOutcome> = groups.collect::<Result<_>>()?;
        let evictions = groups.iter().map(|group| &group.evictions);
        for evictions in evictions {
            ensure!(evictions.pending == 0, "{evictions:?}");
        }
        Ok(Outcome {
            groups,
            slowest_ready: self.slowest_ready,
            written,
            elapsed: start.elapsed(),
        })
    }
}
