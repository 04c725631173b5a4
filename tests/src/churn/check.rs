//! [`check`]: finds the contradictions in a history.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use millstream_proto::TopicPartition;

use super::{Anomaly, CommitNumber, MemberNumber, Observation, Observed, Report, excerpt::excerpt};

/// The broker counts in whole milliseconds, and rounds either way.
const CLOCK_SLACK: Duration = Duration::from_millis(5);

/// Anomalies whose surroundings are shown.
const EXCERPTS_MAX: usize = 3;

/// Finds every contradiction in a history.
#[must_use]
pub fn check(history: &[Observed]) -> Report {
    let mut checker = Checker::default();
    for (number, observed) in history.iter().enumerate() {
        checker.take(number, observed);
    }
    let some = checker.anomalies.iter().take(EXCERPTS_MAX);
    let excerpts = some.map(|(anomaly, number)| excerpt(history, anomaly, *number));
    Report {
        excerpts: excerpts.collect(),
        anomalies: checker.anomalies.into_keys().collect(),
        ..checker.report
    }
}

#[derive(Default)]
struct Checker {
    members: HashMap<MemberNumber, Member>,
    partitions: BTreeMap<TopicPartition, Partition>,
    commits: HashMap<CommitNumber, Commit>,
    /// Each with the number of the observation that shows it first.
    anomalies: BTreeMap<Anomaly, usize>,
    /// The observation that is taken.
    number: usize,
    report: Report,
}

#[derive(Default)]
struct Member {
    /// Up to when the broker may not end the membership; `None` for ever.
    trusted_until: Option<Duration>,
    /// The partitions it works on, and the offset that is due next of each.
    held: BTreeMap<TopicPartition, Option<i64>>,
}

impl Member {
    fn is_trusted(&self, at: Duration) -> bool {
        self.trusted_until
            .is_none_or(|until| at + CLOCK_SLACK < until)
    }
}

#[derive(Default)]
struct Partition {
    /// Who got it last.
    newest: Option<MemberNumber>,
    /// Every record that a member got: all below the first number, and these.
    seen: Seen,
    /// The largest offset that was accepted or read, with the number of the observation that raised it.
    committed: Vec<(usize, i64)>,
}

impl Partition {
    /// The largest offset that was committed before an observation.
    fn committed_before(&self, number: usize) -> Option<i64> {
        let end = self.committed.partition_point(|(at, _)| *at < number);
        self.committed[..end].last().map(|(_, offset)| *offset)
    }

    fn is_committed(&mut self, number: usize, offset: i64) {
        if self
            .committed
            .last()
            .is_none_or(|(_, largest)| *largest < offset)
        {
            self.committed.push((number, offset));
        }
    }
}

/// A set of offsets that is full up to some offset, and has few beyond.
#[derive(Default)]
struct Seen {
    full_to: i64,
    beyond: BTreeSet<i64>,
}

impl Seen {
    fn add(&mut self, offset: i64) {
        if offset >= self.full_to {
            self.beyond.insert(offset);
        }
        while self.beyond.remove(&self.full_to) {
            self.full_to += 1;
        }
    }

    fn has_all_below(&self, offset: i64) -> bool {
        offset <= self.full_to
    }

    fn missing_below(&self, end: i64) -> usize {
        (self.full_to..end)
            .filter(|offset| !self.beyond.contains(offset))
            .count()
    }
}

/// What is known of a commit when it is sent.
struct Commit {
    member: MemberNumber,
    partition: TopicPartition,
    offset: i64,
    is_stale: bool,
    committed_before: Option<i64>,
    /// A record below its offset that nobody got.
    unseen: Option<i64>,
}

impl Checker {
    fn take(&mut self, number: usize, observed: &Observed) {
        let at = observed.at;
        self.number = number;
        match &observed.what {
            Observation::Trusted { member, until } => self.trusted(at, *member, *until),
            Observation::Broke { member, evicted_at } => {
                let until = &mut self.member(*member).trusted_until;
                *until = Some(until.map_or(*evicted_at, |before| before.min(*evicted_at)));
            }
            Observation::Gained { member, partitions } => {
                for partition in partitions {
                    self.gained(at, *member, partition);
                }
            }
            Observation::GaveUp { member, partitions } => {
                let held = &mut self.member(*member).held;
                held.retain(|partition, _| !partitions.contains(partition));
            }
            Observation::Left { member } => self.member(*member).held.clear(),
            Observation::Fenced { member } => self.fenced(at, *member),
            Observation::Resumed { member } => self.resumed(*member),
            Observation::Polled {
                member,
                partition,
                offset,
            } => self.polled(*member, partition, *offset),
            Observation::CommitSent {
                commit,
                member,
                partition,
                offset,
            } => {
                let sent = self.sent(number, *member, partition, *offset);
                self.commits.insert(*commit, sent);
            }
            Observation::CommitAccepted { commit } => self.accepted(number, *commit),
            Observation::CommittedRead {
                asked,
                partition,
                offset,
            } => self.committed_read(number, *asked, partition, *offset),
            Observation::LogEnd { partition, end } => self.log_end(partition, *end),
            Observation::StoodStill { .. } | Observation::DaemonDown | Observation::DaemonUp => {}
        }
    }

    fn found(&mut self, anomaly: Anomaly) {
        self.anomalies.entry(anomaly).or_insert(self.number);
    }

    fn member(&mut self, member: MemberNumber) -> &mut Member {
        self.members.entry(member).or_default()
    }

    fn partition(&mut self, partition: &TopicPartition) -> &mut Partition {
        self.partitions.entry(partition.clone()).or_default()
    }

