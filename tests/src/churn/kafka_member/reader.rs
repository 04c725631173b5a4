//! [`Reader`]: what a member of the Kafka protocol does with the partitions that it holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Result, bail};
use kafka_protocol::ResponseError;
use millstream_proto::TopicPartition;
use tokio::time::{Instant, sleep};

use super::Dialect;
use crate::{
    Kafka,
    churn::{scene::COMMIT_INTERVAL, witness::Witness},
    kafka::{FetchWait, Identity},
    native,
};

/// How long the broker waits for records: not long, as the member has other things to do, and for more
/// than there will be, as it would be asked all the time otherwise.
const WAIT: FetchWait = FetchWait {
    time: Duration::from_millis(20),
    bytes: 64 << 10,
};

/// A partition that the member holds.
#[derive(Debug, Default)]
struct Held {
    /// The next offset to read; `None` until it is known.
    position: Option<i64>,
    committed: Option<i64>,
}

/// Reads and commits.
#[derive(Debug)]
pub(super) struct Reader {
    kafka: Kafka,
    dialect: Dialect,
    held: BTreeMap<TopicPartition, Held>,
    commit_at: Instant,
}

impl Reader {
    pub(super) fn new(kafka: Kafka, dialect: Dialect) -> Self {
        Self {
            kafka,
            dialect,
            held: BTreeMap::new(),
            commit_at: Instant::now() + COMMIT_INTERVAL,
        }
    }

    /// Goes on where it was.
    pub(super) fn reconnect(&mut self, kafka: Kafka) {
        self.kafka = kafka;
    }

    pub(super) fn partitions(&self) -> BTreeSet<TopicPartition> {
        self.held.keys().cloned().collect()
    }

    /// Reads these, too, from where the group is in them.
    pub(super) fn add(&mut self, partitions: Vec<TopicPartition>) {
        let new = partitions.into_iter().map(|it| (it, Held::default()));
        self.held.extend(new);
    }

    pub(super) fn drop(&mut self, partitions: &[TopicPartition]) {
        self.held
            .retain(|partition, _| !partitions.contains(partition));
    }

    pub(super) fn drop_all(&mut self) -> Vec<TopicPartition> {
        std::mem::take(&mut self.held).into_keys().collect()
    }

    /// Commits, where that is due, or reads what there is by now.
    pub(super) async fn work(&mut self, member: &Identity, witness: &Witness) -> Result<()> {
        if Instant::now() >= self.commit_at {
            self.commit_at = Instant::now() + COMMIT_INTERVAL;
            return self.commit(member, witness).await;
        }
        self.find_positions(member).await?;
        self.poll(witness).await
    }

    /// Asks where the group is in partitions that are new. A member of KIP-848 asks as one: it is
    /// refused where its epoch is not the present one, and asks again.
    async fn find_positions(&mut self, member: &Identity) -> Result<()> {
        let new = self.held.iter().filter(|(_, held)| held.position.is_none());
        let new: Vec<_> = new.map(|(partition, _)| partition.clone()).collect();
        if new.is_empty() {
            return Ok(());
        }
        let reader = (self.dialect == Dialect::Consumer).then_some(member);
        match self.kafka.committed(&member.group, reader, &new).await? {
            Ok(found) => {
                for (partition, committed) in found {
                    if let Some(held) = self.held.get_mut(&partition) {
                        held.committed = committed;
                        held.position = Some(committed.unwrap_or(0));
                    }
                }
            }
            Err(refusal) => check_refusal(refusal)?,
        }
        Ok(())
    }

    async fn poll(&mut self, witness: &Witness) -> Result<()> {
        let offset = |(partition, held): (&TopicPartition, &Held)| {
            held.position.map(|position| (partition.clone(), position))
        };
        let offsets: BTreeMap<_, _> = self.held.iter().filter_map(offset).collect();
        if offsets.is_empty() {
            sleep(WAIT.time).await;
            return Ok(());
        }
        for (partition, data) in self.kafka.fetch_all(&offsets, WAIT).await? {
            match ResponseError::try_from_code(data.error_code) {
                None => self.take(&partition, data.records.unwrap_or_default(), witness)?,
                Some(error) if error.is_retriable() => {}
                Some(error) => bail!("{partition} cannot be read: {error:?}"),
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        partition: &TopicPartition,
        batches: bytes::Bytes,
        witness: &Witness,
    ) -> Result<()> {
        let held = self.held.get_mut(partition);
        let Some(position) = held.and_then(|held| held.position.as_mut()) else {
            bail!("{partition} was not asked for");
        };
        for record in native::records(batches)? {
            let offset = record.offset.get();
            // A batch begins where it begins.
            if offset >= *position {
                *position = offset + 1;
                witness.polled(partition, offset);
            }
        }
        Ok(())
    }

    /// Commits what was read since the last time.
    pub(super) async fn commit(&mut self, member: &Identity, witness: &Witness) -> Result<()> {
        self.commit_where(member, witness, |held| held.position != held.committed)
            .await
    }

    /// Commits where it is in everything that it holds.
    pub(super) async fn insist(&mut self, member: &Identity, witness: &Witness) -> Result<()> {
        self.commit_where(member, witness, |_| true).await
    }

    async fn commit_where(
        &mut self,
        member: &Identity,
        witness: &Witness,
        is_wanted: impl Fn(&Held) -> bool,
    ) -> Result<()> {
        let wanted = self.held.iter().filter(|(_, held)| is_wanted(held));
        let offset = |(partition, held): (&TopicPartition, &Held)| {
            // From the beginning of a partition there is nothing to commit.
            let position = held.position.filter(|position| *position > 0)?;
            Some((partition.clone(), position))
        };
        let offsets: BTreeMap<_, _> = wanted.filter_map(offset).collect();
        if offsets.is_empty() {
            return Ok(());
        }
        let sent: Vec<_> = offsets
            .iter()
            .map(|(partition, offset)| witness.commit_sent(partition, *offset))
            .collect();
        let results = self.kafka.commit(member, &offsets).await?;
        let mut is_refused = false;
        for (((partition, offset), commit), refusal) in offsets.into_iter().zip(sent).zip(results) {
            if let Some(refusal) = refusal {
                check_refusal(refusal)?;
                is_refused = true;
                continue;
            }
            witness.commit_accepted(commit);
            if let Some(held) = self.held.get_mut(&partition) {
                held.committed = Some(offset);
            }
        }
        if is_refused {
            witness.count("commit refused");
        }
        Ok(())
    }
}

/// Fails for what no member is refused for that is only late, or no member any more.
fn check_refusal(refusal: ResponseError) -> Result<()> {
    use ResponseError as Error;
    match refusal {
        Error::UnknownMemberId
        | Error::IllegalGeneration
        | Error::RebalanceInProgress
        | Error::FencedInstanceId
        | Error::FencedMemberEpoch
        | Error::StaleMemberEpoch => Ok(()),
        refusal if refusal.is_retriable() => Ok(()),
        refusal => bail!("offsets are refused: {refusal:?}"),
    }
}
