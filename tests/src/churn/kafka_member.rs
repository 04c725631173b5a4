//! [`KafkaMember`]: a member that speaks the Kafka protocol itself: the classic one, where members join
//! generations and one of them assigns, or that of KIP-848, where the broker does.
//!
//! ```text
//!   coordinator  join, sync, heartbeat, leave      classic.rs, leader.rs; consumer.rs
//!   reader       records, committed offsets, commits              reader.rs
//! ```
//!
//! Each has a connection of its own: a join may wait for others while records are read. What a request
//! means that was lost with its connection nobody knows, so it is made again.

mod classic;
mod consumer;
mod leader;
mod reader;

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Result, bail, ensure};
use kafka_protocol::ResponseError;
use millstream_proto::TopicPartition;
use tokio::time::{Instant, sleep};

use self::reader::Reader;
use super::{
    Standing,
    scene::{AWAY_MAX, BROKERS_SESSION, RETRY, Scene},
    witness::Witness,
};
use crate::{
    Kafka,
    kafka::{DescribedTopic, Identity},
};

/// How often a member shows that it is alive: much more often than it has to, to hear of rebalances.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);
/// How long a member may take to give up what it is to: longer than any session, so that only silence
/// ends a membership.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a group may take to let a member in.
const JOINED_WITHIN: Duration = Duration::from_secs(60);

/// What a member speaks, of the Kafka protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The classic protocol; the member gives everything up before it joins a generation.
    Eager,
    /// The classic protocol; the member keeps what it holds until its assignment says otherwise.
    Cooperative,
    /// The protocol of KIP-848.
    Consumer,
}

/// A member.
#[derive(Debug)]
pub struct KafkaMember {
    witness: Witness,
    dialect: Dialect,
    identity: Identity,
    topics: Vec<DescribedTopic>,
    coordinator: Kafka,
    reader: Reader,
    heartbeat_at: Instant,
    /// It has to say something before its next heartbeat: to join, or what it holds.
    has_to_speak: bool,
    /// It was told once what to hold.
    is_member: bool,
    /// Its connections are new, and the broker did not answer since.
    is_back: bool,
}

/// What the answer of a coordinator means to a member.
enum Verdict {
    Fine,
    /// There is no coordinator now.
    Later,
    JoinAgain,
    /// The generation went on without the member, which holds nothing any more.
    Lost,
    Fenced,
}

impl Verdict {
    fn of(code: i16) -> Result<Self> {
        use ResponseError as Error;
        Ok(match ResponseError::try_from_code(code) {
            None => Self::Fine,
            Some(Error::RebalanceInProgress) => Self::JoinAgain,
            Some(Error::IllegalGeneration) => Self::Lost,
            Some(Error::UnknownMemberId | Error::FencedMemberEpoch | Error::FencedInstanceId) => {
                Self::Fenced
            }
            Some(error) if error.is_retriable() => Self::Later,
            Some(error) => bail!("a member is refused: {error:?}"),
        })
    }
}

/// Connects, again while the daemon is away.
async fn connect(address: SocketAddr) -> Result<Kafka> {
    let end = Instant::now() + AWAY_MAX;
    loop {
        match Kafka::connect(address).await {
            Ok(kafka) => return Ok(kafka),
            Err(_) if Instant::now() < end => sleep(RETRY).await,
            Err(error) => return Err(error),
        }
    }
}

/// Describes the topics of a scene, again while the daemon is away or starts.
async fn describe(scene: &Scene) -> Result<(Kafka, Vec<DescribedTopic>)> {
    let end = Instant::now() + AWAY_MAX;
    loop {
        let mut kafka = connect(scene.kafka).await?;
        match kafka.describe_topics(&scene.topics).await {
            Ok(topics) => return Ok((kafka, topics)),
            Err(_) if Instant::now() < end => sleep(RETRY).await,
            Err(error) => return Err(error),
        }
    }
}

