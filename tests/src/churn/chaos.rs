//! [`Chaos`]: members that come and go at random until they are told to stop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{task::JoinSet, time::Instant};

use super::{Ending, Life, RawMember, Scene, Standing, SubscribeBy, live};

/// Session of a member that is not to fall silent: much longer than any machine is busy.
pub(super) const LONG_SESSION: Duration = Duration::from_secs(10);
/// Session of a raw member that falls silent: the shortest that the broker grants.
const RAW_SESSION: Duration = Duration::from_secs(1);
/// Session of a member of the client crate that stands still.
const CLIENT_SESSION: Duration = Duration::from_secs(2);
/// How much longer than their session they do.
const SILENCE_BEYOND: Duration = Duration::from_millis(500);
/// Kinds of lives.
const KINDS: usize = 8;
/// How long a member works, in milliseconds.
const WORK_MS: std::ops::Range<u64> = 100..800;

/// Members that come and go.
#[derive(Debug)]
pub(super) struct Chaos {
    actors: JoinSet<Result<()>>,
    is_over: Arc<AtomicBool>,
}

impl Chaos {
    /// Starts so many actors, each of which is one member after the other.
    pub(super) fn start(scene: &Arc<Scene>, actors: usize, seed: u64) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let actor = |number: usize| {
            let (scene, is_over) = (Arc::clone(scene), Arc::clone(&is_over));
            async move {
                let own = u64::try_from(number)?;
                let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(own));
                while !is_over.load(Ordering::Relaxed) {
                    let kind = rng.random_range(0..KINDS);
                    one_life(&scene, &mut rng, kind).await?;
                }
                // While no daemon is killed every kind comes to the end that it is meant to have.
                one_life(&scene, &mut rng, number % KINDS).await
            }
        };
        Self {
            actors: (0..actors).map(actor).collect(),
            is_over,
        }
    }

    /// Fails where an actor did.
    pub(super) async fn check_alive(&mut self) -> Result<()> {
        match self.actors.try_join_next() {
            None => Ok(()),
            Some(ended) => ended?.context("a member in the chaos"),
        }
    }

    /// Waits until all are gone.
    pub(super) async fn end(mut self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.actors.join_next().await {
            ended?.context("a member in the chaos")?;
        }
        Ok(())
    }
}

fn some_work(rng: &mut StdRng) -> Duration {
    Duration::from_millis(rng.random_range(WORK_MS))
}

async fn one_life(scene: &Arc<Scene>, rng: &mut StdRng, kind: usize) -> Result<()> {
    let works = some_work(rng);
    let by = if rng.random() {
        SubscribeBy::Name
    } else {
        SubscribeBy::Regex
    };
    let life = Life {
        session: LONG_SESSION,
        by,
        works: Some(works),
        stands_still: None,
        ending: Ending::Leave,
    };
    match kind {
        0 | 1 => live(Arc::clone(scene), life).await,
        2 => {
            let ending = Ending::Crash;
            live(Arc::clone(scene), Life { ending, ..life }).await
        }
        3 => {
            let stopped = Life {
                session: CLIENT_SESSION,
                stands_still: Some(CLIENT_SESSION + SILENCE_BEYOND),
                ..life
            };
            live(Arc::clone(scene), stopped).await
        }
        4 => silent(scene, works).await,
        5 => interrupted(scene, works).await,
        6 => late(scene, works).await,
        _ => {
            let mut member = RawMember::join(scene, LONG_SESSION).await?;
            finish(&mut member, works).await?;
            member.leave().await
        }
    }
}

async fn finish(member: &mut RawMember, works: Duration) -> Result<Standing> {
    member.work(Instant::now() + works).await
}

/// Falls silent for longer than its session, and then goes on as if nothing had been.
async fn silent(scene: &Arc<Scene>, works: Duration) -> Result<()> {
    let mut member = RawMember::join(scene, RAW_SESSION).await?;
    if finish(&mut member, works).await? == Standing::Member {
        member.pause(RAW_SESSION + SILENCE_BEYOND).await?;
        if finish(&mut member, works).await? == Standing::Member {
            member.leave().await?;
        }
    }
    Ok(())
}

/// Loses its connection and is back at once.
async fn interrupted(scene: &Arc<Scene>, works: Duration) -> Result<()> {
    let mut member = RawMember::join(scene, LONG_SESSION).await?;
    if finish(&mut member, works).await? == Standing::Member
        && member.interrupt().await? == Standing::Member
        && finish(&mut member, works).await? == Standing::Member
    {
        member.leave().await?;
    }
    Ok(())
}

/// Vanishes, and is back when its partitions are with others.
async fn late(scene: &Arc<Scene>, works: Duration) -> Result<()> {
    let mut member = RawMember::join(scene, LONG_SESSION).await?;
    if finish(&mut member, works).await? == Standing::Member {
        member.crash().come_back_late(SILENCE_BEYOND).await?;
    }
    Ok(())
}
