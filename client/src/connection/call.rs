//! Unary calls with a deadline: which broker is asked, and when a failed call is made again.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Response, Status};

use super::{Backoff, Broker, Connection};
use crate::error::{Error, Result};

/// Whether a call whose fate is unknown may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Done twice it is as if done once.
    Always,
    /// Only where no connection was made, so that it cannot have been done.
    WhileUnsent,
}

impl Repeat {
    fn allows(self, error: &Error) -> bool {
        match self {
            Self::Always => error.is_retriable(),
            Self::WhileUnsent => matches!(error, Error::Unreachable { .. }),
        }
    }
}

impl Connection {
    /// Calls brokers in turn, the last that answered first, until one answers or the deadline has
    /// passed. Where every address refuses connections the call fails after one round: a broker
    /// that is not there is better said at once. Returns the answer and who gave it.
    pub(crate) async fn call_any<T, F>(
        &self,
        operation: &'static str,
        deadline: Duration,
        repeat: Repeat,
        mut call: impl FnMut(Arc<Broker>) -> F,
    ) -> Result<(T, Arc<str>)>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let end = Instant::now() + deadline;
        let mut backoff = Backoff::new(self.config.reconnect_backoff);
        let mut failures = Failures::default();
        let addresses = self.addresses.lock().map_or(1, |addresses| addresses.len());
        for attempt in 0.. {
            let Some(address) = self.address_of_attempt(attempt) else {
                break;
            };
            let broker = self.broker(&address)?;
            match timeout_at(end, call(Arc::clone(&broker))).await {
                Ok(Ok(answer)) => {
                    self.prefer(&address);
                    return Ok((answer.into_inner(), address));
                }
                Ok(Err(status)) => {
                    let error = broker.failure(&status, false);
                    if !repeat.allows(&error) {
                        return Err(error);
                    }
                    failures.add(error);
                }
                Err(_) => break,
            }
            if (attempt + 1) % addresses == 0 {
                if failures.all_unreachable {
                    break;
                }
                let pause_end = Instant::now() + backoff.pause(rand::random());
                sleep_until(pause_end.min(end)).await;
            }
            if Instant::now() >= end {
                break;
            }
        }
        Err(failures.into_error(operation, deadline))
    }

    /// Calls one broker, which must be this one, until it answers or the deadline has passed.
    pub(crate) async fn call_one<T, F>(
        &self,
        operation: &'static str,
        broker: &Arc<Broker>,
        deadline: Duration,
        call: impl FnOnce(Arc<Broker>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        match tokio::time::timeout(deadline, call(Arc::clone(broker))).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(broker.failure(&status, false)),
            Err(_) => Err(Failures::default().into_error(operation, deadline)),
        }
    }
}

/// What went wrong in the attempts of one call.
#[derive(Debug)]
struct Failures {
    last: Option<Error>,
    all_unreachable: bool,
    addresses: Vec<String>,
}

impl Default for Failures {
    fn default() -> Self {
        Self {
            last: None,
            all_unreachable: true,
            addresses: Vec::new(),
        }
    }
}

impl Failures {
    fn add(&mut self, error: Error) {
        match &error {
            Error::Unreachable { addresses, .. } => self.addresses.push(addresses.clone()),
            _ => self.all_unreachable = false,
        }
        self.last = Some(error);
    }

    fn into_error(self, operation: &'static str, after: Duration) -> Error {
        match self.last {
            Some(Error::Unreachable { reason, .. }) if self.all_unreachable => Error::Unreachable {
                addresses: self.addresses.join(","),
                reason,
            },
            last => Error::TimedOut {
                operation,
                after,
                may_have_been_written: false,
                cause: last.map(Arc::new),
            },
        }
    }
}