    /// Whether the member holds the partition and nobody got it after.
    fn owns(&self, member: MemberNumber, partition: &TopicPartition) -> bool {
        let holds = |member: &Member| member.held.contains_key(partition);
        let newest = self.partitions.get(partition).and_then(|it| it.newest);
        newest == Some(member) && self.members.get(&member).is_some_and(holds)
    }

    fn gained(&mut self, at: Duration, newcomer: MemberNumber, partition: &TopicPartition) {
        self.report.gained += 1;
        self.member(newcomer).held.insert(partition.clone(), None);
        let holder = self.other_owner(at, newcomer, partition);
        let is_trusted = self.member(newcomer).is_trusted(at);
        match holder {
            Some(holder) if is_trusted => self.two_owners(partition, holder, newcomer),
            // It may have been told before its membership ended, and hear of it now. Whether that is
            // so the broker's next words to it say.
            Some(_) => return,
            None => {}
        }
        self.partition(partition).newest = Some(newcomer);
    }

    /// Who else got the partition last, holds it, and may not lose it yet.
    fn other_owner(
        &mut self,
        at: Duration,
        member: MemberNumber,
        partition: &TopicPartition,
    ) -> Option<MemberNumber> {
        let newest = self.partition(partition).newest;
        let other = newest.filter(|newest| *newest != member)?;
        let had = self.member(other);
        (had.held.contains_key(partition) && had.is_trusted(at)).then_some(other)
    }

    /// The broker heard of the member, so nobody else may have what it holds.
    fn trusted(&mut self, at: Duration, number: MemberNumber, until: Option<Duration>) {
        let member = self.member(number);
        member.trusted_until = until;
        if !member.is_trusted(at) {
            return;
        }
        let held: Vec<_> = member.held.keys().cloned().collect();
        for partition in held {
            if let Some(other) = self.other_owner(at, number, &partition) {
                self.two_owners(&partition, other, number);
            }
        }
    }

    fn two_owners(
        &mut self,
        partition: &TopicPartition,
        holder: MemberNumber,
        newcomer: MemberNumber,
    ) {
        self.found(Anomaly::TwoOwners {
            partition: partition.clone(),
            holder,
            newcomer,
        });
    }

    /// What it held must still be its own.
    fn resumed(&mut self, member: MemberNumber) {
        let held: Vec<_> = self.member(member).held.keys().cloned().collect();
        for partition in held {
            match self.partition(&partition).newest {
                Some(newcomer) if newcomer != member => {
                    self.two_owners(&partition, member, newcomer);
                }
                _ => {}
            }
        }
    }

    fn fenced(&mut self, at: Duration, number: MemberNumber) {
        let member = self.member(number);
        member.held.clear();
        if member.is_trusted(at) {
            self.found(Anomaly::FencedWithoutCause { member: number });
        }
    }

    fn polled(&mut self, member: MemberNumber, partition: &TopicPartition, offset: i64) {
        self.report.polled += 1;
        self.partition(partition).seen.add(offset);
        // A member that does not know yet that it is fenced may read on.
        let Some(due) = self.member(member).held.get_mut(partition) else {
            return;
        };
        match due.replace(offset + 1) {
            Some(expected) if expected != offset => {
                self.found(Anomaly::PollOutOfTurn {
                    partition: partition.clone(),
                    member,
                    expected,
                    found: offset,
                });
            }
            _ => {}
        }
    }

    fn sent(
        &mut self,
        number: usize,
        member: MemberNumber,
        partition: &TopicPartition,
        offset: i64,
    ) -> Commit {
        let is_stale = !self.owns(member, partition);
        self.report.stale_commits_sent += usize::from(is_stale);
        let state = self.partition(partition);
        Commit {
            member,
            partition: partition.clone(),
            offset,
            is_stale,
            committed_before: state.committed_before(number),
            unseen: (!state.seen.has_all_below(offset)).then_some(state.seen.full_to),
        }
    }

    fn accepted(&mut self, number: usize, commit: CommitNumber) {
        let Some(commit) = self.commits.remove(&commit) else {
            return;
        };
        self.report.commits_accepted += 1;
        let Commit {
            member,
            partition,
            offset,
            ..
        } = commit;
        if commit.is_stale {
            self.found(Anomaly::StaleCommit {
                partition: partition.clone(),
                member,
                offset,
            });
        }
        if let Some(before) = commit.committed_before.filter(|before| *before > offset) {
            self.found(Anomaly::CommitRegressed {
                partition: partition.clone(),
                before,
                after: Some(offset),
            });
        }
        if let Some(unseen) = commit.unseen {
            self.found(Anomaly::CommitAhead {
                partition: partition.clone(),
                unseen,
                offset,
            });
        }
        self.partition(&partition).is_committed(number, offset);
    }

    fn committed_read(
        &mut self,
        number: usize,
        asked: usize,
        partition: &TopicPartition,
        after: Option<i64>,
    ) {
        let state = self.partition(partition);
        let before = state.committed_before(asked);
        if let Some(offset) = after {
            state.is_committed(number, offset);
        }
        if let Some(before) = before.filter(|before| after < Some(*before)) {
            self.found(Anomaly::CommitRegressed {
                partition: partition.clone(),
                before,
                after,
            });
        }
    }

    fn log_end(&mut self, partition: &TopicPartition, end: i64) {
        let seen = &self.partition(partition).seen;
        if !seen.has_all_below(end) {
            let unseen = Anomaly::Unseen {
                partition: partition.clone(),
                first: seen.full_to,
                count: seen.missing_below(end),
            };
            self.found(unseen);
        }
    }
}
