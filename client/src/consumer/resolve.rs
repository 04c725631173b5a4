//! From assignments to offsets: which partitions there are, where each starts and where it ends.
//!
//! Three steps: look the topics up (`plan`), replace commits by offsets (`start_at_commits`), and ask
//! once for all offsets that are still words (`resolve`). Nothing is assigned before all is known.

use std::{collections::HashMap, sync::Arc};

use super::{
    Assignment, IsolationLevel, Start,
    assignment::Until,
    group::{GroupConfig, no_group},
    state::Resolved,
};
use crate::{
    admin::{Admin, OffsetSpec},
    connection::{Connection, TopicMetadata},
    error::{Error, Result},
};

/// Offsets to look up for one partition, and what is known without.
struct Plan {
    resolved: Resolved,
    start: Start,
    until: Until,
}

/// Looks up topics, partitions and offsets.
pub(super) async fn resolve(
    connection: &Arc<Connection>,
    isolation: IsolationLevel,
    group: Option<&GroupConfig>,
    assignments: Vec<Assignment>,
) -> Result<Vec<Resolved>> {
    let mut plans = plan(connection, assignments).await?;
    start_at_commits(connection, group, &mut plans).await?;
    let mut queries = Vec::new();
    for plan in &plans {
        let place = (plan.resolved.topic.as_str(), plan.resolved.partition);
        queries.extend(specs(plan).map(|spec| (place.0, place.1, spec)));
    }
    if queries.is_empty() {
        return Ok(plans.into_iter().map(|plan| plan.resolved).collect());
    }
    let answers = Admin::new(Arc::clone(connection))
        .list_offsets(&queries, isolation)
        .await?;
    let mut found = Vec::new();
    for answer in answers {
        found.push(answer?.offset);
    }
    let mut found = found.into_iter();
    for plan in &mut plans {
        let offsets: Vec<_> = specs(plan).zip(&mut found).collect();
        let offset_of = |wanted: OffsetSpec| {
            let offset = offsets.iter().find(|(spec, _)| *spec == wanted);
            offset.and_then(|(_, offset)| *offset)
        };
        let end = offset_of(OffsetSpec::Latest).unwrap_or(0);
        plan.resolved.position = match plan.start {
            Start::Offset(offset) => offset,
            Start::Earliest => offset_of(OffsetSpec::Earliest).unwrap_or(0),
            Start::Latest | Start::Committed => end,
            Start::TimestampMs(time) => offset_of(OffsetSpec::TimestampMs(time)).unwrap_or(end),
        };
        if plan.until == Until::End {
            plan.resolved.until = Some(end);
        }
    }
    Ok(plans.into_iter().map(|plan| plan.resolved).collect())
}

/// Replaces [`Start::Committed`] by what is committed, or by where the group starts without.
async fn start_at_commits(
    connection: &Arc<Connection>,
    group: Option<&GroupConfig>,
    plans: &mut [Plan],
) -> Result<()> {
    let mut open: Vec<_> = plans
        .iter_mut()
        .filter(|plan| plan.start == Start::Committed)
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let group = group.ok_or_else(no_group)?;
    let places: Vec<_> = open
        .iter()
        .map(|plan| (plan.resolved.topic.to_string(), plan.resolved.partition))
        .collect();
    let places: Vec<_> = places
        .iter()
        .map(|(topic, partition)| (topic.as_str(), *partition))
        .collect();
    let listed = Admin::new(Arc::clone(connection))
        .list_group_offsets(&group.group_id, &places)
        .await?;
    for (plan, (_, committed)) in open.iter_mut().zip(listed) {
        plan.start = match committed? {
            Some(committed) => Start::Offset(committed.offset),
            None => group.initial.ok_or_else(|| Error::NoCommittedOffset {
                group: group.group_id.clone(),
                topic: plan.resolved.topic.to_string(),
                partition: plan.resolved.partition,
            })?,
        };
        if let Start::Offset(offset) = plan.start {
            plan.resolved.position = offset;
        }
    }
    Ok(())
}

async fn plan(connection: &Connection, assignments: Vec<Assignment>) -> Result<Vec<Plan>> {
    let mut plans: Vec<Plan> = Vec::new();
    let mut topics: HashMap<String, Arc<TopicMetadata>> = HashMap::new();
    for assignment in assignments {
        if let Start::Offset(offset) = assignment.start
            && offset < 0
        {
            return Err(Error::config(
                "start offset",
                offset.to_string(),
                "0 or more",
            ));
        }
        let topic = match topics.get(&assignment.topic) {
            Some(topic) => Arc::clone(topic),
            None => {
                // What was known may be of a topic that has been deleted and created again.
                let deadline = connection.config.request_timeout;
                let topic = connection
                    .refresh_topic(&assignment.topic, deadline)
                    .await?;
                topics.insert(assignment.topic.clone(), Arc::clone(&topic));
                topic
            }
        };
        let partitions = match assignment.partition {
            Some(partition) => {
                topic.check_partition(partition)?;
                partition..partition + 1
            }
            None => 0..topic.partition_count(),
        };
        for partition in partitions {
            plans.push(Plan {
                resolved: Resolved {
                    topic: topic.name.clone(),
                    topic_id: topic.id_bytes.clone(),
                    partition,
                    position: match assignment.start {
                        Start::Offset(offset) => offset,
                        _ => 0,
                    },
                    until: match assignment.until {
                        Until::Offset(offset) => Some(offset),
                        _ => None,
                    },
                },
                start: assignment.start,
                until: assignment.until,
            });
        }
    }
    refuse_duplicates(&plans)?;
    Ok(plans)
}

fn refuse_duplicates(plans: &[Plan]) -> Result<()> {
    let mut places: Vec<_> = plans
        .iter()
        .map(|plan| (&plan.resolved.topic, plan.resolved.partition))
        .collect();
    places.sort_unstable();
    let twice = places.windows(2).find_map(|pair| match pair {
        [first, second] if first == second => Some(format!("{}-{} twice", first.0, first.1)),
        _ => None,
    });
    twice.map_or(Ok(()), |found| {
        Err(Error::config("assignment", found, "each partition once"))
    })
}

/// The look-ups that a plan needs, in a fixed order.
fn specs(plan: &Plan) -> impl Iterator<Item = OffsetSpec> + use<> {
    let start = match plan.start {
        Start::Offset(_) | Start::Latest | Start::Committed => None,
        Start::Earliest => Some(OffsetSpec::Earliest),
        Start::TimestampMs(time) => Some(OffsetSpec::TimestampMs(time)),
    };
    let needs_end =
        plan.until == Until::End || matches!(plan.start, Start::Latest | Start::TimestampMs(_));
    start
        .into_iter()
        .chain(needs_end.then_some(OffsetSpec::Latest))
}
