//! [`Sessions`]: what clients fetch again and again, kept so that they need not repeat it (KIP-227).
//!
//! A request in a session names only partitions that are new, moved or gone; its answer names only those
//! with something to tell. A session is away while a request of it is served.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kafka_protocol::messages::FetchRequest;
use millstream_proto::ErrorCode;

use super::{Asked, Slot, Topic};
use crate::service::fetch::Offsets;

/// No session.
pub(super) const NONE: i32 = 0;
/// Begins a session.
const INITIAL: i32 = 0;
/// Ends a session, or wants none.
const FINAL: i32 = -1;
/// A session that was not used for this long gives way to a new one where there is no room (Kafka's
/// `min.incremental.fetch.session.eviction.ms`).
const IDLE: Duration = Duration::from_mins(2);

/// The sessions of all clients.
#[derive(Debug)]
pub(in super::super) struct Sessions {
    places: Mutex<HashMap<i32, Place>>,
    max: usize,
}

#[derive(Debug)]
enum Place {
    /// Since when it waits for its next request.
    Idle(Box<Session>, Instant),
    /// A request of it is served.
    Busy,
}

/// How a request is to be served.
#[derive(Debug)]
pub(super) enum Served {
    /// As it stands.
    Alone,
    /// As part of a session.
    Within(Box<Session>),
}

impl Sessions {
    pub(in super::super) fn new(max: u32) -> Self {
        Self {
            places: Mutex::default(),
            max: usize::try_from(max).unwrap_or(usize::MAX),
        }
    }

    /// Takes a request in, and the session that it belongs to out.
    ///
    /// # Errors
    /// The session does not exist, or expects another request.
    pub(super) fn begin(&self, request: &FetchRequest) -> Result<Served, ErrorCode> {
        let mut places = self.places();
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == INITIAL || epoch == FINAL {
            places.remove(&id);
            if epoch == FINAL || !make_room(&mut places, self.max) {
                return Ok(Served::Alone);
            }
            let id = new_id(&places);
            places.insert(id, Place::Busy);
            return Ok(Served::Within(Box::new(Session::new(id))));
        }
        let place = places
            .get_mut(&id)
            .ok_or(ErrorCode::FetchSessionIdNotFound)?;
        match place {
            Place::Idle(session, _) if session.epoch == epoch => {}
            Place::Idle(..) | Place::Busy => return Err(ErrorCode::InvalidFetchSessionEpoch),
        }
        match std::mem::replace(place, Place::Busy) {
            Place::Idle(session, _) => Ok(Served::Within(session)),
            Place::Busy => Err(ErrorCode::InvalidFetchSessionEpoch),
        }
    }

    /// Puts a session back, for its next request.
    pub(super) fn end(&self, mut session: Box<Session>) {
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        // It may have been ended by another connection of the client.
        if let Some(place) = self.places().get_mut(&session.id) {
            *place = Place::Idle(session, Instant::now());
        }
    }

    /// Forgets a session of which a request was given up.
    pub(super) fn forget(&self, id: i32) {
        self.places().remove(&id);
    }

    fn places(&self) -> MutexGuard<'_, HashMap<i32, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one more fits, after the one that is idle for longest made room for it where that is long.
fn make_room(places: &mut HashMap<i32, Place>, max: usize) -> bool {
    if places.len() < max {
        return true;
    }
    let idle = places.iter().filter_map(|(id, place)| match place {
        Place::Idle(_, since) if since.elapsed() >= IDLE => Some((*since, *id)),
        Place::Idle(..) | Place::Busy => None,
    });
    match idle.min() {
        Some((_, id)) => places.remove(&id).is_some(),
        None => false,
    }
}

fn new_id(places: &HashMap<i32, Place>) -> i32 {
    loop {
        let id = rand::random_range(1..=i32::MAX);
        if !places.contains_key(&id) {
            return id;
        }
    }
}

/// What one client fetches again and again.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: i32,
    /// Of the next request.
    epoch: i32,
    /// In the order in which they are read: those that had data last come last.
    partitions: BTreeMap<u64, Cached>,
    places: HashMap<(Topic, i32), u64>,
    next_place: u64,
}

#[derive(Debug)]
struct Cached {
    topic: Topic,
    asked: Asked,
    /// Where the client was told that it stands.
    told: Option<Offsets>,
}

impl Session {
    fn new(id: i32) -> Self {
        Self {
            id,
            epoch: INITIAL,
            partitions: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
        }
    }

