//! Where partitions of a group start: at what is committed, else where the application said.
//!
//! One round asks for all partitions that were assigned; those that could not be answered for a reason
//! that passes are left open for the next round, others stop with their error.

use std::{collections::BTreeMap, sync::Arc};

use super::{AssignedPartition, config::GroupConfig};
use crate::{
    admin::{Admin, OffsetSpec},
    connection::Connection,
    consumer::{IsolationLevel, Start, state::Starting},
    error::{Error, Result},
};

/// What one round of questions came to.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) found: Vec<Starting>,
    /// To be asked for again after a pause.
    pub(super) open: Vec<AssignedPartition>,
}

/// Asks once where partitions start.
pub(super) async fn ask(
    connection: &Arc<Connection>,
    isolation: IsolationLevel,
    config: &GroupConfig,
    partitions: Vec<AssignedPartition>,
) -> Round {
    let mut round = Round::default();
    let partitions = known(connection, partitions, &mut round).await;
    let admin = Admin::new(Arc::clone(connection));
    let places: Vec<_> = partitions
        .iter()
        .map(|assigned| (assigned.topic.as_str(), assigned.partition))
        .collect();
    let listed = match admin.list_group_offsets(&config.group_id, &places).await {
        Ok(listed) => listed,
        Err(error) => {
            partitions
                .into_iter()
                .for_each(|assigned| round.fail(assigned, error.clone()));
            return round;
        }
    };
    let mut without = Vec::new();
    for (assigned, (_, committed)) in partitions.into_iter().zip(listed) {
        match committed {
            Ok(Some(committed)) => round.found.push(Starting {
                assigned,
                position: committed.offset,
                is_committed: true,
                halted: None,
            }),
            Ok(None) => without.push(assigned),
            Err(error) => round.fail(assigned, error),
        }
    }
    initial(&admin, isolation, config, without, &mut round).await;
    round
}

impl Round {
    /// An error that passes has the partition asked for again; any other stops it.
    fn fail(&mut self, assigned: AssignedPartition, error: Error) {
        if error.is_retriable() {
            tracing::debug!(%error, topic = %assigned.topic, partition = assigned.partition,
                "cannot look up where to start");
            self.open.push(assigned);
        } else {
            self.found.push(Starting {
                assigned,
                position: 0,
                is_committed: false,
                halted: Some(error),
            });
        }
    }
}

/// Sets aside partitions of topics that are not, or no longer, what the group assigned: either the
/// group is about to take them back, or a broker has yet to learn of them.
async fn known(
    connection: &Connection,
    partitions: Vec<AssignedPartition>,
    round: &mut Round,
) -> Vec<AssignedPartition> {
    let deadline = connection.config.request_timeout;
    let mut topics = BTreeMap::new();
    let mut known = Vec::with_capacity(partitions.len());
    for assigned in partitions {
        let is_known = match topics.get(&(assigned.topic.clone(), assigned.topic_id)) {
            Some(is_known) => *is_known,
            None => {
                let name = assigned.topic.as_str();
                let is_it = |id: &[u8]| id == assigned.topic_id.as_bytes();
                let cached = connection.metadata.known(name);
                let is_known = cached.is_some_and(|topic| is_it(&topic.id_bytes))
                    || connection
                        .refresh_topic(name, deadline)
                        .await
                        .is_ok_and(|topic| is_it(&topic.id_bytes));
                topics.insert((assigned.topic.clone(), assigned.topic_id), is_known);
                is_known
            }
        };
        if is_known {
            known.push(assigned);
        } else {
            round.open.push(assigned);
        }
    }
    known
}

/// Looks up where partitions without a commit start.
async fn initial(
    admin: &Admin,
    isolation: IsolationLevel,
    config: &GroupConfig,
    partitions: Vec<AssignedPartition>,
    round: &mut Round,
) {
    if partitions.is_empty() {
        return;
    }
    let spec = match config.initial {
        Some(Start::Earliest) => OffsetSpec::Earliest,
        Some(Start::Latest | Start::Committed) => OffsetSpec::Latest,
        Some(Start::TimestampMs(time)) => OffsetSpec::TimestampMs(time),
        Some(Start::Offset(offset)) => {
            round
                .found
                .extend(partitions.into_iter().map(|assigned| Starting {
                    assigned,
                    position: offset,
                    is_committed: false,
                    halted: None,
                }));
            return;
        }
        None => {
            for assigned in partitions {
                let error = no_commit(&config.group_id, &assigned);
                round.fail(assigned, error);
            }
            return;
        }
    };
    match look_up(admin, isolation, spec, &partitions).await {
        Ok(results) => {
            for (assigned, result) in partitions.into_iter().zip(results) {
                match result {
                    Ok(position) => round.found.push(Starting {
                        assigned,
                        position,
                        is_committed: false,
                        halted: None,
                    }),
                    Err(error) => round.fail(assigned, error),
                }
            }
        }
        Err(error) => partitions
            .into_iter()
            .for_each(|assigned| round.fail(assigned, error.clone())),
    }
}

/// Looks up an offset of each partition; the end of the log where no record is that late.
async fn look_up(
    admin: &Admin,
    isolation: IsolationLevel,
    spec: OffsetSpec,
    partitions: &[AssignedPartition],
) -> Result<Vec<Result<i64>>> {
    let query = |spec| {
        let queries = partitions.iter();
        queries.map(move |assigned| (assigned.topic.as_str(), assigned.partition, spec))
    };
    let found = admin
        .list_offsets(&query(spec).collect::<Vec<_>>(), isolation)
        .await?;
    if !found
        .iter()
        .any(|found| matches!(found, Ok(listed) if listed.offset.is_none()))
    {
        let offsets = found.into_iter();
        return Ok(offsets
            .map(|found| found.map(|listed| listed.offset.unwrap_or(0)))
            .collect());
    }
    let ends = admin
        .list_offsets(&query(OffsetSpec::Latest).collect::<Vec<_>>(), isolation)
        .await?;
    let pairs = found.into_iter().zip(ends);
    Ok(pairs
        .map(|(found, end)| match found?.offset {
            Some(offset) => Ok(offset),
            None => Ok(end?.offset.unwrap_or(0)),
        })
        .collect())
}

/// The refusal of a partition without a commit, where that is an error.
pub(crate) fn no_commit(group_id: &str, assigned: &AssignedPartition) -> Error {
    Error::NoCommittedOffset {
        group: group_id.to_owned(),
        topic: assigned.topic.to_string(),
        partition: assigned.partition,
    }
}
