//! [`RawMember`]: a member that speaks the native API itself, and so can do what the client crate
//! would never do: fall silent, vanish, come back with an old epoch, commit what it has lost.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use millstream_proto::{
    TopicPartition,
    grpc::v1::{self, member_request::Request, member_response::Response},
};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    CommitNumber, MemberNumber,
    link::{Link, Linking, from_wire, to_wire},
    scene::{AWAY_MAX, COMMIT_INTERVAL, RETRY, Scene, eviction_after},
    witness::Witness,
};
use crate::native;

/// How often a member looks whether it is to do something else.
const LOOK: Duration = Duration::from_millis(5);

/// A partition that the member holds.
#[derive(Debug)]
struct Held {
    topic_id: Bytes,
    /// Under which id it is read; `None` until it is.
    fetch_id: Option<u64>,
    /// The next offset to read.
    position: i64,
    committed: i64,
}

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In its group.
    Member,
    /// The broker ended the membership.
    Fenced,
}

/// What woke a member up.
enum News {
    Answer(Response),
    Data(v1::FetchData),
    HeartbeatDue,
    CommitDue,
    TimeIsUp,
}

/// A member.
#[derive(Debug)]
pub struct RawMember {
    witness: Witness,
    link: Box<Link>,
    member_id: String,
    epoch: i32,
    heartbeat_interval: Duration,
    heartbeat_at: Instant,
    commit_at: Instant,
    /// When what it said was sent that is not answered yet.
    unanswered: VecDeque<Duration>,
    held: BTreeMap<TopicPartition, Held>,
}

fn join_request(scene: &Scene, session: Duration) -> Result<v1::MemberJoin> {
    Ok(v1::MemberJoin {
        group_id: scene.group.clone(),
        client_id: "raw".into(),
        subscription: Some(v1::MemberSubscription {
            topics: scene.topics.clone(),
            topic_regex: String::new(),
        }),
        session_timeout_ms: u32::try_from(session.as_millis())?,
        ..v1::MemberJoin::default()
    })
}

/// Joins, again while the daemon is away or loads; `Err` in `Ok` is a refusal for good.
async fn open(
    scene: &Scene,
    join: &v1::MemberJoin,
) -> Result<Result<(Box<Link>, Duration), v1::Error>> {
    let end = Instant::now() + AWAY_MAX;
    loop {
        let asked_at = scene.recorder.now();
        let problem = match Link::open(scene.native, join.clone()).await {
            Ok(Linking::Linked(link)) => return Ok(Ok((link, asked_at))),
            Ok(Linking::Refused(error)) if !error.retriable => return Ok(Err(error)),
            Ok(Linking::Refused(error)) => format!("{}: {}", error.name, error.message),
            Err(error) => format!("{error:#}"),
        };
        ensure!(Instant::now() < end, "cannot join: {problem}");
        sleep(RETRY).await;
    }
}

impl RawMember {
    /// Joins the group anew.
    ///
    /// # Errors
    /// When the group refuses, or the daemon stays away.
    pub async fn join(scene: &Arc<Scene>, session: Duration) -> Result<Self> {
        let join = join_request(scene, session)?;
        let (link, asked_at) = match open(scene, &join).await? {
            Ok(opened) => opened,
            Err(error) => bail!("a new member is refused: {error:?}"),
        };
        let joined = &link.stream.joined;
        let heartbeat_interval = Duration::from_millis(joined.heartbeat_interval_ms.into());
        let session = Duration::from_millis(joined.session_timeout_ms.into());
        let mut member = Self {
            witness: Witness::new(scene, session),
            member_id: joined.member_id.clone(),
            epoch: joined.member_epoch,
            heartbeat_interval,
            heartbeat_at: Instant::now() + heartbeat_interval,
            commit_at: Instant::now() + COMMIT_INTERVAL,
            unanswered: VecDeque::new(),
            held: BTreeMap::new(),
            link,
        };
        member.witness.heard(asked_at);
        scene.count("joined");
        Ok(member)
    }

    fn scene(&self) -> &Arc<Scene> {
        self.witness.scene()
    }

    /// The number under which it is recorded.
    #[must_use]
    pub const fn number(&self) -> MemberNumber {
        self.witness.number()
    }

    /// Its session.
    #[must_use]
    pub const fn session(&self) -> Duration {
        self.witness.session()
    }

