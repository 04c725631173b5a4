//! [`ClientMember`]: a member that runs the client crate on a thread and a runtime of its own, so that
//! all of it can stand still, or be gone at once, as a process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use millstream::{
    Client, CommitOffset, Consumer, OffsetReset, RebalanceListener, Revocation, RevokedFuture,
    Subscription,
};
use millstream_proto::TopicPartition;
use tokio::{
    runtime,
    sync::oneshot,
    time::{Instant, interval, sleep},
};

use super::{
    MemberNumber, Observation, Recorder,
    scene::{AWAY_MAX, COMMIT_INTERVAL, Scene, eviction_after, place},
};

/// The shortest and the longest pause before a connection is made again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// How long a good-bye may take where the daemon is away.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// How a member subscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribeBy {
    /// By the names of its topics.
    Name,
    /// By a regular expression that matches them.
    Regex,
}

/// How a member ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It gives everything up, commits, and leaves.
    Leave,
    /// Its tasks and connections are gone, without a word.
    Crash,
}

/// The life of a member.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// Its session timeout.
    pub session: Duration,
    /// How it subscribes.
    pub by: SubscribeBy,
    /// How long it works; `None` until the run is over.
    pub works: Option<Duration>,
    /// How long it then stands still, before it works as long again.
    pub stands_still: Option<Duration>,
    /// How it ends.
    pub ending: Ending,
}

/// Lives a life, on a thread of its own. Whoever gives up waiting for it leaves the thread behind.
///
/// # Errors
/// When the group refuses the member, the consumer fails, or the daemon stays away.
pub async fn live(scene: Arc<Scene>, life: Life) -> Result<()> {
    let (ended, end) = oneshot::channel();
    thread::spawn(move || drop(ended.send(live_here(scene, life))));
    end.await.context("a member panicked")?
}

fn live_here(scene: Arc<Scene>, life: Life) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let crashed = runtime.block_on(ClientMember::live(scene, life))?;
    // The tasks of a member that crashed are gone before it could say good-bye.
    drop(runtime);
    drop(crashed);
    Ok(())
}

/// A member.
#[derive(Debug)]
struct ClientMember {
    scene: Arc<Scene>,
    number: MemberNumber,
    session: Duration,
    consumer: Consumer,
    uncommitted: Uncommitted,
}

/// The next offset of each partition that was read since the last commit.
type Uncommitted = Arc<Mutex<BTreeMap<TopicPartition, i64>>>;

impl ClientMember {
    /// Answers the member where it crashes.
    async fn live(scene: Arc<Scene>, life: Life) -> Result<Option<Self>> {
        let mut member = Self::join(scene, life).await?;
        member.work(life.works).await?;
        if let Some(time) = life.stands_still {
            member.scene.count("stood still");
            thread::sleep(time);
            member.recorder().record(Observation::StoodStill {
                member: member.number,
            });
            member.work(life.works).await?;
        }
        match life.ending {
            Ending::Leave => {
                member.leave().await;
                Ok(None)
            }
            Ending::Crash => {
                member.crash();
                Ok(Some(member))
            }
        }
    }

    async fn join(scene: Arc<Scene>, life: Life) -> Result<Self> {
        let client = connect(&scene).await?;
        let number = scene.recorder.member();
        // Of one that stands still nobody knows when the broker heard it last.
        let until = life.stands_still.map(|_| Duration::ZERO);
        scene.recorder.record(Observation::Trusted {
            member: number,
            until,
        });
        let uncommitted = Uncommitted::default();
        let mut consumer = client
            .consumer()
            .group(&scene.group)
            .client_id("client crate")
            .session_timeout(life.session)
            .auto_commit(None)
            .offset_reset(OffsetReset::Earliest)
            .rebalance_listener(Watcher {
                scene: Arc::clone(&scene),
                number,
                uncommitted: Arc::clone(&uncommitted),
            })
            .build()?;
        let subscription = match life.by {
            SubscribeBy::Name => Subscription::topics(scene.topics.clone()),
            SubscribeBy::Regex => Subscription::regex(scene.topics.join("|")),
        };
        consumer.subscribe(subscription).await?;
        scene.count("joined");
        Ok(Self {
            scene,
            number,
            session: life.session,
            consumer,
            uncommitted,
        })
    }

    fn recorder(&self) -> &Recorder {
        &self.scene.recorder
    }

