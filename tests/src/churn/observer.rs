//! [`Observer`]: looks at a group from the outside, again and again: what it has committed, who holds
//! what, and how often it was rebalanced.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use millstream_proto::{TopicPartition, grpc::v1};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    Observation,
    link::from_wire,
    scene::{Scene, place},
};
use crate::{Kafka, Native};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(40);
/// How long a group may take to do what a test waits for.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Committed offsets by topic and partition; -1 for none.
pub type Committed = BTreeMap<(String, i32), i64>;

/// Looks at a group until the run is over.
#[derive(Debug)]
pub struct Observer {
    task: JoinHandle<Result<()>>,
    group: watch::Receiver<v1::GroupDescription>,
}

impl Observer {
    /// Starts to look.
    ///
    /// # Errors
    /// When a topic cannot be described.
    pub async fn start(scene: &Arc<Scene>) -> Result<Self> {
        let native = Native::connect(scene.native).await?;
        let partitions = partitions(&native, &scene.topics).await?;
        let (sender, group) = watch::channel(v1::GroupDescription::default());
        let scene = Arc::clone(scene);
        let task = tokio::spawn(async move {
            tokio::select! {
                ended = watch_group(&scene, &partitions, &sender) => ended,
                () = scene.over() => Ok(()),
            }
        });
        Ok(Self { task, group })
    }

    /// Waits until the group is as it should be, and answers how it is then.
    ///
    /// # Errors
    /// When it does not get there in a minute, or two members held one partition at once.
    pub async fn until(
        &mut self,
        what: &str,
        is_so: impl Fn(&v1::GroupDescription) -> bool,
    ) -> Result<v1::GroupDescription> {
        let now = self.group.clone();
        match timeout(WAIT_MAX, self.group.wait_for(is_so)).await {
            Ok(Ok(group)) => Ok(group.clone()),
            Ok(Err(_)) => {
                (&mut self.task).await??;
                bail!("{what}: the run is over")
            }
            Err(_) => bail!("{what}: not within {WAIT_MAX:?}: {:#?}", now.borrow()),
        }
    }

    /// Waits until [`Observer::is_stable`].
    ///
    /// # Errors
    /// As [`Observer::until`].
    pub async fn until_stable(&mut self, members: usize) -> Result<v1::GroupDescription> {
        self.until("the group is stable", |group| is_stable(group, members))
            .await
    }

    /// What the group has committed of each partition, by its name and number, as last looked at.
    #[must_use]
    pub fn committed(&self) -> Committed {
        committed_offsets(&self.group.borrow())
    }

    /// Whether every partition got further than it was.
    #[must_use]
    pub fn is_past(&self, before: &Committed) -> bool {
        is_past(&self.group.borrow(), before)
    }

    /// Waits until [`Observer::is_past`].
    ///
    /// # Errors
    /// As [`Observer::until`].
    pub async fn until_past(&mut self, before: &Committed) -> Result<()> {
        let is_so = |group: &v1::GroupDescription| is_past(group, before);
        self.until("every partition is read", is_so).await?;
        Ok(())
    }

    /// Whether the group has so many members, and each reads just what it is to read.
    #[must_use]
    pub fn is_stable(&self, members: usize) -> bool {
        is_stable(&self.group.borrow(), members)
    }

    /// Ends with the run.
    ///
    /// # Errors
    /// When two members held one partition at once.
    pub async fn finish(self) -> Result<()> {
        self.task.await?
    }
}

fn committed_offsets(group: &v1::GroupDescription) -> Committed {
    let each = |it: &v1::GroupPartition| ((it.topic.clone(), it.partition), it.committed_offset);
    group.partitions.iter().map(each).collect()
}

fn is_past(group: &v1::GroupDescription, before: &Committed) -> bool {
    let now = committed_offsets(group);
    let mut all = before.iter();
    all.all(|(partition, offset)| now.get(partition) > Some(offset))
}

fn is_stable(group: &v1::GroupDescription, members: usize) -> bool {
    group.state == "Stable" && group.members.len() == members
}

/// Every partition of some topics, as requests list them.
async fn partitions(native: &Native, topics: &[String]) -> Result<Vec<v1::TopicPartitions>> {
    let mut all = Vec::new();
    for topic in topics {
        let described = native.describe_topic(topic).await?;
        all.push(v1::TopicPartitions {
            topic_id: described.topic_id,
            topic: topic.clone(),
            partitions: described.partitions.iter().map(|it| it.partition).collect(),
        });
    }
    Ok(all)
}

async fn watch_group(
    scene: &Scene,
    partitions: &[v1::TopicPartitions],
    group: &watch::Sender<v1::GroupDescription>,
) -> Result<()> {
    loop {
        // A daemon that is away or loads is asked again.
        if let Ok(mut eyes) = Eyes::open(scene).await {
            while let Ok(described) = eyes.look(scene, partitions).await {
                check_owners(&described)?;
                group.send_replace(described);
                sleep(PAUSE).await;
            }
        }
        sleep(PAUSE).await;
    }
}

