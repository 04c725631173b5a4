//! A group for people, at most 100 columns wide where names are not long.
//!
//! What the group is, its members with what they hold, then partitions with their lag, then the last
//! rebalance and why.

use std::time::Duration;

use millstream::admin::{GroupDescription, GroupMember, GroupPartition, GroupType, Rebalance};

use crate::{
    commands::groups::members,
    failure::Result,
    output,
    quantity::{count, counted, duration},
    time,
};

/// Width of the column that lists a member's partitions.
const ASSIGNED_CHARS: usize = 36;

/// Prints the group.
pub(super) fn print(group: &GroupDescription, all_rebalances: bool) -> Result<()> {
    output::line(&headline(group))?;
    output::line(&lag(&group.partitions))?;
    if !group.members.is_empty() {
        output::line("")?;
        let members = group.members.iter();
        let rows = members.flat_map(|member| member_rows(member, group));
        let header = ["MEMBER", "CLIENT", "HOST", "STATE", "EPOCH", "PARTITIONS"];
        output::table(&header, &[4], rows.collect())?;
    }
    if !group.partitions.is_empty() {
        output::line("")?;
        let partitions = group.partitions.iter();
        let rows = partitions.map(|partition| partition_row(partition, group));
        let header = [
            "TOPIC",
            "PARTITION",
            "COMMITTED",
            "END",
            "LAG",
            "BEHIND",
            "MEMBER",
        ];
        output::table(&header, &[1, 2, 3, 4, 5], rows.collect())?;
    }
    let shown = if all_rebalances { usize::MAX } else { 1 };
    let newest_first = group.rebalances.iter().rev();
    let rows: Vec<_> = newest_first.take(shown).map(rebalance_row).collect();
    if !rows.is_empty() {
        output::line("")?;
        let header = ["REBALANCED-AT", "EPOCH", "MEMBERS", "REASON"];
        output::table(&header, &[1, 2], rows)?;
    }
    Ok(())
}

fn headline(group: &GroupDescription) -> String {
    let members = counted(group.members.len() as u64, "member");
    let broker = group.coordinator_broker_id;
    let mut line = format!(
        "{}: {} group, {}, {members}, coordinated by broker {broker}",
        group.group,
        group.group_type.as_str(),
        group.state
    );
    if group.group_type != GroupType::Simple {
        line.push_str(&format!(", epoch {}", group.group_epoch));
    }
    if !group.assignor.is_empty() {
        line.push_str(&format!(", assignor {}", group.assignor));
    }
    line
}

/// The lag of all partitions together.
fn lag(partitions: &[GroupPartition]) -> String {
    let all = counted(partitions.len() as u64, "partition");
    let lagging = partitions.iter().filter_map(|partition| partition.lag);
    let lagging: Vec<_> = lagging.filter(|lag| *lag > 0).collect();
    let records = u64::try_from(lagging.iter().sum::<i64>()).unwrap_or(0);
    let mut line = match lagging.len() {
        0 => format!("no lag in {all}"),
        some => format!("lag of {} in {some} of {all}", counted(records, "record")),
    };
    let times = partitions.iter().filter_map(|partition| partition.lag_time);
    if let Some(longest) = times.max().filter(|time| *time > Duration::ZERO) {
        let is_minimum = partitions
            .iter()
            .any(|partition| partition.lag_time_is_minimum);
        let bound = if is_minimum { "more than" } else { "at most" };
        line.push_str(&format!(", {bound} {} behind", duration(longest)));
    }
    let unknown = partitions
        .iter()
        .filter(|partition| partition.lag.is_none());
    match unknown.count() {
        0 => {}
        some => line.push_str(&format!(", unknown in {some}")),
    }
    line
}

fn rebalance_row(rebalance: &Rebalance) -> Vec<String> {
    vec![
        time::format(rebalance.timestamp_ms),
        rebalance.group_epoch.to_string(),
        rebalance.members.to_string(),
        rebalance.reason.clone(),
    ]
}

/// A row, and further ones for what it holds where that is long.
fn member_rows(member: &GroupMember, group: &GroupDescription) -> Vec<Vec<String>> {
    let mut lines = broken(&assigned(&member.assigned), ASSIGNED_CHARS).into_iter();
    let mut row = vec![
        members::name(member, &group.members).to_owned(),
        member.client_id.clone(),
        member.client_host.clone(),
        member.state.clone(),
        member.member_epoch.to_string(),
    ];
    row.extend(lines.next());
    let further = lines.map(|line| [vec![String::new(); 5], vec![line]].concat());
    [row].into_iter().chain(further).collect()
}

fn partition_row(partition: &GroupPartition, group: &GroupDescription) -> Vec<String> {
    let number = |number: Option<i64>, none: &str| {
        number.map_or_else(|| none.to_owned(), |number| number.to_string())
    };
    let lag = partition.lag.and_then(|lag| u64::try_from(lag).ok());
    let holder = partition.member_id.as_deref().map(|id| {
        let member = group.members.iter().find(|member| member.member_id == id);
        member.map_or(id, |member| members::name(member, &group.members))
    });
    vec![
        partition.topic.clone(),
        partition.partition.to_string(),
        number(partition.committed_offset, "none"),
        number(partition.log_end_offset, "?"),
        lag.map_or_else(|| "?".to_owned(), count),
        behind(partition),
        holder.unwrap_or("none").to_owned(),
    ]
}

fn behind(partition: &GroupPartition) -> String {
    match partition.lag_time {
        None => "?".to_owned(),
        Some(time) if partition.lag_time_is_minimum => format!("> {}", duration(time)),
        Some(time) => duration(time),
    }
}

/// Sorted partitions, topic by topic, in ranges: `flights 0-2, 5; weather 0`.
fn assigned(places: &[(String, i32)]) -> String {
    let mut text = String::new();
    for of_topic in places.chunk_by(|a, b| a.0 == b.0) {
        let Some((topic, _)) = of_topic.first() else {
            continue;
        };
        let is_next = |a: &(String, i32), b: &(String, i32)| a.1.checked_add(1) == Some(b.1);
        let ranges: Vec<_> = of_topic
            .chunk_by(is_next)
            .filter_map(|range| match (range.first()?.1, range.last()?.1) {
                (first, last) if first == last => Some(first.to_string()),
                (first, last) => Some(format!("{first}-{last}")),
            })
            .collect();
        let separator = if text.is_empty() { "" } else { "; " };
        text.push_str(&format!("{separator}{topic} {}", ranges.join(", ")));
    }
    if text.is_empty() {
        text.push_str("none");
    }
    text
}

/// Breaks a text between its words, so that lines have at most `chars` where words are no longer.
fn broken(text: &str, chars: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= chars => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_listed_in_ranges_and_lines() {
        let of = |topic: &str, partitions: &[i32]| -> Vec<_> {
            let places = partitions.iter();
            places
                .map(|partition| (topic.to_owned(), *partition))
                .collect()
        };
        assert_eq!(assigned(&[]), "none");
        let two = [of("flights", &[0, 1, 2, 5]), of("weather", &[0])].concat();
        assert_eq!(assigned(&two), "flights 0-2, 5; weather 0");
        let even = assigned(&of("flights", &[0, 2, 4, 6, 8, 10]));
        assert_eq!(broken(&even, 15), ["flights 0, 2,", "4, 6, 8, 10"]);
        assert_eq!(broken("a-very-long-name 0", 10), ["a-very-long-name", "0"]);
    }
}
