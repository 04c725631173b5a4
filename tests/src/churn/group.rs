//! [`Group`]: one group of a run: members that stay, members that come and go, and somebody who looks on.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use millstream_proto::grpc::v1::GroupDescription;
use tokio::task::JoinSet;

use super::{
    Ending, KafkaMember, Life, Observer, Protocol, RawMember, Report, Scene, SubscribeBy,
    chaos::Chaos,
    check, drain, live,
    observer::record_log_ends,
    scene::LONG_SESSION,
    timing::{self, Evictions, percentile},
};
use crate::{
    Daemon,
    ownership::{self, Ownership},
};

/// Members that crash in one round of evictions.
const VICTIMS: usize = 4;

/// Who takes part in a group.
#[derive(Debug, Clone)]
pub struct Cast {
    /// The group.
    pub group: &'static str,
    /// Members that stay from the beginning to the end, and what each speaks.
    pub steady: Vec<Protocol>,
    /// Members that come and go, at a time.
    pub guests: usize,
    /// What these speak, each life another one.
    pub guests_speak: Vec<Protocol>,
    /// Rebalances under chaos.
    pub rebalances: i32,
}

/// What came of a group.
#[derive(Debug)]
pub struct GroupOutcome {
    /// The group.
    pub group: &'static str,
    /// Rebalances, as the broker counts them.
    pub rebalances: i32,
    /// What members did, and how often.
    pub tally: BTreeMap<&'static str, usize>,
    /// What the members saw.
    pub report: Report,
    /// Who held what, by the coordinator's own records.
    pub ownership: Ownership,
    /// From the eviction of a member to the first record that its successor got, of each partition.
    pub evictions: Evictions,
    /// Between two records of a partition that stayed with its member.
    pub pauses: Vec<Duration>,
}

impl fmt::Display for GroupOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ownership {
            decisions, moves, ..
        } = self.ownership;
        writeln!(
            f,
            "group {}: {} rebalances, {:?}",
            self.group, self.rebalances, self.tally
        )?;
        writeln!(f, "  members: {}", self.report)?;
        writeln!(f, "  coordinator: {decisions} decisions, {moves} moves")?;
        if !self.evictions.times.is_empty() {
            writeln!(
                f,
                "  from an eviction to the new owner's first record, {} partitions: p50 {:?}, p99 {:?}",
                self.evictions.times.len(),
                percentile(&self.evictions.times, 50),
                percentile(&self.evictions.times, 99)
            )?;
        }
        write!(
            f,
            "  between two records of a partition that stayed: p50 {:?}, p99 {:?}, longest {:?}",
            percentile(&self.pauses, 50),
            percentile(&self.pauses, 99),
            percentile(&self.pauses, 100)
        )
    }
}

/// A group under churn.
#[derive(Debug)]
pub(super) struct Group {
    cast: Cast,
    scene: Arc<Scene>,
    observer: Observer,
    steady: JoinSet<Result<()>>,
    chaos: Option<Chaos>,
    first_epoch: i32,
    last_epoch: i32,
    /// Where the rounds of evictions begin in the history.
    evictions_begin: usize,
}

impl Group {
    /// Starts the members that stay, and waits until they share the partitions.
    pub(super) async fn start(daemon: &Daemon, topics: &[&str], cast: Cast) -> Result<Self> {
        let scene = Arc::new(Scene::new(daemon, cast.group, topics));
        let mut steady = JoinSet::new();
        for (number, protocol) in cast.steady.iter().enumerate() {
            steady.spawn(stay(Arc::clone(&scene), *protocol, number));
        }
        let mut observer = Observer::start(&scene).await?;
        let first_epoch = observer.until_stable(cast.steady.len()).await?.group_epoch;
        Ok(Self {
            cast,
            scene,
            observer,
            steady,
            chaos: None,
            first_epoch,
            last_epoch: first_epoch,
            evictions_begin: 0,
        })
    }

    pub(super) fn scene(&self) -> &Scene {
        &self.scene
    }

