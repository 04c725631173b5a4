//! [`Coordinator`]: the groups of one partition of the offsets topic.

use std::{collections::BTreeMap, sync::Arc};

use millstream_proto::group_record::GroupRecord;

use super::{
    Action, Committed, Config, Event, GroupDescription, GroupListing, Now, OffsetReader, Outcome,
    Refusal, Topics, classic, commit, consumer, dispatch, forget, state::Group, turn::Turn, view,
};

/// The groups of one partition of the offsets topic, and what their members are about.
#[derive(Debug)]
pub struct Coordinator {
    config: Config,
    topics: Arc<Topics>,
    groups: BTreeMap<Arc<str>, Group>,
}

impl Coordinator {
    /// A coordinator without groups: replay the partition's records, then hand it
    /// [`Event::Loaded`].
    #[must_use]
    pub fn new(config: Config, topics: Arc<Topics>) -> Self {
        Self {
            config,
            topics,
            groups: BTreeMap::new(),
        }
    }

    /// Takes in a record that the partition already has. Only for loading: the records of an
    /// [`Outcome`] are part of the state when `handle` returns.
    pub fn replay(&mut self, record: &GroupRecord) {
        let group_id = record.group_id();
        if let Some(group) = self.groups.get_mut(group_id) {
            group.replay(record);
            if group.is_vacant() {
                self.groups.remove(group_id);
            }
            return;
        }
        let mut group = Group::default();
        group.replay(record);
        if !group.is_vacant() {
            self.groups.insert(Arc::from(group_id), group);
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Now, event: Event) -> Outcome {
        let mut outcome = Outcome::default();
        let out = &mut outcome;
        match event {
            Event::Loaded => self.each(now, out, |turn| {
                consumer::loaded(turn);
                classic::loaded(turn);
            }),
            Event::Heartbeat(ticket, heartbeat) => {
                let group_id = Arc::clone(&heartbeat.member.group_id);
                self.turn(now, &group_id, out, |turn| {
                    consumer::heartbeat(turn, ticket, &heartbeat);
                });
            }
            Event::StreamReport(ticket, report) => {
                let group_id = Arc::clone(&report.member.group_id);
                self.turn(now, &group_id, out, |turn| {
                    consumer::stream_report(turn, ticket, &report);
                });
            }
            Event::StreamBroken(member, stream) => self.turn(now, &member.group_id, out, |turn| {
                consumer::stream_broken(turn, &member, stream);
            }),
            Event::Leave(ticket, leave) => {
                let group_id = Arc::clone(&leave.member.group_id);
                self.turn(now, &group_id, out, |turn| {
                    consumer::leave(turn, ticket, &leave)
                });
            }
            Event::TimerDue(timer) => self.turn(now, timer.group_id(), out, |turn| {
                dispatch::timer_due(turn, &timer);
            }),
            Event::ClassicJoin(ticket, join) => {
                self.turn(now, &join.member.group_id, out, |turn| {
                    dispatch::join(turn, ticket, &join);
                });
            }
            Event::ClassicSync(ticket, sync) => {
                self.turn(now, &sync.member.member.group_id, out, |turn| {
                    dispatch::sync(turn, ticket, &sync);
                });
            }
            Event::ClassicHeartbeat(ticket, member) => {
                self.turn(now, &member.member.group_id, out, |turn| {
                    dispatch::heartbeat(turn, ticket, &member);
                });
            }
            Event::ClassicLeave(ticket, leave) => self.turn(now, &leave.group_id, out, |turn| {
                dispatch::leave(turn, ticket, &leave);
            }),
            Event::CommitOffsets(ticket, commits) => {
                let group_id = Arc::clone(&commits.group_id);
                self.turn(now, &group_id, out, |turn| {
                    commit::commit_offsets(turn, ticket, commits);
                });
            }
            Event::DeleteOffsets {
                ticket,
                group_id,
                partitions,
            } => self.turn(now, &group_id, out, |turn| {
                forget::delete_offsets(turn, ticket, &partitions);
            }),
            Event::DeleteGroup(ticket, group_id) => self.turn(now, &group_id, out, |turn| {
                forget::delete_group(turn, ticket);
            }),
            Event::RegexResolved {
                group_id,
                regex,
                topics,
                version,
            } => self.turn(now, &group_id, out, |turn| {
                consumer::regex_resolved(turn, &regex, topics, version);
            }),
            Event::TopicsChanged { topics, deleted } => {
                self.topics = topics;
                let deleted = deleted.into_iter().collect();
                self.each(now, out, |turn| {
                    forget::topics_deleted(turn, &deleted);
                    consumer::topics_changed(turn);
                });
            }
            Event::ExpireOffsets => self.expire(now, out),
        }
        outcome
    }

    /// One event in one group. The group begins to exist with the first record that the turn writes,
    /// and ceases to when its last one is deleted.
    fn turn(
        &mut self,
        now: Now,
        group_id: &Arc<str>,
        outcome: &mut Outcome,
        work: impl FnOnce(&mut Turn<'_>),
    ) {
        let exists = self.groups.contains_key(group_id);
        let has_room = exists || self.groups.len() < self.config.groups_max;
        let group = self.groups.entry(Arc::clone(group_id)).or_default();
        work(&mut Turn {
            config: &self.config,
            topics: &self.topics,
            now,
            group_id: Arc::clone(group_id),
            group,
            has_room,
            outcome,
        });
        group.shed();
        if group.is_vacant() {
            self.groups.remove(group_id);
        }
    }

    fn each(&mut self, now: Now, outcome: &mut Outcome, mut work: impl FnMut(&mut Turn<'_>)) {
        let group_ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for group_id in group_ids {
            self.turn(now, &group_id, outcome, &mut work);
        }
    }

    fn expire(&mut self, now: Now, outcome: &mut Outcome) {
        let mut room = self.config.expired_per_event_max.max(1);
        let mut is_more = false;
        self.each(now, outcome, |turn| {
            let (written, more) = forget::expire(turn, room);
            room = room.saturating_sub(written);
            is_more |= more;
        });
        if is_more {
            outcome.actions.push(Action::ExpireMore);
        }
    }

    /// Every group, by id.
    #[must_use]
    pub fn list(&self) -> Vec<GroupListing> {
        let groups = self.groups.iter();
        groups
            .map(|(group_id, group)| view::listing(group_id, group))
            .collect()
    }

    /// A group in full.
    ///
    /// # Errors
    /// [`Refusal::GroupNotFound`].
    pub fn describe(&self, group_id: &str) -> Result<GroupDescription, Refusal> {
        let found = self.groups.get_key_value(group_id);
        let (group_id, group) = found.ok_or_else(|| Refusal::GroupNotFound {
            group_id: Arc::from(group_id),
        })?;
        let default = self.config.assignor;
        Ok(view::description(group_id, group, default, &self.topics))
    }

    /// What a group committed: for these partitions, or for all. A partition without a commit is left
    /// out, and so is a commit for an earlier life of a topic's name.
    ///
    /// # Errors
    /// Where the reader is no member, or its epoch is stale. A group that does not exist committed
    /// nothing, which is no error.
    pub fn committed(
        &self,
        group_id: &str,
        reader: &OffsetReader,
        partitions: Option<&[(Arc<str>, i32)]>,
    ) -> Result<Vec<Committed>, Refusal> {
        match (self.groups.get_key_value(group_id), reader) {
            (Some((group_id, group)), _) => {
                commit::read(group, group_id, reader, partitions, &self.topics)
            }
            (None, OffsetReader::Anybody) => Ok(Vec::new()),
            (None, OffsetReader::Member(member_id, _)) => Err(Refusal::UnknownMember {
                group_id: Arc::from(group_id),
                member_id: Arc::clone(member_id),
            }),
        }
    }
}