    /// Reads and commits for a time, or until the run is over.
    async fn work(&mut self, time: Option<Duration>) -> Result<()> {
        let scene = Arc::clone(&self.scene);
        let end = async {
            match time {
                Some(time) => sleep(time).await,
                None => scene.over().await,
            }
        };
        tokio::pin!(end);
        let mut commit_due = interval(COMMIT_INTERVAL);
        loop {
            tokio::select! {
                record = self.consumer.recv() => {
                    let record = record?.context("a subscription has no end")?;
                    let partition = place(record.topic.as_str(), record.partition);
                    lock(&self.uncommitted).insert(partition.clone(), record.offset + 1);
                    self.recorder().record(Observation::Polled {
                        member: self.number,
                        partition,
                        offset: record.offset,
                    });
                }
                _ = commit_due.tick() => self.commit()?,
                () = &mut end => return Ok(()),
            }
        }
    }

    /// Starts to commit what was read; the answers are recorded when they come.
    fn commit(&mut self) -> Result<()> {
        for (partition, offset) in std::mem::take(&mut *lock(&self.uncommitted)) {
            let wanted = CommitOffset::new(partition.topic.as_str(), partition.partition.0, offset);
            let commit = self.recorder().commit_sent(self.number, partition, offset);
            let handle = self.consumer.commit_offsets_async([wanted])?;
            let scene = Arc::clone(&self.scene);
            tokio::spawn(async move {
                if handle.await.is_ok() {
                    scene
                        .recorder
                        .record(Observation::CommitAccepted { commit });
                }
            });
        }
        Ok(())
    }

    async fn leave(self) {
        self.scene.count("left");
        // Where the daemon is away the broker finds out by itself.
        let _ = self.consumer.close(CLOSE_WITHIN).await;
        self.scene.recorder.record(Observation::Left {
            member: self.number,
        });
    }

    fn crash(&self) {
        self.scene.count("crashed");
        self.recorder().record(Observation::Broke {
            member: self.number,
            evicted_at: self.recorder().now() + eviction_after(self.session),
        });
    }
}

/// Records what the client crate tells.
struct Watcher {
    scene: Arc<Scene>,
    number: MemberNumber,
    uncommitted: Uncommitted,
}

fn lock(uncommitted: &Uncommitted) -> MutexGuard<'_, BTreeMap<TopicPartition, i64>> {
    uncommitted.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RebalanceListener for Watcher {
    fn assigned(&self, partitions: &[(String, i32)]) {
        let each = |(topic, partition): &(String, i32)| place(topic, *partition);
        self.scene.recorder.record(Observation::Gained {
            member: self.number,
            partitions: partitions.iter().map(each).collect(),
        });
    }

    fn revoked<'a>(&'a self, revocation: &'a Revocation) -> RevokedFuture<'a> {
        Box::pin(async move {
            let recorder = &self.scene.recorder;
            let mut partitions = Vec::new();
            let mut commits = Vec::new();
            let mut offsets = Vec::new();
            for revoked in revocation.partitions() {
                let (topic, partition) = (revoked.topic.as_str(), revoked.partition);
                let place = place(topic, partition);
                lock(&self.uncommitted).remove(&place);
                commits.push(recorder.commit_sent(self.number, place.clone(), revoked.position));
                offsets.push(CommitOffset::new(topic, partition, revoked.position));
                partitions.push(place);
            }
            if revocation.commit_offsets(offsets).await.is_ok() {
                for commit in commits {
                    recorder.record(Observation::CommitAccepted { commit });
                }
            }
            recorder.record(Observation::GaveUp {
                member: self.number,
                partitions,
            });
        })
    }

    fn lost(&self, _: &[(String, i32)]) {
        lock(&self.uncommitted).clear();
        self.scene.recorder.record(Observation::Fenced {
            member: self.number,
        });
        self.scene.count("lost");
    }
}

/// Connects, again while the daemon is away.
async fn connect(scene: &Scene) -> Result<Client> {
    let end = Instant::now() + AWAY_MAX;
    loop {
        let client = Client::builder(&scene.native.to_string())
            .request_timeout(AWAY_MAX)
            .reconnect_backoff(BACKOFF.0, BACKOFF.1);
        match client.connect().await {
            Ok(client) => return Ok(client),
            Err(_) if Instant::now() < end => sleep(BACKOFF.0).await,
            Err(error) => return Err(error.into()),
        }
    }
}
