//! [`Run`]: a group under churn from its first member to its last, with the daemon killed in between.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::task::{JoinSet, block_in_place};

use super::{
    Ending, Life, Observation, RawMember, Report, Scene, SubscribeBy,
    chaos::{Chaos, LONG_SESSION},
    check, live,
    observer::{Observer, drain, record_log_ends},
    timing::{self, percentile},
};
use crate::{
    Daemon, DaemonOptions, Native, checker,
    ownership::{self, Ownership},
    workload::{Workload, WorkloadOptions},
};

const GROUP: &str = "churn";
/// Topics and their partitions.
const TOPICS: [(&str, i32); 2] = [("churn-a", 40), ("churn-b", 24)];
/// Members in all; some stay from the beginning to the end.
const MEMBERS: usize = 50;
const STEADY: usize = 6;
/// How long members may take to be back after the daemon's restart; one that crashed before holds its
/// partitions as long.
const BACK_WITHIN: &str = "5s";
/// Pause between two records of one topic.
const PACE: Duration = Duration::from_millis(1);
/// Members that crash in one round of evictions.
const VICTIMS: usize = 4;
/// How long the whole of it may take, per rebalance.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// How long a run is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Rebalances under chaos.
    pub rebalances: i32,
    /// Kills of the daemon, spread over them.
    pub kills: i32,
    /// Rounds of evictions, after the chaos.
    pub eviction_rounds: usize,
    /// Of what is random.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Rebalances, of the chaos and after.
    pub rebalances: i32,
    /// What members did, and how often.
    pub tally: BTreeMap<&'static str, usize>,
    /// The slowest restart of the daemon until it was ready.
    pub slowest_ready: Duration,
    /// What the members saw.
    pub report: Report,
    /// What was written, and read back from the log.
    pub written: checker::Report,
    /// Who held what, by the coordinator's own records.
    pub ownership: Ownership,
    /// From the eviction of a member to the first record that its successor got, of each partition.
    pub evictions: Vec<Duration>,
    /// Between two records of a partition that stayed with its member.
    pub pauses: Vec<Duration>,
    /// How long it took.
    pub elapsed: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} rebalances in {:.1?}: {:?}; daemon ready again within {:?}",
            self.rebalances, self.elapsed, self.tally, self.slowest_ready
        )?;
        writeln!(f, "members: {}", self.report)?;
        writeln!(f, "log: {}", self.written)?;
        let Ownership {
            decisions, moves, ..
        } = self.ownership;
        writeln!(f, "coordinator: {decisions} decisions, {moves} moves")?;
        writeln!(
            f,
            "from an eviction to the new owner's first record, {} partitions: p50 {:?}, p99 {:?}",
            self.evictions.len(),
            percentile(&self.evictions, 50),
            percentile(&self.evictions, 99)
        )?;
        write!(
            f,
            "between two records of a partition that stayed: p50 {:?}, p99 {:?}, longest {:?}",
            percentile(&self.pauses, 50),
            percentile(&self.pauses, 99),
            percentile(&self.pauses, 100)
        )
    }
}

/// What is left when a run is over.
struct End {
    scene: Arc<Scene>,
    slowest_ready: Duration,
    written: checker::Report,
    ownership: Ownership,
}

/// A group, its daemon, and those who write to its topics.
#[derive(Debug)]
pub struct Run {
    daemon: Daemon,
    scene: Arc<Scene>,
    observer: Observer,
    workloads: Vec<Workload>,
    steady: JoinSet<Result<()>>,
    slowest_ready: Duration,
}

impl Run {
    /// Runs a plan.
    ///
    /// # Errors
    /// When the daemon does not come back, the group does not settle, or a client gives up.
    pub async fn carry_out(plan: Plan) -> Result<Outcome> {
        let start = Instant::now();
        let mut run = Self::start().await?;
        let first_epoch = run.observer.until_stable(STEADY).await?.group_epoch;
        run.chaos(plan, first_epoch).await?;
        let evictions_begin = run.scene.recorder.len();
        for _ in 0..plan.eviction_rounds {
            run.evict().await?;
        }
        let group = run.observer.until_stable(STEADY).await?;
        let rebalances = group.group_epoch - first_epoch;
        let end = run.finish().await?;
        let history = end.scene.recorder.observed();
        let evictions = timing::evictions(&history[evictions_begin..]);
        ensure!(evictions.pending == 0, "{evictions:?}");
        Ok(Outcome {
            rebalances,
            tally: end.scene.tally(),
            slowest_ready: end.slowest_ready,
            report: check(&history),
            written: end.written,
            ownership: end.ownership,
            evictions: evictions.times,
            pauses: timing::pauses(&history),
            elapsed: start.elapsed(),
        })
    }

