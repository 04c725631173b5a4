//! [`check`]: finds the contradictions in a history.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Anomaly, History, Operation, ReaderId, Report, ValueId};

/// Finds every contradiction in the history of one partition.
#[must_use]
pub fn check(history: &History) -> Report {
    let facts = Facts::gather(history);
    let mut anomalies = BTreeSet::new();
    facts.check_offsets(&mut anomalies);
    facts.check_acknowledged(history, &mut anomalies);
    check_readers(history, &facts, &mut anomalies);
    Report {
        acknowledged: history.acknowledged(),
        polled: facts.polled,
        anomalies: anomalies.into_iter().collect(),
    }
}

/// What the whole history says, whatever the order.
#[derive(Default)]
struct Facts {
    /// Values that anyone saw at an offset.
    values: BTreeMap<i64, BTreeSet<ValueId>>,
    /// Offsets at which anyone saw a value.
    offsets: HashMap<ValueId, BTreeSet<i64>>,
    refused: HashSet<ValueId>,
    wrong: BTreeSet<i64>,
    log_start: i64,
    polled: usize,
}

impl Facts {
    fn gather(history: &History) -> Self {
        let mut facts = Self::default();
        for operation in &history.operations {
            match *operation {
                Operation::Acknowledged {
                    value,
                    offset: Some(offset),
                } => {
                    facts.saw(value, offset);
                }
                Operation::Refused { value } => {
                    facts.refused.insert(value);
                }
                Operation::Polled { offset, value, .. } => {
                    facts.polled += 1;
                    match value {
                        Some(value) => facts.saw(value, offset),
                        None => {
                            facts.wrong.insert(offset);
                        }
                    }
                }
                Operation::LogStart { offset } => facts.log_start = facts.log_start.max(offset),
                Operation::Acknowledged { offset: None, .. }
                | Operation::Sought { .. }
                | Operation::Reached { .. } => {}
            }
        }
        facts
    }

    fn saw(&mut self, value: ValueId, offset: i64) {
        self.values.entry(offset).or_default().insert(value);
        self.offsets.entry(value).or_default().insert(offset);
    }

    /// The first offset of a record that must be there, in `from..to`.
    fn first_known(&self, from: i64, to: i64) -> Option<i64> {
        let from = from.max(self.log_start);
        (from < to)
            .then(|| self.values.range(from..to).next())
            .flatten()
            .map(|(offset, _)| *offset)
    }

    fn check_offsets(&self, anomalies: &mut BTreeSet<Anomaly>) {
        for (offset, values) in self.values.iter().filter(|(_, values)| values.len() > 1) {
            anomalies.insert(Anomaly::InconsistentOffsets {
                offset: *offset,
                values: values.iter().copied().collect(),
            });
        }
        for (value, offsets) in &self.offsets {
            let offsets: Vec<_> = offsets.iter().copied().collect();
            if self.refused.contains(value) {
                anomalies.insert(Anomaly::AbortedRead {
                    value: *value,
                    offset: offsets[0],
                });
            }
            if offsets.len() > 1 {
                anomalies.insert(Anomaly::Duplicate {
                    value: *value,
                    offsets,
                });
            }
        }
        anomalies.extend(
            self.wrong
                .iter()
                .map(|offset| Anomaly::WrongBytes { offset: *offset }),
        );
    }

    /// Every acknowledged value must be in the last complete read that covers it and began after
    /// the acknowledgement.
    fn check_acknowledged(&self, history: &History, anomalies: &mut BTreeSet<Anomaly>) {
        let reads = complete_reads(history);
        for (time, operation) in history.operations.iter().enumerate() {
            let Operation::Acknowledged { value, offset } = *operation else {
                continue;
            };
            // Where the broker did not say, the first offset at which anyone saw it counts.
            let seen = || self.offsets.get(&value)?.first().copied();
            let at = offset.or_else(seen).unwrap_or(i64::MAX);
            if at < self.log_start {
                continue;
            }
            let last = reads
                .iter()
                .rfind(|read| read.began > time && read.from <= at);
            match last {
                Some(read) if read.values.contains(&value) => {}
                Some(_) => {
                    anomalies.insert(Anomaly::LostWrite { value, offset });
                }
                None => {
                    anomalies.insert(Anomaly::Unseen { value, offset });
                }
            }
        }
    }
}

/// A read from an offset to the log's end.
struct CompleteRead {
    /// Position in the history.
    began: usize,
    from: i64,
    values: HashSet<ValueId>,
}

fn complete_reads(history: &History) -> Vec<CompleteRead> {
    let mut running: HashMap<ReaderId, CompleteRead> = HashMap::new();
    let mut complete = Vec::new();
    for (time, operation) in history.operations.iter().enumerate() {
        match *operation {
            Operation::Sought { reader, offset } => {
                let read = CompleteRead {
                    began: time,
                    from: offset,
                    values: HashSet::new(),
                };
                running.insert(reader, read);
            }
            Operation::Polled {
                reader,
                value: Some(value),
                ..
            } => {
                if let Some(read) = running.get_mut(&reader) {
                    read.values.insert(value);
                }
            }
            Operation::Reached { reader, .. } => complete.extend(running.remove(&reader)),
            _ => {}
        }
    }
    complete
}

/// Each reader gets every record from where it sought, in order, once.
fn check_readers(history: &History, facts: &Facts, anomalies: &mut BTreeSet<Anomaly>) {
    /// Next offset that each reader must not be past, and the one it got last.
    struct Place {
        next: i64,
        last: Option<i64>,
    }
    let mut places: HashMap<ReaderId, Place> = HashMap::new();
    for operation in &history.operations {
        match *operation {
            Operation::Sought { reader, offset } => {
                places.insert(
                    reader,
                    Place {
                        next: offset,
                        last: None,
                    },
                );
            }
            Operation::Polled { reader, offset, .. } => {
                let place = places.entry(reader).or_insert(Place {
                    next: offset,
                    last: None,
                });
                match place.last {
                    Some(before) if offset <= before => {
                        let after = offset;
                        anomalies.insert(Anomaly::NonmonotonicPoll {
                            reader,
                            before,
                            after,
                        });
                    }
                    _ => skip(reader, place.next, offset, facts, anomalies),
                }
                *place = Place {
                    next: offset + 1,
                    last: Some(offset),
                };
            }
            Operation::Reached { reader, end } => {
                if let Some(place) = places.get(&reader) {
                    skip(reader, place.next, end, facts, anomalies);
                }
            }
            _ => {}
        }
    }
}

fn skip(reader: ReaderId, next: i64, got: i64, facts: &Facts, anomalies: &mut BTreeSet<Anomaly>) {
    if let Some(skipped) = facts.first_known(next, got) {
        anomalies.insert(Anomaly::PollSkip {
            reader,
            skipped,
            got,
        });
    }
}