    /// Adds or changes a partition.
    pub(super) fn add(&mut self, topic: Topic, asked: Asked) {
        let key = (topic.clone(), asked.partition);
        if let Some(cached) = self
            .places
            .get(&key)
            .and_then(|at| self.partitions.get_mut(at))
        {
            cached.asked = asked;
            return;
        }
        let told = None;
        self.put_last(Cached { topic, asked, told });
    }

    /// Removes a partition.
    pub(super) fn forget(&mut self, topic: &Topic, partition: i32) {
        let key = (topic.clone(), partition);
        if let Some(at) = self.places.remove(&key) {
            self.partitions.remove(&at);
        }
    }

    fn put_last(&mut self, cached: Cached) {
        let key = (cached.topic.clone(), cached.asked.partition);
        self.places.insert(key, self.next_place);
        self.partitions.insert(self.next_place, cached);
        self.next_place += 1;
    }

    /// What is fetched, in order.
    pub(super) fn asked(&self) -> Vec<(Topic, Asked)> {
        let partitions = self.partitions.values();
        partitions
            .map(|cached| (cached.topic.clone(), cached.asked))
            .collect()
    }

    /// Leaves only what the client has to be told, and takes note of it.
    pub(super) fn news(&mut self, slots: Vec<Slot>) -> Vec<Slot> {
        slots.into_iter().filter(|slot| self.tell(slot)).collect()
    }

    /// Takes note of what a partition's answer says; false where that is nothing new.
    fn tell(&mut self, slot: &Slot) -> bool {
        let key = (slot.topic.clone(), slot.asked.partition);
        let Some(at) = self.places.get(&key).copied() else {
            return false;
        };
        let Some(cached) = self.partitions.get_mut(&at) else {
            return false;
        };
        let (told, has_data) = match &slot.read {
            Ok(read) => (Some(read.offsets), !read.batches.is_empty()),
            // Said again until it is over.
            Err(_) => (None, false),
        };
        let is_news = has_data || slot.diverging.is_some() || told.is_none() || told != cached.told;
        cached.told = told;
        if has_data && let Some(cached) = self.partitions.remove(&at) {
            self.put_last(cached);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(session_id: i32, session_epoch: i32) -> FetchRequest {
        FetchRequest::default()
            .with_session_id(session_id)
            .with_session_epoch(session_epoch)
    }

    fn begun(sessions: &Sessions, id: i32, epoch: i32) -> Box<Session> {
        match sessions.begin(&request(id, epoch)) {
            Ok(Served::Within(session)) => session,
            other => panic!("{other:?}"),
        }
    }

    fn refused(sessions: &Sessions, id: i32, epoch: i32) -> Option<ErrorCode> {
        sessions.begin(&request(id, epoch)).err()
    }

    #[test]
    fn a_session_goes_on_with_the_next_epoch_and_no_other() {
        let sessions = Sessions::new(2);
        let session = begun(&sessions, NONE, INITIAL);
        let id = session.id;
        assert_eq!(
            refused(&sessions, id, 1),
            Some(ErrorCode::InvalidFetchSessionEpoch),
            "a request of it is served"
        );
        sessions.end(session);
        assert_eq!(
            refused(&sessions, id, 2),
            Some(ErrorCode::InvalidFetchSessionEpoch)
        );
        sessions.end(begun(&sessions, id, 1));
        sessions.end(begun(&sessions, id, 2));
        assert!(matches!(
            sessions.begin(&request(id, FINAL)),
            Ok(Served::Alone)
        ));
        assert_eq!(
            refused(&sessions, id, 3),
            Some(ErrorCode::FetchSessionIdNotFound)
        );
        assert_eq!(sessions.places().len(), 0);
    }

    #[test]
    fn without_room_there_is_no_new_session() {
        let sessions = Sessions::new(1);
        let session = begun(&sessions, NONE, INITIAL);
        assert!(matches!(
            sessions.begin(&request(NONE, INITIAL)),
            Ok(Served::Alone)
        ));
        let id = session.id;
        sessions.end(session);
        // Whoever begins anew gives the old one up.
        assert_ne!(begun(&sessions, id, INITIAL).id, NONE);
    }

    #[test]
    fn one_that_was_ended_meanwhile_stays_ended() {
        let sessions = Sessions::new(1);
        let session = begun(&sessions, NONE, INITIAL);
        sessions.forget(session.id);
        sessions.end(session);
        assert_eq!(sessions.places().len(), 0);
    }
}
