//! [`Reconciliation`]: what a group member holds, what it is to hold, and the way from one to the
//! other, as a pure state machine: events in, actions out, no clock, no tasks.
//!
//! ```text
//!            join ──► Joining ──Joined──► Member ──Left/final refusal──► Over
//!                        ▲                  │
//!                        └── stream broke ──┘   epoch and partitions kept: resumes
//!                        └── fenced, silent ┘   partitions lost, epoch 0: joins anew
//!
//!   one partition:   Add ──► held ──Revoke──► revoking ──Revoked──► gone, and told with Own
//!                             └──────────── Lose ────────┘
//! ```
//!
//! Invariants: a partition is added only while it is neither held nor being revoked; the broker is
//! told that a partition is gone only after its revocation is done, and only as the answer to the
//! newest assignment; one revocation is under way at a time; partitions that stay assigned appear in
//! no action.

use std::collections::BTreeSet;

use super::assigned_partition::AssignedPartition;

/// A set of partitions.
pub(super) type Partitions = BTreeSet<AssignedPartition>;

/// What happens to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The broker took the member in, or back in.
    Joined { epoch: i32 },
    /// The broker said what the member is to hold.
    Assigned {
        epoch: i32,
        /// Which assignment of the stream it is.
        sequence: u64,
        target: Partitions,
    },
    /// The revocation of this number is done: nobody works on its partitions, and what was to be
    /// committed is.
    Revoked { number: u64 },
    /// The stream broke, or the broker asked to try again.
    Broke,
    /// The broker no longer knows the membership.
    Fenced,
    /// Nothing was heard of the broker for as long as the session lasts.
    Silent,
    /// The broker refused for good.
    Refused,
    /// The application wants no more.
    Leave,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Read these.
    Add(Partitions),
    /// Stop reading these, let the application finish, commit, then say [`Event::Revoked`].
    Revoke { number: u64, partitions: Partitions },
    /// These belong to others now: stop at once, commit nothing.
    Lose(Partitions),
    /// Tell the broker that these are held, and nothing else.
    Own {
        /// The newest assignment of the stream, which this answers; 0 before the first.
        sequence: u64,
        partitions: Partitions,
    },
    /// Open a stream with what [`Reconciliation::join`] says.
    Rejoin,
    /// Say good-bye: nothing is held.
    Leave,
    /// The membership is over.
    Stop,
}

/// How far the membership is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A stream is being opened, or will be.
    Joining,
    Member,
    Over,
}

/// A member's partitions.
#[derive(Debug)]
pub(super) struct Reconciliation {
    phase: Phase,
    /// 0 without a membership.
    epoch: i32,
    /// Of the newest assignment of the stream; 0 before the first.
    sequence: u64,
    /// What to hold; `None` until the broker said so in this membership.
    target: Option<Partitions>,
    held: Partitions,
    revoking: Partitions,
    last_revocation: u64,
    /// What the broker was told last.
    told: Partitions,
    /// An assignment waits for its acknowledgement.
    answer_due: bool,
    leaving: bool,
}

