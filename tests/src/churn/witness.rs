//! [`Witness`]: tells the recorder what one member did and was told, and knows up to when the broker may
//! not end its membership.

use std::{sync::Arc, time::Duration};

use millstream_proto::TopicPartition;

use super::{CommitNumber, MemberNumber, Observation, Recorder, Scene};

/// How long a request may take to reach the broker.
const ON_ITS_WAY_MAX: Duration = Duration::from_secs(2);

/// Speaks for one membership.
#[derive(Debug)]
pub(super) struct Witness {
    scene: Arc<Scene>,
    number: MemberNumber,
    session: Duration,
    trusted_until: Duration,
}

impl Witness {
    /// Speaks for a new member with this session, of which the broker knows nothing yet.
    pub(super) fn new(scene: &Arc<Scene>, session: Duration) -> Self {
        let mut witness = Self {
            scene: Arc::clone(scene),
            number: scene.recorder.member(),
            session,
            trusted_until: Duration::ZERO,
        };
        witness.trust(Duration::ZERO);
        witness
    }

    pub(super) const fn scene(&self) -> &Arc<Scene> {
        &self.scene
    }

    pub(super) const fn number(&self) -> MemberNumber {
        self.number
    }

    pub(super) const fn session(&self) -> Duration {
        self.session
    }

    fn recorder(&self) -> &Recorder {
        &self.scene.recorder
    }

    fn record(&self, what: Observation) {
        self.recorder().record(what);
    }

    /// Time since the beginning of the history.
    pub(super) fn now(&self) -> Duration {
        self.recorder().now()
    }

    pub(super) fn count(&self, what: &'static str) {
        self.scene.count(what);
    }

    fn trust(&mut self, until: Duration) {
        self.trusted_until = until;
        self.record(Observation::Trusted {
            member: self.number,
            until: Some(until),
        });
    }

    /// The broker has heard what was sent at this time.
    pub(super) fn heard(&mut self, sent_at: Duration) {
        self.trust(self.trusted_until.max(sent_at + self.session));
    }

    /// The broker may end the membership so long from now, where it might not before.
    pub(super) fn trust_at_most(&mut self, time: Duration) {
        self.trust(self.trusted_until.min(self.now() + time));
    }

    /// It asks for something that has to wait for others, and is not expected to show that it is alive
    /// meanwhile: the broker counts again once it has the request, which is to be in time for that.
    pub(super) fn waits(&mut self) {
        let now = self.now();
        if now + ON_ITS_WAY_MAX < self.trusted_until {
            self.heard(now);
        }
    }

    pub(super) fn gained(&self, partitions: Vec<TopicPartition>) {
        if !partitions.is_empty() {
            self.record(Observation::Gained {
                member: self.number,
                partitions,
            });
        }
    }

    pub(super) fn gave_up(&self, partitions: Vec<TopicPartition>) {
        if !partitions.is_empty() {
            self.record(Observation::GaveUp {
                member: self.number,
                partitions,
            });
        }
    }

    pub(super) fn polled(&self, partition: &TopicPartition, offset: i64) {
        self.record(Observation::Polled {
            member: self.number,
            partition: partition.clone(),
            offset,
        });
    }

    pub(super) fn commit_sent(&self, partition: &TopicPartition, offset: i64) -> CommitNumber {
        let partition = partition.clone();
        self.recorder().commit_sent(self.number, partition, offset)
    }

    pub(super) fn commit_accepted(&self, commit: CommitNumber) {
        self.record(Observation::CommitAccepted { commit });
    }

    pub(super) fn fenced(&self) {
        self.count("fenced");
        self.record(Observation::Fenced {
            member: self.number,
        });
    }

    pub(super) fn resumed(&self) {
        self.record(Observation::Resumed {
            member: self.number,
        });
    }

    pub(super) fn stood_still(&self) {
        self.record(Observation::StoodStill {
            member: self.number,
        });
    }

    pub(super) fn left(&self) {
        self.count("left");
        self.record(Observation::Left {
            member: self.number,
        });
    }

    /// It vanished, and the broker is to find out so long from now.
    pub(super) fn vanished(&self, noticed_after: Duration) {
        self.count("crashed");
        self.record(Observation::Broke {
            member: self.number,
            evicted_at: self.now() + noticed_after,
        });
    }

    /// It vanished, and nothing tells the broker but its silence.
    pub(super) fn fell_silent(&self) {
        self.vanished(self.trusted_until.saturating_sub(self.now()));
    }
}