    async fn start() -> Result<Self> {
        let daemon = DaemonOptions::default()
            .set("groups.session_timeout", BACK_WITHIN)
            .start()?;
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
        let scene = Arc::new(Scene::new(daemon.native(), GROUP, &topics));
        let mut steady = JoinSet::new();
        for number in 0..STEADY {
            let by = [SubscribeBy::Name, SubscribeBy::Regex][number % 2];
            let life = Life {
                session: LONG_SESSION,
                by,
                works: None,
                stands_still: None,
                ending: Ending::Leave,
            };
            steady.spawn(live(Arc::clone(&scene), life));
        }
        Ok(Self {
            observer: Observer::start(&scene).await?,
            daemon,
            scene,
            workloads,
            steady,
            slowest_ready: Duration::ZERO,
        })
    }

    /// Members come and go, and the daemon is killed, until there were so many rebalances.
    async fn chaos(&mut self, plan: Plan, first_epoch: i32) -> Result<()> {
        let mut chaos = Chaos::start(&self.scene, MEMBERS - STEADY, plan.seed);
        for stretch in 1..=plan.kills + 1 {
            let goal = first_epoch + plan.rebalances * stretch / (plan.kills + 1);
            let reached = self
                .observer
                .until("the group is rebalanced", |group| group.group_epoch >= goal);
            tokio::time::timeout(STALLED_AFTER, reached).await??;
            chaos.check_alive().await?;
            self.check_alive().await?;
            if stretch <= plan.kills {
                self.kill_daemon()?;
            }
        }
        chaos.end().await?;
        self.observer.until_stable(STEADY).await?;
        Ok(())
    }

    fn kill_daemon(&mut self) -> Result<()> {
        self.scene.count("daemon killed");
        self.scene.recorder.record(Observation::DaemonDown);
        let ready_after = block_in_place(|| {
            self.daemon.kill()?;
            self.daemon.restart()
        })?;
        self.scene.recorder.record(Observation::DaemonUp);
        self.slowest_ready = self.slowest_ready.max(ready_after);
        Ok(())
    }

    async fn check_alive(&mut self) -> Result<()> {
        for workload in &mut self.workloads {
            workload.check_alive().await?;
        }
        if let Some(ended) = self.steady.try_join_next() {
            ended??;
            anyhow::bail!("a member that was to stay is gone");
        }
        Ok(())
    }

    /// Some members join, hold partitions, and crash all at once.
    async fn evict(&mut self) -> Result<()> {
        let mut victims = JoinSet::new();
        let is_time = Arc::new(AtomicBool::new(false));
        for _ in 0..VICTIMS {
            let (scene, is_time) = (Arc::clone(&self.scene), Arc::clone(&is_time));
            victims.spawn(async move {
                let mut victim = RawMember::join(&scene, LONG_SESSION).await?;
                victim
                    .work_until(|| is_time.load(Ordering::Relaxed))
                    .await?;
                ensure!(!victim.partitions().is_empty(), "a victim holds partitions");
                drop(victim.crash());
                Ok(())
            });
        }
        self.observer.until_stable(STEADY + VICTIMS).await?;
        is_time.store(true, Ordering::Relaxed);
        while let Some(victim) = victims.join_next().await {
            victim??;
        }
        self.observer.until_stable(STEADY).await?;
        Ok(())
    }

    /// Nobody writes any more: the members read the rest, commit it, and leave.
    async fn finish(mut self) -> Result<End> {
        self.check_alive().await?;
        let native = Native::connect(self.daemon.native()).await?;
        let mut written = checker::Report::default();
        for workload in self.workloads {
            written.merge(workload.finish(&native).await?);
        }
        drain(&self.scene).await?;
        self.scene.end();
        while let Some(member) = self.steady.join_next().await {
            member??;
        }
        self.observer.finish().await?;
        // What is committed stays when everybody is gone.
        drain(&self.scene).await?;
        record_log_ends(&self.scene).await?;
        self.daemon.terminate()?;
        Ok(End {
            scene: self.scene,
            slowest_ready: self.slowest_ready,
            written,
            ownership: ownership::read(self.daemon.data_dir(), GROUP)?,
        })
    }
}
