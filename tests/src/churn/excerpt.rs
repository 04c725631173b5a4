//! The part of a history that an anomaly is about, for whoever looks for its cause.

use std::{collections::BTreeSet, fmt::Write as _};

use millstream_proto::TopicPartition;

use super::{Anomaly, MemberNumber, Observation, Observed};

/// Observations shown at most, up to the one that shows the anomaly.
const LINES_MAX: usize = 60;

/// Observations of the anomaly's partition, or of its member where it is about no partition, up to the
/// one of that number.
#[must_use]
pub fn excerpt(history: &[Observed], anomaly: &Anomaly, number: usize) -> String {
    let history = &history[..=number];
    let holders: BTreeSet<MemberNumber> =
        history.iter().filter_map(|it| gains(it, anomaly)).collect();
    let mut shown = Shown::default();
    let lines: Vec<_> = history
        .iter()
        .filter(|observed| match anomaly.partition() {
            Some(partition) => is_about(&observed.what, partition, &holders),
            None => anomaly.member() == member(&observed.what),
        })
        .filter(|observed| shown.is_news(&observed.what))
        .collect();
    let mut text = format!("{anomaly}\n");
    for observed in &lines[lines.len().saturating_sub(LINES_MAX)..] {
        let _ = writeln!(text, "  {:>12.6?} {:?}", observed.at, observed.what);
    }
    text
}

/// Who gained the partition of the anomaly.
fn gains(observed: &Observed, anomaly: &Anomaly) -> Option<MemberNumber> {
    match &observed.what {
        Observation::Gained { member, partitions } => {
            let wanted = anomaly.partition()?;
            partitions.contains(wanted).then_some(*member)
        }
        _ => None,
    }
}

/// What was shown last: who reads, and what is committed, is asked again and again.
#[derive(Default)]
struct Shown {
    reader: Option<MemberNumber>,
    commits: Option<MemberNumber>,
    committed: Option<i64>,
}

impl Shown {
    fn is_news(&mut self, what: &Observation) -> bool {
        match what {
            Observation::Polled { member, .. } => self.reader.replace(*member) != Some(*member),
            Observation::CommitSent { member, .. } => {
                self.commits.replace(*member) != Some(*member)
            }
            Observation::CommittedRead { offset, .. } => {
                std::mem::replace(&mut self.committed, *offset) > *offset
            }
            Observation::Resumed { .. } => true,
            _ => {
                (self.reader, self.commits) = (None, None);
                true
            }
        }
    }
}

/// Whether it is about the partition, or one of those who held it.
fn is_about(what: &Observation, wanted: &TopicPartition, holders: &BTreeSet<MemberNumber>) -> bool {
    match what {
        Observation::Gained { partitions, .. } | Observation::GaveUp { partitions, .. } => {
            partitions.contains(wanted)
        }
        Observation::Polled { partition, .. }
        | Observation::CommitSent { partition, .. }
        | Observation::CommittedRead { partition, .. }
        | Observation::LogEnd { partition, .. } => partition == wanted,
        Observation::Left { member }
        | Observation::Fenced { member }
        | Observation::Broke { member, .. }
        | Observation::Resumed { member }
        | Observation::StoodStill { member } => holders.contains(member),
        Observation::DaemonDown | Observation::DaemonUp => true,
        Observation::Trusted { .. } | Observation::CommitAccepted { .. } => false,
    }
}

fn member(what: &Observation) -> Option<MemberNumber> {
    match what {
        Observation::Trusted { member, .. }
        | Observation::Gained { member, .. }
        | Observation::GaveUp { member, .. }
        | Observation::Left { member }
        | Observation::Fenced { member }
        | Observation::Broke { member, .. }
        | Observation::StoodStill { member }
        | Observation::Resumed { member } => Some(*member),
        _ => None,
    }
}
