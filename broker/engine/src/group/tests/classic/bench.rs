//! What members of a classic group say, and what they are told, in short.

use std::sync::Arc;

use bytes::Bytes;

use crate::group::{
    ClassicJoin, ClassicLeave, ClassicMemberRef, ClassicSync, Event, Joined, Leaver, OffsetCommits,
    Refusal, Reply, Synced, Ticket,
    tests::bench::{Bench, GROUP, member, offset},
};

/// Somebody joins under a member id, or with none as "".
pub(super) fn join(member_id: &str) -> ClassicJoin {
    ClassicJoin {
        member: member(member_id),
        fresh_member_id: Arc::from("fresh"),
        requires_member_id: true,
        can_skip_assignment: true,
        instance_id: None,
        client_id: "client".to_owned(),
        client_host: "host".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: Some(5_000),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), subscription(&["a"]))],
        reason: String::new(),
    }
}

/// Somebody joins who has no member id, does not know of KIP-394 and gets this one.
pub(super) fn first_join(member_id: &str) -> ClassicJoin {
    ClassicJoin {
        fresh_member_id: Arc::from(member_id),
        requires_member_id: false,
        ..join("")
    }
}

/// A static member joins that has no member id yet and gets this one.
pub(super) fn static_join(instance_id: &str, member_id: &str) -> ClassicJoin {
    ClassicJoin {
        instance_id: Some(instance_id.to_owned()),
        ..first_join(member_id)
    }
}

/// Protocols by name, each with the same metadata.
pub(super) fn protocols(names: &[&str], metadata: &Bytes) -> Vec<(String, Bytes)> {
    let protocol = |name: &&str| ((*name).to_owned(), metadata.clone());
    names.iter().map(protocol).collect()
}

/// Metadata of a consumer that subscribes to these topics.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 1, 0, 0, 0, u8::try_from(topics.len()).expect("few")];
    for topic in topics {
        bytes.extend([0, u8::try_from(topic.len()).expect("short")]);
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    Bytes::from(bytes)
}

pub(super) fn of(member_id: &str, generation: i32) -> ClassicMemberRef {
    ClassicMemberRef {
        member: member(member_id),
        instance_id: None,
        generation,
    }
}

pub(super) fn sync(member_id: &str, generation: i32, assignments: &[(&str, &str)]) -> ClassicSync {
    let assignment =
        |(id, text): &(&str, &str)| ((*id).to_owned(), Bytes::from((*text).to_owned()));
    ClassicSync {
        member: of(member_id, generation),
        protocol_type: Some("consumer".to_owned()),
        protocol: None,
        assignments: assignments.iter().map(assignment).collect(),
    }
}

pub(super) fn leaver(member_id: &str) -> Leaver {
    Leaver {
        member_id: Arc::from(member_id),
        instance_id: None,
        reason: String::new(),
    }
}

impl Bench {
    /// Hands a request in whose answer may have to wait.
    pub(super) fn begin(&mut self, event: impl FnOnce(Ticket) -> Event) -> Ticket {
        let ticket = self.ticket();
        self.event(event(ticket));
        ticket
    }

    pub(super) fn join(&mut self, join: ClassicJoin) -> Ticket {
        self.begin(|ticket| Event::ClassicJoin(ticket, Box::new(join)))
    }

    pub(super) fn sync(&mut self, sync: ClassicSync) -> Ticket {
        self.begin(|ticket| Event::ClassicSync(ticket, sync))
    }

    pub(super) fn waits(&self, ticket: Ticket) -> bool {
        !self.replies.contains_key(&ticket)
    }

    fn take(&mut self, ticket: Ticket) -> Reply {
        self.replies.remove(&ticket).expect("answered")
    }