    /// Partitions that it holds and has begun to read.
    #[must_use]
    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.held.keys().cloned().collect()
    }

    /// Reads, commits, answers and shows that it is alive until a time. A stream that breaks is
    /// opened again, as the client crate would.
    ///
    /// # Errors
    /// When the broker breaks the protocol, or stays away.
    pub async fn work(&mut self, until: Instant) -> Result<Standing> {
        loop {
            let news = match self.news(until).await {
                Ok(News::TimeIsUp) => return Ok(Standing::Member),
                Ok(news) => news,
                Err(_) => match self.resume().await? {
                    Standing::Member => continue,
                    Standing::Fenced => return Ok(Standing::Fenced),
                },
            };
            let taken = match news {
                News::Answer(Response::Failed(error)) if !error.retriable => {
                    self.fenced();
                    return Ok(Standing::Fenced);
                }
                News::Answer(answer) => self.answer(answer).await,
                News::Data(data) => self.data(data).await,
                News::HeartbeatDue => self.heartbeat().await,
                News::CommitDue => self.commit().await,
                News::TimeIsUp => return Ok(Standing::Member),
            };
            if taken.is_err() && self.resume().await? == Standing::Fenced {
                return Ok(Standing::Fenced);
            }
        }
    }

    /// Works as [`RawMember::work`] until something is so, which it looks at every few milliseconds.
    ///
    /// # Errors
    /// As [`RawMember::work`].
    pub async fn work_until(&mut self, is_so: impl Fn() -> bool) -> Result<Standing> {
        while !is_so() {
            if self.work(Instant::now() + LOOK).await? == Standing::Fenced {
                return Ok(Standing::Fenced);
            }
        }
        Ok(Standing::Member)
    }

    async fn news(&mut self, until: Instant) -> Result<News> {
        let Link { stream, fetch, .. } = &mut *self.link;
        tokio::select! {
            answer = stream.next() => Ok(News::Answer(answer?)),
            data = fetch.data() => Ok(News::Data(data?)),
            () = sleep_until(self.heartbeat_at) => Ok(News::HeartbeatDue),
            () = sleep_until(self.commit_at) => Ok(News::CommitDue),
            () = sleep_until(until) => Ok(News::TimeIsUp),
        }
    }

    async fn answer(&mut self, answer: Response) -> Result<()> {
        match answer {
            Response::Assignment(assignment) => self.reconcile(assignment).await?,
            Response::HeartbeatAck(ack) => {
                self.epoch = self.epoch.max(ack.member_epoch);
                if let Some(sent_at) = self.unanswered.pop_front() {
                    self.witness.heard(sent_at);
                }
            }
            Response::Failed(error) => bail!("{}: {}", error.name, error.message),
            other => bail!("unexpected {other:?}"),
        }
        Ok(())
    }

    async fn heartbeat(&mut self) -> Result<()> {
        self.heartbeat_at = Instant::now() + self.heartbeat_interval;
        self.say(Request::Heartbeat(v1::MemberHeartbeat {})).await
    }

    /// Says something that the broker answers with a HeartbeatAck.
    async fn say(&mut self, request: Request) -> Result<()> {
        self.unanswered.push_back(self.witness.now());
        self.link.stream.send(request).await
    }

    /// Gives up what is not assigned any more, says what it holds, and begins to read what is new.
    async fn reconcile(&mut self, assignment: v1::MemberAssignment) -> Result<()> {
        self.epoch = assignment.member_epoch;
        let target: BTreeMap<_, _> = from_wire(&assignment.partitions).into_iter().collect();
        let is_new = |partition: &&TopicPartition| !self.held.contains_key(partition);
        let gained: Vec<_> = target.keys().filter(is_new).cloned().collect();
        self.witness.gained(gained);
        let is_dropped = |partition: &&TopicPartition| !target.contains_key(partition);
        let dropped: Vec<_> = self.held.keys().filter(is_dropped).cloned().collect();
        self.give_up(dropped).await?;
        for (partition, topic_id) in target {
            self.held.entry(partition).or_insert(Held {
                topic_id,
                fetch_id: None,
                position: 0,
                committed: 0,
            });
        }
        let owned = Request::Owned(v1::MemberOwned {
            partitions: self.owned(),
            sequence: assignment.sequence,
        });
        self.say(owned).await?;
        self.read_new().await
    }

    fn owned(&self) -> Vec<v1::TopicPartitions> {
        to_wire(self.held.iter().map(|(it, held)| (it, &held.topic_id)))
    }

    /// Commits the partitions, and works no more on them.
    async fn give_up(&mut self, partitions: Vec<TopicPartition>) -> Result<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        self.commit().await?;
        for partition in &partitions {
            if let Some(held) = self.held.remove(partition)
                && let Some(fetch_id) = held.fetch_id
            {
                self.link.fetch.remove(fetch_id).await?;
            }
        }
        self.witness.gave_up(partitions);
        Ok(())
    }

    async fn read_new(&mut self) -> Result<()> {
        for (partition, held) in &mut self.held {
            if held.fetch_id.is_some() {
                continue;
            }
            let group = &self.witness.scene().group;
            held.committed = self
                .link
                .committed(group, &held.topic_id, partition)
                .await?;
            held.position = held.committed;
            let index = partition.partition.0;
            held.fetch_id = Some(self.link.read(&held.topic_id, index, held.position).await?);
        }
        Ok(())
    }

    async fn data(&mut self, data: v1::FetchData) -> Result<()> {
        let fetch_id = Some(data.fetch_id);
        let mut all = self.held.iter_mut();
        let Some((partition, held)) = all.find(|(_, held)| held.fetch_id == fetch_id) else {
            return Ok(());
        };
        let bytes = u64::try_from(data.batches.len())?;
        for record in native::records(data.batches)? {
            let offset = record.offset.get();
            if offset < held.position {
                continue;
            }
            held.position = offset + 1;
            self.witness.polled(partition, offset);
        }
        if bytes > 0 {
            self.link.fetch.grant(data.fetch_id, bytes).await?;
        }
        Ok(())
    }

    /// Commits what was read since the last time.
    async fn commit(&mut self) -> Result<()> {
        self.commit_at = Instant::now() + COMMIT_INTERVAL;
        let is_open = |held: &Held| held.fetch_id.is_some() && held.position != held.committed;
        let (commits, offsets) = self.commits_of(is_open);
        if offsets.is_empty() {
            return Ok(());
        }
        let accepted = self.send_commits(&commits, offsets).await?;
        for (partition, offset) in accepted {
            if let Some(held) = self.held.get_mut(&partition) {
                held.committed = offset;
            }
        }
        Ok(())
    }

    /// The positions of some partitions, recorded as about to be sent.
    fn commits_of(&self, is_wanted: impl Fn(&Held) -> bool) -> (Vec<Sent>, Vec<v1::OffsetCommit>) {
        let wanted = self.held.iter().filter(|(_, held)| is_wanted(held));
        let each = |(partition, held): (&TopicPartition, &Held)| {
            let offset = held.position;
            let sent = Sent {
                commit: self.witness.commit_sent(partition, offset),
                partition: partition.clone(),
                offset,
            };
            let wire = v1::OffsetCommit {
                topic_id: held.topic_id.clone(),
                partition: partition.partition.0,
                offset,
                leader_epoch: -1,
                metadata: String::new(),
            };
            (sent, wire)
        };
        wanted.map(each).unzip()
    }

    /// Sends commits; answers those that were accepted.
    async fn send_commits(
        &mut self,
        sent: &[Sent],
        offsets: Vec<v1::OffsetCommit>,
    ) -> Result<Vec<(TopicPartition, i64)>> {
        let request = v1::CommitOffsetsRequest {
            request_id: 0,
            group_id: self.scene().group.clone(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            offsets,
        };
        let answer = self.link.commits.commit(request).await?;
        if let Some(error) = answer.error {
            ensure!(!error.retriable, "{}: {}", error.name, error.message);
            self.witness.count("commit refused");
            return Ok(Vec::new());
        }
        ensure!(answer.results.len() == sent.len(), "one result a commit");
        let mut accepted = Vec::new();
        for (sent, result) in sent.iter().zip(answer.results) {
            if result.error.is_none() {
                self.witness.commit_accepted(sent.commit);
                accepted.push((sent.partition.clone(), sent.offset));
            }
        }
        Ok(accepted)
    }

    fn fenced(&mut self) {
        self.witness.fenced();
        self.held.clear();
    }

    /// Takes up the membership after its stream broke.
    async fn resume(&mut self) -> Result<Standing> {
        self.witness.trust_at_most(Duration::ZERO);
        self.return_with_epoch().await
    }

    async fn return_with_epoch(&mut self) -> Result<Standing> {
        let join = v1::MemberJoin {
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            owned: self.owned(),
            ..join_request(self.scene(), self.witness.session())?
        };
        let (link, asked_at) = match open(self.scene(), &join).await? {
            Ok(opened) => opened,
            Err(_) => {
                self.fenced();
                return Ok(Standing::Fenced);
            }
        };
        self.link = link;
        self.unanswered.clear();
        self.heartbeat_at = Instant::now() + self.heartbeat_interval;
        self.witness.resumed();
        self.witness.heard(asked_at);
        self.witness.count("resumed");
        match self.read_again().await {
            Ok(()) => Ok(Standing::Member),
            // It broke once more, which the next look at it shows.
            Err(_) => Ok(Standing::Member),
        }
    }

    /// Goes on reading on the new link where it was on the old one.
    async fn read_again(&mut self) -> Result<()> {
        for (partition, held) in &mut self.held {
            if held.fetch_id.is_some() {
                let index = partition.partition.0;
                held.fetch_id = Some(self.link.read(&held.topic_id, index, held.position).await?);
            }
        }
        self.read_new().await
    }

    /// Breaks its stream and comes back at once, as after a reset of the connection.
    ///
    /// # Errors
    /// When the daemon stays away.
    pub async fn interrupt(&mut self) -> Result<Standing> {
        self.witness.count("interrupted");
        self.witness
            .trust_at_most(eviction_after(self.witness.session()));
        self.return_with_epoch().await
    }

    /// Does nothing at all for a time, then commits what it had read as if nothing had been.
    ///
    /// # Errors
    /// When the broker breaks the protocol.
    pub async fn pause(&mut self, time: Duration) -> Result<()> {
        self.witness.count("paused");
        sleep(time).await;
        self.witness.stood_still();
        let (sent, offsets) = self.commits_of(|held| held.fetch_id.is_some());
        if !offsets.is_empty() {
            // A stream that broke meanwhile is found at the next look.
            let _ = self.send_commits(&sent, offsets).await;
        }
        Ok(())
    }

    /// Commits, and leaves.
    ///
    /// # Errors
    /// When the broker does not let it go.
    pub async fn leave(mut self) -> Result<()> {
        let _ = self.commit().await;
        self.witness.left();
        let leave = Request::Leave(v1::MemberLeave {
            keep_partitions: false,
        });
        // Where the daemon is away the broker finds out by itself.
        if self.link.stream.send(leave).await.is_ok() {
            let _ = self.left().await;
        }
        Ok(())
    }

    async fn left(&mut self) -> Result<()> {
        loop {
            match self.link.stream.next().await? {
                Response::Left(_) | Response::Failed(_) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Vanishes without a word. Returns what it takes to come back later.
    #[must_use]
    pub fn crash(self) -> Ghost {
        self.witness
            .vanished(eviction_after(self.witness.session()));
        Ghost {
            owned: self.owned(),
            witness: self.witness,
            member_id: self.member_id,
            epoch: self.epoch,
        }
    }
}

/// A commit that was recorded.
#[derive(Debug)]
struct Sent {
    commit: CommitNumber,
    partition: TopicPartition,
    offset: i64,
}

/// What is left of a member that vanished.
#[derive(Debug)]
pub struct Ghost {
    witness: Witness,
    member_id: String,
    epoch: i32,
    owned: Vec<v1::TopicPartitions>,
}

impl Ghost {
    /// Comes back after the broker has given its partitions away, with the epoch that it knew.
    ///
    /// # Errors
    /// When it is taken back in, or the daemon stays away.
    pub async fn come_back_late(self, after: Duration) -> Result<()> {
        let scene = self.witness.scene();
        let session = self.witness.session();
        sleep(eviction_after(session) + after).await;
        let join = v1::MemberJoin {
            member_id: self.member_id,
            member_epoch: self.epoch,
            owned: self.owned,
            ..join_request(scene, session)?
        };
        match open(scene, &join).await? {
            Err(error) => {
                let is_fenced = ["FENCED_MEMBER_EPOCH", "UNKNOWN_MEMBER_ID"];
                ensure!(is_fenced.contains(&error.name.as_str()), "{error:?}");
                scene.count("late return refused");
            }
            Ok(_) => {
                // Taken back in: right only where nobody else was given what it held.
                self.witness.resumed();
                scene.count("late return accepted");
            }
        }
        Ok(())
    }
}