impl KafkaMember {
    /// Joins the group anew, and waits until it is told what to hold. With an instance id it is a static
    /// member. Its session is the broker's where the protocol has no word for it.
    ///
    /// # Errors
    /// When the group refuses, takes too long, or the daemon stays away.
    pub async fn join(
        scene: &Arc<Scene>,
        dialect: Dialect,
        session: Duration,
        instance_id: Option<String>,
    ) -> Result<Self> {
        let (coordinator, topics) = describe(scene).await?;
        let session = match dialect {
            Dialect::Consumer => BROKERS_SESSION,
            Dialect::Eager | Dialect::Cooperative => session,
        };
        let mut member = Self {
            witness: Witness::new(scene, session),
            dialect,
            identity: Identity {
                group: scene.group.clone(),
                instance_id,
                ..Identity::default()
            },
            topics,
            coordinator,
            reader: Reader::new(connect(scene.kafka).await?, dialect),
            heartbeat_at: Instant::now(),
            has_to_speak: true,
            is_member: false,
            is_back: false,
        };
        let end = Instant::now() + JOINED_WITHIN;
        while !member.is_member {
            ensure!(Instant::now() < end, "not joined: {member:?}");
            member.go_on().await?;
        }
        scene.count("joined");
        Ok(member)
    }

    /// Is a member until the run is over, a new one whenever the membership ends.
    ///
    /// # Errors
    /// As [`KafkaMember::join`] and [`KafkaMember::work`].
    pub async fn stay(scene: &Arc<Scene>, dialect: Dialect) -> Result<()> {
        loop {
            let mut member = Self::join(scene, dialect, BROKERS_SESSION, None).await?;
            let mut standing = Standing::Member;
            while standing == Standing::Member && !scene.is_over() {
                standing = member.go_on().await?;
            }
            if standing == Standing::Member {
                return member.leave().await;
            }
        }
    }

    /// Its session.
    #[must_use]
    pub const fn session(&self) -> Duration {
        self.witness.session()
    }

    /// Reads, commits, rebalances and shows that it is alive until a time.
    ///
    /// # Errors
    /// When the broker breaks the protocol, or stays away.
    pub async fn work(&mut self, until: Instant) -> Result<Standing> {
        while Instant::now() < until {
            if self.go_on().await? == Standing::Fenced {
                return Ok(Standing::Fenced);
            }
        }
        Ok(Standing::Member)
    }

    /// Takes the next step, on new connections where they broke.
    async fn go_on(&mut self) -> Result<Standing> {
        match self.step().await {
            Ok(standing) => Ok(standing),
            Err(error) if error.is::<io::Error>() => {
                self.reconnect().await?;
                Ok(Standing::Member)
            }
            Err(error) => Err(error),
        }
    }

    async fn step(&mut self) -> Result<Standing> {
        if !self.has_to_speak && Instant::now() < self.heartbeat_at {
            self.reader.work(&self.identity, &self.witness).await?;
            return Ok(Standing::Member);
        }
        self.heartbeat_at = Instant::now() + HEARTBEAT_INTERVAL;
        match self.dialect {
            Dialect::Consumer => self.consumer_heartbeat().await,
            Dialect::Eager | Dialect::Cooperative if self.has_to_speak => self.rebalance().await,
            Dialect::Eager | Dialect::Cooperative => self.classic_heartbeat().await,
        }
    }

    async fn reconnect(&mut self) -> Result<()> {
        let address = self.witness.scene().kafka;
        self.coordinator = connect(address).await?;
        self.reader.reconnect(connect(address).await?);
        self.is_back = true;
        self.heartbeat_at = Instant::now();
        self.has_to_speak |= self.dialect == Dialect::Consumer;
        Ok(())
    }

    /// The broker confirmed the membership.
    fn confirmed(&mut self) {
        if std::mem::take(&mut self.is_back) {
            self.witness.count("resumed");
            self.witness.resumed();
        }
    }