    pub(super) fn joined(&mut self, ticket: Ticket) -> Joined {
        match self.take(ticket) {
            Reply::Joined(joined) => *joined,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn synced(&mut self, ticket: Ticket) -> Synced {
        match self.take(ticket) {
            Reply::Synced(synced) => synced,
            other => panic!("{other:?}"),
        }
    }

    /// The assignment as text.
    pub(super) fn assigned(&mut self, ticket: Ticket) -> String {
        let assignment = self.synced(ticket).assignment;
        String::from_utf8(assignment.to_vec()).expect("text")
    }

    pub(super) fn refused(&mut self, ticket: Ticket) -> Refusal {
        match self.take(ticket) {
            Reply::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    /// Why a join is refused at once, without any other effect.
    pub(super) fn refused_join(&mut self, join: ClassicJoin) -> Refusal {
        match self.ask(|ticket| Event::ClassicJoin(ticket, Box::new(join))) {
            Reply::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    /// Why a sync is refused at once, without any other effect.
    pub(super) fn refused_sync(&mut self, sync: ClassicSync) -> Refusal {
        match self.ask(|ticket| Event::ClassicSync(ticket, sync)) {
            Reply::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    /// The answer to a heartbeat: whether the group rebalances.
    pub(super) fn heard(&mut self, member: ClassicMemberRef) -> Result<bool, Refusal> {
        match self.ask(|ticket| Event::ClassicHeartbeat(ticket, member)) {
            Reply::Heard { is_rebalancing } => Ok(is_rebalancing),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn go(&mut self, leavers: &[Leaver]) -> Vec<Result<(), Refusal>> {
        let leave = ClassicLeave {
            group_id: Arc::from(GROUP),
            members: leavers.to_vec(),
        };
        let ticket = self.begin(|ticket| Event::ClassicLeave(ticket, leave));
        match self.take(ticket) {
            Reply::MembersLeft(results) => results,
            other => panic!("{other:?}"),
        }
    }

    /// The id that somebody without one is told.
    pub(super) fn member_id(&mut self, fresh: &str) -> Arc<str> {
        let join = ClassicJoin {
            fresh_member_id: Arc::from(fresh),
            ..join("")
        };
        let ticket = self.join(join);
        match self.take(ticket) {
            Reply::MemberIdRequired { member_id } => member_id,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn commit_as(&mut self, member: ClassicMemberRef) -> Result<(), Refusal> {
        let commits = OffsetCommits {
            group_id: Arc::from(GROUP),
            member_id: member.member.member_id,
            instance_id: member.instance_id,
            member_epoch: member.generation,
            retention_ms: None,
            offsets: vec![offset(0, 7)],
        };
        match self.ask(|ticket| Event::CommitOffsets(ticket, commits)) {
            Reply::Committed(results) => results.into_iter().next().expect("one"),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn state(&self) -> &'static str {
        self.describe().listing.state
    }

    /// A group of these members in generation 1, of which the first leads, and where each is assigned
    /// its own name.
    pub(super) fn stable(joins: &[ClassicJoin]) -> Self {
        let mut bench = Self::new();
        let joining: Vec<Ticket> = joins.iter().map(|one| bench.join(one.clone())).collect();
        bench.pass(3_000);
        bench.pass(3_000);
        let joined: Vec<Joined> = joining.iter().map(|one| bench.joined(*one)).collect();
        bench.stabilize(&joined);
        bench
    }

    /// Lets these members sync, and assigns each its own name.
    pub(super) fn stabilize(&mut self, joined: &[Joined]) {
        let names: Vec<(&str, &str)> = joined
            .iter()
            .map(|one| (&*one.member_id, &*one.member_id))
            .collect();
        let syncing: Vec<Ticket> = joined
            .iter()
            .map(|one| {
                let assignments = if one.leader == one.member_id {
                    &*names
                } else {
                    &[]
                };
                self.sync(ClassicSync {
                    protocol_type: Some(one.protocol_type.to_string()),
                    protocol: Some(one.protocol.to_string()),
                    ..sync(&one.member_id, one.generation, assignments)
                })
            })
            .collect();
        for (ticket, one) in syncing.into_iter().zip(joined) {
            assert_eq!(self.assigned(ticket), *one.member_id);
        }
        assert_eq!(self.state(), "Stable");
    }

    /// Two dynamic members, `m1` and `m2`, of which the first leads.
    pub(super) fn two() -> Self {
        Self::stable(&[first_join("m1"), first_join("m2")])
    }
}
