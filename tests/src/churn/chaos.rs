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

use super::{
    Dialect, Ending, KafkaMember, Life, Protocol, RawMember, Scene, Standing, SubscribeBy, live,
    member::Member, scene::LONG_SESSION,
};

/// Session of a member that is silent sooner or later, where it may say so: the shortest that the
/// broker grants.
const SHORT_SESSION: Duration = Duration::from_secs(1);
/// Session of a member of the client crate that stands still.
const CLIENT_SESSION: Duration = Duration::from_secs(2);
/// How much longer than their session they are silent.
const SILENCE_BEYOND: Duration = Duration::from_millis(500);
/// How long a member works, in milliseconds.
const WORK_MS: std::ops::Range<u64> = 100..800;

/// How a life goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It works, and leaves.
    Leave,
    /// It works, and vanishes.
    Crash,
    /// All of it, with its threads, stops for longer than its session.
    StandStill,
    /// It falls silent for longer than its session, and then goes on as if nothing had been.
    FallSilent,
    /// It loses its connection, and is back at once.
    BeInterrupted,
    /// It vanishes, and is back when its partitions are with others.
    ReturnLate,
    /// Another one takes its name and its place while it is still there.
    BeSucceeded,
}

impl Protocol {
    /// Lives that a member can have.
    const fn fates(self) -> &'static [Fate] {
        match self {
            Self::Client => &[Fate::Leave, Fate::Leave, Fate::Crash, Fate::StandStill],
            Self::Native => &[
                Fate::Leave,
                Fate::FallSilent,
                Fate::BeInterrupted,
                Fate::ReturnLate,
            ],
            Self::Kafka(Dialect::Consumer) => &[
                Fate::Leave,
                Fate::Crash,
                Fate::FallSilent,
                Fate::BeInterrupted,
            ],
            Self::Kafka(Dialect::Eager | Dialect::Cooperative) => &[
                Fate::Leave,
                Fate::Crash,
                Fate::FallSilent,
                Fate::BeInterrupted,
                Fate::BeSucceeded,
            ],
        }
    }
}

/// Members that come and go.
#[derive(Debug)]
pub(super) struct Chaos {
    actors: JoinSet<Result<()>>,
    is_over: Arc<AtomicBool>,
}

impl Chaos {
    /// Starts so many actors, each of which is one member after the other, of these protocols.
    pub(super) fn start(
        scene: &Arc<Scene>,
        actors: usize,
        protocols: &[Protocol],
        seed: u64,
    ) -> Self {
        let lives = protocols.iter().flat_map(|protocol| {
            let fates = protocol.fates().iter();
            fates.map(|fate| (*protocol, *fate))
        });
        let lives: Arc<[(Protocol, Fate)]> = lives.collect();
        let is_over = Arc::new(AtomicBool::new(false));
        let actor = |number: usize| {
            let (scene, is_over) = (Arc::clone(scene), Arc::clone(&is_over));
            let lives = Arc::clone(&lives);
            async move {
                let own = u64::try_from(number)?;
                let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(own));
                while !is_over.load(Ordering::Relaxed) {
                    let any = rng.random_range(0..lives.len());
                    one_life(&scene, &mut rng, lives[any]).await?;
                }
                // While no daemon is killed every life comes to the end that it is meant to have.
                one_life(&scene, &mut rng, lives[number % lives.len()]).await
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

async fn one_life(
    scene: &Arc<Scene>,
    rng: &mut StdRng,
    (protocol, fate): (Protocol, Fate),
) -> Result<()> {
    let works = some_work(rng);
    if protocol == Protocol::Client {
        return live(Arc::clone(scene), client_life(fate, works, rng)).await;
    }
    let session = match fate {
        Fate::Crash | Fate::FallSilent => SHORT_SESSION,
        _ => protocol.long_session(),
    };
    match (fate, protocol) {
        (Fate::ReturnLate, _) => late(scene, works).await,
        (Fate::BeSucceeded, Protocol::Kafka(dialect)) => {
            let name = format!("host-{}", rng.random::<u32>());
            let member = KafkaMember::join(scene, dialect, session, Some(name)).await?;
            succeeded(member, works).await
        }
        _ => {
            let member = Member::join(scene, protocol, session).await?;
            lead(member, fate, works).await
        }
    }
}

/// Has a member live as it is to.
async fn lead(mut member: Member, fate: Fate, works: Duration) -> Result<()> {
    if member.work(works).await? == Standing::Fenced {
        return Ok(());
    }
    let standing = match fate {
        Fate::Crash => {
            member.crash();
            return Ok(());
        }
        Fate::FallSilent => {
            member.pause(member.session() + SILENCE_BEYOND).await?;
            member.work(works).await?
        }
        Fate::BeInterrupted => match member.interrupt().await? {
            Standing::Member => member.work(works).await?,
            Standing::Fenced => Standing::Fenced,
        },
        _ => Standing::Member,
    };
    match standing {
        Standing::Member => member.leave().await,
        Standing::Fenced => Ok(()),
    }
}

fn client_life(fate: Fate, works: Duration, rng: &mut StdRng) -> Life {
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
    match fate {
        Fate::Crash => Life {
            ending: Ending::Crash,
            ..life
        },
        Fate::StandStill => Life {
            session: CLIENT_SESSION,
            stands_still: Some(CLIENT_SESSION + SILENCE_BEYOND),
            ..life
        },
        _ => life,
    }
}

async fn late(scene: &Arc<Scene>, works: Duration) -> Result<()> {
    let mut member = RawMember::join(scene, LONG_SESSION).await?;
    if member.work(Instant::now() + works).await? == Standing::Member {
        member.crash().come_back_late(SILENCE_BEYOND).await?;
    }
    Ok(())
}

async fn succeeded(mut member: KafkaMember, works: Duration) -> Result<()> {
    if member.work(Instant::now() + works).await? == Standing::Member {
        let (successor, standing) = member.be_succeeded(works).await?;
        if standing == Standing::Member {
            successor.leave().await?;
        }
    }
    Ok(())
}