/// Looks through both APIs.
struct Eyes {
    native: Native,
    kafka: Kafka,
}

impl Eyes {
    async fn open(scene: &Scene) -> Result<Self> {
        Ok(Self {
            native: Native::connect(scene.native).await?,
            kafka: Kafka::connect(scene.kafka).await?,
        })
    }

    async fn look(
        &mut self,
        scene: &Scene,
        partitions: &[v1::TopicPartitions],
    ) -> Result<v1::GroupDescription> {
        let committed = committed(scene, &self.native, partitions).await?;
        self.read_by_kafka(scene, committed.into_keys().collect())
            .await?;
        self.native.describe_group(&scene.group).await
    }

    /// Reads what is committed by the other API, too; only recorded.
    async fn read_by_kafka(&mut self, scene: &Scene, all: Vec<TopicPartition>) -> Result<()> {
        let asked = scene.recorder.len();
        let answer = self.kafka.committed(&scene.group, None, &all).await?;
        let answer = answer.map_err(|error| anyhow!("{error:?}"))?;
        ensure!(answer.len() == all.len(), "every partition is answered");
        record_committed(scene, asked, answer);
        Ok(())
    }
}

fn record_committed(
    scene: &Scene,
    asked: usize,
    all: impl IntoIterator<Item = (TopicPartition, Option<i64>)>,
) {
    for (partition, offset) in all {
        scene.recorder.record(Observation::CommittedRead {
            asked,
            partition,
            offset,
        });
    }
}

/// What is committed of every partition; also recorded.
async fn committed(
    scene: &Scene,
    native: &Native,
    partitions: &[v1::TopicPartitions],
) -> Result<BTreeMap<TopicPartition, i64>> {
    let asked = scene.recorder.len();
    let request = v1::FetchOffsetsRequest {
        group_id: scene.group.clone(),
        member_id: String::new(),
        member_epoch: -1,
        partitions: partitions.to_vec(),
    };
    let answer = native.fetch_offsets(request).await?;
    if let Some(error) = answer.error {
        bail!("{}: {}", error.name, error.message);
    }
    let mut all: BTreeMap<_, _> = from_wire(partitions)
        .into_iter()
        .map(|(partition, _)| (partition, -1))
        .collect();
    for offset in answer.offsets {
        ensure!(offset.error.is_none(), "{:?}", offset.error);
        all.insert(place(&offset.topic, offset.partition), offset.offset);
    }
    let read = all.iter().map(|(partition, offset)| {
        let offset = (*offset >= 0).then_some(*offset);
        (partition.clone(), offset)
    });
    record_committed(scene, asked, read);
    Ok(all)
}

/// No partition is held by two members.
fn check_owners(group: &v1::GroupDescription) -> Result<()> {
    let mut owners: BTreeMap<TopicPartition, &str> = BTreeMap::new();
    for member in &group.members {
        for (partition, _) in from_wire(&member.assigned) {
            let before = owners.insert(partition.clone(), &member.member_id);
            ensure!(
                before.is_none(),
                "{partition} is held by {before:?} and {}: {group:#?}",
                member.member_id
            );
        }
    }
    Ok(())
}

/// Where every partition of the group's topics ends.
async fn log_ends(scene: &Scene, native: &Native) -> Result<BTreeMap<TopicPartition, i64>> {
    let mut ends = BTreeMap::new();
    for topic in &scene.topics {
        for described in native.describe_topic(topic).await?.partitions {
            let end = described
                .log
                .context("the log is described")?
                .high_watermark;
            ends.insert(place(topic, described.partition), end);
        }
    }
    Ok(ends)
}

/// Records where the partitions end: everything below is to have been seen by now.
///
/// # Errors
/// When the daemon does not say.
pub async fn record_log_ends(scene: &Scene) -> Result<()> {
    let native = Native::connect(scene.native).await?;
    for (partition, end) in log_ends(scene, &native).await? {
        scene
            .recorder
            .record(Observation::LogEnd { partition, end });
    }
    Ok(())
}

/// Waits until the group has committed everything that is in the log.
///
/// # Errors
/// When it does not in a minute.
pub async fn drain(scene: &Scene) -> Result<()> {
    let native = Native::connect(scene.native).await?;
    let partitions = partitions(&native, &scene.topics).await?;
    let ends = log_ends(scene, &native).await?;
    let drained = async {
        while committed(scene, &native, &partitions).await? != ends {
            sleep(PAUSE).await;
        }
        Ok(())
    };
    match timeout(WAIT_MAX, drained).await {
        Ok(drained) => drained,
        Err(_) => {
            let found = committed(scene, &native, &partitions).await?;
            bail!("committed {found:?}, expected {ends:?}")
        }
    }
}
