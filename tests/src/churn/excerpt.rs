//! The part of a history that an anomaly is about, for whoever looks for its cause.

use std::fmt::Write as _;

use millstream_proto::TopicPartition;

use super::{Anomaly, CommitNumber, MemberNumber, Observation, Observed};

/// Observations shown at most; the last ones.
const LINES_MAX: usize = 60;

/// Observations of the anomaly's partition, or of its member where it is about no partition.
#[must_use]
pub fn excerpt(history: &[Observed], anomaly: &Anomaly) -> String {
    let commits: Vec<_> = history
        .iter()
        .filter_map(|observed| match &observed.what {
            Observation::CommitSent {
                commit, partition, ..
            } if anomaly.partition() == Some(partition) => Some(*commit),
            _ => None,
        })
        .collect();
    let mut last = None;
    let lines: Vec<_> = history
        .iter()
        .filter(|observed| match anomaly.partition() {
            Some(partition) => is_about(&observed.what, partition, &commits),
            None => anomaly.member() == member(&observed.what),
        })
        // What is committed is asked again and again.
        .filter(|observed| match &observed.what {
            Observation::CommittedRead { offset, .. } => last.replace(*offset) != Some(*offset),
            _ => true,
        })
        .collect();
    let mut text = format!("{anomaly}\n");
    for observed in &lines[lines.len().saturating_sub(LINES_MAX)..] {
        let _ = writeln!(text, "  {:>12.6?} {:?}", observed.at, observed.what);
    }
    text
}

fn is_about(what: &Observation, wanted: &TopicPartition, commits: &[CommitNumber]) -> bool {
    match what {
        Observation::Gained { partitions, .. } | Observation::GaveUp { partitions, .. } => {
            partitions.contains(wanted)
        }
        Observation::Polled { partition, .. }
        | Observation::CommitSent { partition, .. }
        | Observation::CommittedRead { partition, .. }
        | Observation::LogEnd { partition, .. } => partition == wanted,
        Observation::CommitAccepted { commit } => commits.contains(commit),
        Observation::Left { .. }
        | Observation::Fenced { .. }
        | Observation::Broke { .. }
        | Observation::Resumed { .. }
        | Observation::StoodStill { .. }
        | Observation::DaemonDown
        | Observation::DaemonUp => true,
        Observation::Trusted { .. } => false,
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