    /// The broker did not do what the member asked for.
    async fn refused(&mut self, verdict: Verdict) -> Result<Standing> {
        match verdict {
            Verdict::Fine => {}
            Verdict::Later => sleep(RETRY).await,
            Verdict::JoinAgain => self.has_to_speak = true,
            Verdict::Lost => {
                self.witness.count("generation lost");
                self.witness.gave_up(self.reader.drop_all());
                self.has_to_speak = true;
            }
            Verdict::Fenced if self.is_member => {
                self.witness.fenced();
                self.reader.drop_all();
                return Ok(Standing::Fenced);
            }
            Verdict::Fenced => {
                self.identity.member_id.clear();
                self.identity.epoch = 0;
                self.has_to_speak = true;
            }
        }
        Ok(Standing::Member)
    }

    /// Holds what it is assigned and nothing else, and says so where that is news.
    async fn hold(&mut self, assigned: BTreeSet<TopicPartition>) -> Result<()> {
        let held = self.reader.partitions();
        let gained: Vec<_> = assigned.difference(&held).cloned().collect();
        let dropped: Vec<_> = held.difference(&assigned).cloned().collect();
        let is_news = self.dialect == Dialect::Consumer && !gained.is_empty();
        self.has_to_speak |= is_news || !dropped.is_empty();
        self.witness.gained(gained.clone());
        self.reader.add(gained);
        self.give_up(dropped).await
    }

    /// Commits what it read, and works no more on these partitions.
    async fn give_up(&mut self, partitions: Vec<TopicPartition>) -> Result<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        let committed = self.reader.commit(&self.identity, &self.witness).await;
        self.reader.drop(&partitions);
        self.witness.gave_up(partitions);
        committed
    }

    /// Does nothing at all for longer than its session, then commits what it had read as if nothing had
    /// been.
    ///
    /// # Errors
    /// When the broker breaks the protocol.
    pub async fn pause(&mut self, time: Duration) -> Result<()> {
        self.witness.count("paused");
        sleep(time).await;
        self.witness.stood_still();
        self.insist().await
    }

    /// Commits what it holds, whether it may or not.
    async fn insist(&mut self) -> Result<()> {
        match self.reader.insist(&self.identity, &self.witness).await {
            // Where the connection broke meanwhile the next look finds it.
            Err(error) if !error.is::<io::Error>() => Err(error),
            _ => Ok(()),
        }
    }

    /// Loses its connections, and has new ones at once.
    ///
    /// # Errors
    /// When the daemon stays away.
    pub async fn interrupt(&mut self) -> Result<()> {
        self.witness.count("interrupted");
        self.reconnect().await
    }

    /// Commits, and leaves.
    ///
    /// # Errors
    /// When the broker breaks the protocol.
    pub async fn leave(mut self) -> Result<()> {
        let _ = self.reader.commit(&self.identity, &self.witness).await;
        self.witness.left();
        let left = match self.dialect {
            Dialect::Consumer => self.leave_consumers().await,
            Dialect::Eager | Dialect::Cooperative => self.leave_generation().await,
        };
        match left {
            // Where the daemon is away the broker finds out by itself.
            Err(error) if !error.is::<io::Error>() => Err(error),
            _ => Ok(()),
        }
    }

    /// Vanishes without a word, which only its silence tells.
    pub fn crash(self) {
        self.witness.fell_silent();
    }

    /// Hands its name over to a successor while it is still there itself, and goes on as if it did not
    /// know. Returns the successor, after it has worked for some time.
    ///
    /// # Errors
    /// As [`KafkaMember::join`] and [`KafkaMember::work`].
    pub async fn be_succeeded(mut self, works: Duration) -> Result<(Self, Standing)> {
        self.witness.count("succeeded");
        self.witness.trust_at_most(Duration::ZERO);
        let (scene, session) = (Arc::clone(self.witness.scene()), self.session());
        let instance_id = self.identity.instance_id.clone();
        let mut successor = Self::join(&scene, self.dialect, session, instance_id).await?;
        let standing = successor.work(Instant::now() + works).await?;
        self.insist().await?;
        Ok((successor, standing))
    }
}
