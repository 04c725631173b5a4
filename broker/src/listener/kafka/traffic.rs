//! [`KafkaTraffic`]: what Kafka clients asked, how much, and how long it took, by API.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    answer::Answer,
    dispatch::{self, Answering, Closing},
};

/// Counts of all connections since the start.
#[derive(Debug)]
pub struct KafkaTraffic {
    apis: Vec<ApiCounts>,
    refused: AtomicU64,
}

#[derive(Debug)]
struct ApiCounts {
    key: i16,
    name: &'static str,
    requests: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    micros: AtomicU64,
}

/// Counts of one API.
#[derive(Debug, Clone, Copy)]
pub struct ApiFigures {
    /// Kafka's name of it.
    pub name: &'static str,
    /// Requests that were answered.
    pub requests: u64,
    /// Bytes of all requests.
    pub request_bytes: u64,
    /// Bytes of all answers.
    pub response_bytes: u64,
    /// Time from a request's last byte to its answer, all together.
    pub time: Duration,
}

impl Default for KafkaTraffic {
    fn default() -> Self {
        let apis = dispatch::answered().map(|served| ApiCounts {
            key: served.api_key,
            name: served.name,
            requests: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            micros: AtomicU64::new(0),
        });
        Self {
            apis: apis.collect(),
            refused: AtomicU64::new(0),
        }
    }
}

impl KafkaTraffic {
    /// Connections that were closed because of what came, so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// All APIs, by key.
    pub fn figures(&self) -> impl Iterator<Item = ApiFigures> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.apis.iter().map(move |api| ApiFigures {
            name: api.name,
            requests: count(&api.requests),
            request_bytes: count(&api.request_bytes),
            response_bytes: count(&api.response_bytes),
            time: Duration::from_micros(count(&api.micros)),
        })
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
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

    fn count(&self, of: &Counted, answer: Option<&Answer>) {
        let by_key = |api: &ApiCounts| api.key;
        let Ok(index) = self.apis.binary_search_by_key(&of.api_key, by_key) else {
            return;
        };
        let Some(api) = self.apis.get(index) else {
            return;
        };
        let add = |counter: &AtomicU64, value: u64| counter.fetch_add(value, Ordering::Relaxed);
        let bytes = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let micros = u64::try_from(of.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        add(&api.requests, 1);
        add(&api.request_bytes, bytes(of.request_bytes));
        add(&api.response_bytes, bytes(answer.map_or(0, Answer::len)));
        add(&api.micros, micros);
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
        if let Ok(answer) = &answered {
            self.traffic.count(&self, answer.as_ref());
        }
        Poll::Ready(answered)
    }
}