impl Reconciliation {
    /// A member that has yet to join.
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Joining,
            epoch: 0,
            sequence: 0,
            target: None,
            held: Partitions::new(),
            revoking: Partitions::new(),
            last_revocation: 0,
            told: Partitions::new(),
            answer_due: false,
            leaving: false,
        }
    }

    /// Epoch and partitions to join with, as of now.
    pub(super) fn join(&mut self) -> (i32, Partitions) {
        self.told = self.owned();
        (self.epoch, self.told.clone())
    }

    /// Everything that nobody else may read yet.
    fn owned(&self) -> Partitions {
        self.held.union(&self.revoking).cloned().collect()
    }

    /// Whether the member holds just what it was assigned.
    pub(super) fn is_settled(&self) -> bool {
        self.phase == Phase::Member
            && self.revoking.is_empty()
            && self.target.as_ref() == Some(&self.held)
    }

    /// The member's epoch was raised without a change of its partitions.
    pub(super) fn raise_epoch(&mut self, epoch: i32) {
        if self.phase == Phase::Member {
            self.epoch = self.epoch.max(epoch);
        }
    }

    /// Takes in what happened.
    pub(super) fn handle(&mut self, event: Event) -> Vec<Action> {
        if self.phase == Phase::Over {
            return Vec::new();
        }
        match event {
            Event::Joined { epoch } => {
                self.phase = Phase::Member;
                self.epoch = epoch;
                self.sequence = 0;
                self.reconcile()
            }
            Event::Assigned {
                epoch,
                sequence,
                target,
            } => self.assigned(epoch, sequence, target),
            Event::Revoked { number } if number == self.last_revocation => {
                self.revoking.clear();
                self.reconcile()
            }
            Event::Revoked { .. } => Vec::new(),
            Event::Broke => self.rejoin(),
            Event::Fenced => {
                let mut actions = self.lose();
                actions.extend(self.rejoin());
                actions
            }
            Event::Silent => {
                let mut actions = self.lose();
                if self.phase == Phase::Member {
                    actions.extend(self.rejoin());
                } else if self.leaving {
                    actions.extend(self.reconcile());
                }
                actions
            }
            Event::Refused => {
                let mut actions = self.lose();
                self.phase = Phase::Over;
                actions.push(Action::Stop);
                actions
            }
            Event::Leave => {
                self.leaving = true;
                self.target = Some(Partitions::new());
                self.reconcile()
            }
        }
    }

    fn assigned(&mut self, epoch: i32, sequence: u64, target: Partitions) -> Vec<Action> {
        if self.phase != Phase::Member || self.leaving {
            return Vec::new();
        }
        self.epoch = epoch;
        self.sequence = sequence;
        self.target = Some(target);
        self.answer_due = true;
        self.reconcile()
    }

    fn rejoin(&mut self) -> Vec<Action> {
        self.phase = Phase::Joining;
        self.answer_due = false;
        if self.leaving {
            return self.reconcile();
        }
        vec![Action::Rejoin]
    }

    /// Gives up everything without a word to the broker, which has given it to others.
    fn lose(&mut self) -> Vec<Action> {
        let lost = self.owned();
        self.held.clear();
        self.revoking.clear();
        // A revocation under way has nothing to finish.
        self.last_revocation += 1;
        self.epoch = 0;
        self.target = self.leaving.then(Partitions::new);
        self.answer_due = false;
        if lost.is_empty() {
            Vec::new()
        } else {
            vec![Action::Lose(lost)]
        }
    }

    /// The next steps from what is held to what is to be held.
    fn reconcile(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(target) = self.target.clone() else {
            self.tell(&mut actions);
            return actions;
        };
        if self.revoking.is_empty() {
            let dropped: Partitions = self.held.difference(&target).cloned().collect();
            if !dropped.is_empty() {
                self.held.retain(|partition| target.contains(partition));
                self.revoking.clone_from(&dropped);
                self.last_revocation += 1;
                actions.push(Action::Revoke {
                    number: self.last_revocation,
                    partitions: dropped,
                });
            }
        }
        let is_free = |partition: &&AssignedPartition| {
            let mut owned = self.held.iter().chain(&self.revoking);
            !owned.any(|owned| owned.is_namesake(partition))
        };
        let added: Partitions = target.iter().filter(is_free).cloned().collect();
        if !added.is_empty() {
            self.held.extend(added.iter().cloned());
            actions.push(Action::Add(added));
        }
        self.tell(&mut actions);
        actions
    }

    /// Says what is held, or good-bye, once no revocation is under way.
    fn tell(&mut self, actions: &mut Vec<Action>) {
        if !self.revoking.is_empty() {
            return;
        }
        if self.leaving {
            self.phase = Phase::Over;
            actions.push(Action::Leave);
        } else if self.phase == Phase::Member && (self.answer_due || self.told != self.held) {
            self.answer_due = false;
            self.told.clone_from(&self.held);
            actions.push(Action::Own {
                sequence: self.sequence,
                partitions: self.held.clone(),
            });
        }
    }
}

#[cfg(test)]
mod tests;
