//! [`KafkaTraffic`]: what Kafka clients asked, how much, and how long it took, by API.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use millstream_proto::ErrorCode;

use super::{
    answer::Answer,
    dispatch::{self, Answering, Closing},
};
use crate::metrics::{DurationCounts, DurationHistogram};

/// Counts of all connections since the start.
#[derive(Debug)]
pub struct KafkaTraffic {
    apis: Vec<ApiCounts>,
    refused: AtomicU64,
    idle: AtomicU64,
}

#[derive(Debug)]
struct ApiCounts {
    key: i16,
    name: &'static str,
    requests: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    times: DurationHistogram,
    /// Only answers that have some take the lock.
    errors: Mutex<BTreeMap<ErrorCode, u64>>,
}

/// Counts of one API.
#[derive(Debug, Clone)]
pub struct ApiFigures {
    /// Kafka's name of it.
    pub name: &'static str,
    /// Requests that were answered.
    pub requests: u64,
    /// Bytes of all requests.
    pub request_bytes: u64,
    /// Bytes of all answers.
    pub response_bytes: u64,
    /// Times from a request's last byte to its answer.
    pub times: DurationCounts,
    /// Error codes that were answered, and how often; one for each topic, partition or group that had it.
    pub errors: BTreeMap<ErrorCode, u64>,
}

impl Default for KafkaTraffic {
    fn default() -> Self {
        let apis = dispatch::answered().map(|served| ApiCounts {
            key: served.api_key,
            name: served.name,
            requests: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            times: DurationHistogram::default(),
            errors: Mutex::default(),
        });
        Self {
            apis: apis.collect(),
            refused: AtomicU64::new(0),
            idle: AtomicU64::new(0),
        }
    }
}

impl KafkaTraffic {
    /// Connections that were closed because of what came, so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections that were closed because nothing came, so far.
    #[must_use]
    pub fn idle(&self) -> u64 {
        self.idle.load(Ordering::Relaxed)
    }

    /// All APIs, by key.
    pub fn figures(&self) -> impl Iterator<Item = ApiFigures> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.apis.iter().map(move |api| ApiFigures {
            name: api.name,
            requests: count(&api.requests),
            request_bytes: count(&api.request_bytes),
            response_bytes: count(&api.response_bytes),
            times: api.times.counts(),
            errors: api.errors().clone(),
        })
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_idle(&self) {
        self.idle.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer that is counted when it is there.
    pub(super) fn counted(
        self: &Arc<Self>,
        api_key: i16,
        request_bytes: usize,
        answering: Answering,
    ) -> Counted {
        Counted {
            traffic: Arc::clone(self),
            api_key,
            request_bytes,
            began: Instant::now(),
            answering,
        }
    }

    fn count(&self, of: &Counted, answered: &Result<Option<Answer>, Closing>) {
        let by_key = |api: &ApiCounts| api.key;
        let found = self.apis.binary_search_by_key(&of.api_key, by_key);
        let Some(api) = found.ok().and_then(|index| self.apis.get(index)) else {
            return;
        };
        match answered {
            Ok(answer) => {
                api.answered(of, answer.as_ref().map_or(0, Answer::len));
                api.erred(answer.as_ref().map_or(&[], |answer| &answer.errors));
            }
            Err(Closing::Unacknowledged { errors, .. }) => api.erred(errors),
            Err(_) => {}
        }
    }
}

impl ApiCounts {
    fn answered(&self, of: &Counted, response_bytes: usize) {
        let add = |counter: &AtomicU64, value: u64| counter.fetch_add(value, Ordering::Relaxed);
        let bytes = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        add(&self.requests, 1);
        add(&self.request_bytes, bytes(of.request_bytes));
        add(&self.response_bytes, bytes(response_bytes));
        self.times.observe(of.began.elapsed());
    }

    fn erred(&self, codes: &[ErrorCode]) {
        if codes.is_empty() {
            return;
        }
        let mut errors = self.errors();
        for code in codes {
            *errors.entry(*code).or_default() += 1;
        }
    }

    fn errors(&self) -> MutexGuard<'_, BTreeMap<ErrorCode, u64>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer on its way.
pub(super) struct Counted {
    traffic: Arc<KafkaTraffic>,
    api_key: i16,
    request_bytes: usize,
    began: Instant,
    answering: Answering,
}

impl Future for Counted {
    type Output = Result<Option<Answer>, Closing>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = std::task::ready!(self.answering.as_mut().poll(context));
        self.traffic.count(&self, &answered);
        Poll::Ready(answered)
    }
}