    pub(super) fn begin_chaos(&mut self, seed: u64) {
        let Cast {
            guests,
            guests_speak,
            ..
        } = &self.cast;
        self.chaos = Some(Chaos::start(&self.scene, *guests, guests_speak, seed));
    }

    /// Waits until the group has had this part of its rebalances, `part` of `parts`.
    pub(super) async fn until_rebalanced(&mut self, part: i32, parts: i32) -> Result<()> {
        let goal = self.first_epoch + self.cast.rebalances * part / parts;
        while self.last_epoch < goal {
            let before = self.last_epoch;
            let is_so = |group: &GroupDescription| group.group_epoch > before;
            let group = self
                .observer
                .until("the group is rebalanced", is_so)
                .await?;
            self.last_epoch = group.group_epoch;
            self.check_alive().await?;
        }
        Ok(())
    }

    /// Fails where a member did.
    pub(super) async fn check_alive(&mut self) -> Result<()> {
        if let Some(chaos) = &mut self.chaos {
            chaos.check_alive().await?;
        }
        if let Some(ended) = self.steady.try_join_next() {
            ended??;
            anyhow::bail!("a member that was to stay is gone");
        }
        Ok(())
    }

    /// Waits until those who come and go are gone.
    pub(super) async fn end_chaos(&mut self) -> Result<()> {
        if let Some(chaos) = self.chaos.take() {
            chaos.end().await?;
        }
        self.until_stable(0).await?;
        self.evictions_begin = self.scene.recorder.len();
        Ok(())
    }

    async fn until_stable(&mut self, guests: usize) -> Result<()> {
        let members = self.cast.steady.len() + guests;
        let stable = self.observer.until_stable(members).await;
        // A member that failed is the better reason.
        self.check_alive().await?;
        self.last_epoch = stable?.group_epoch;
        Ok(())
    }

    /// Some members join, hold partitions, and crash all at once.
    pub(super) async fn evict(&mut self) -> Result<()> {
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
        self.until_stable(VICTIMS).await?;
        is_time.store(true, Ordering::Relaxed);
        while let Some(victim) = victims.join_next().await {
            victim??;
        }
        self.until_stable(0).await
    }

    /// Nobody writes any more: the members read the rest, commit it, and leave.
    pub(super) async fn finish(mut self) -> Result<Finished> {
        self.check_alive().await?;
        drain(&self.scene).await?;
        self.scene.end();
        while let Some(member) = self.steady.join_next().await {
            member??;
        }
        self.observer.finish().await?;
        // What is committed stays when everybody is gone.
        drain(&self.scene).await?;
        record_log_ends(&self.scene).await?;
        Ok(Finished {
            group: self.cast.group,
            rebalances: self.last_epoch - self.first_epoch,
            scene: self.scene,
            evictions_begin: self.evictions_begin,
        })
    }
}

/// A group that nobody is in any more.
#[derive(Debug)]
pub(super) struct Finished {
    group: &'static str,
    rebalances: i32,
    scene: Arc<Scene>,
    evictions_begin: usize,
}

impl Finished {
    /// Judges the group, whose daemon is stopped.
    pub(super) fn judge(self, daemon: &Daemon) -> Result<GroupOutcome> {
        let history = self.scene.recorder.observed();
        Ok(GroupOutcome {
            group: self.group,
            rebalances: self.rebalances,
            tally: self.scene.tally(),
            report: check(&history),
            ownership: ownership::read(daemon.data_dir(), self.group)?,
            evictions: timing::evictions(&history[self.evictions_begin..]),
            pauses: timing::pauses(&history),
        })
    }
}

/// Is a member until the run is over.
async fn stay(scene: Arc<Scene>, protocol: Protocol, number: usize) -> Result<()> {
    match protocol {
        Protocol::Kafka(dialect) => KafkaMember::stay(&scene, dialect).await,
        Protocol::Client | Protocol::Native => {
            let life = Life {
                session: LONG_SESSION,
                by: [SubscribeBy::Name, SubscribeBy::Regex][number % 2],
                works: None,
                stands_still: None,
                ending: Ending::Leave,
            };
            live(scene, life).await
        }
    }
}
