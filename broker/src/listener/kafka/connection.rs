//! One connection: requests begin in the order they come, answers leave in that order.
//!
//! A produce request is appended when it is read, and its acknowledgement is waited for beside what
//! follows it, so that requests in flight share one flush. Anything else is done before the next request
//! begins, as clients that send several at once expect of Kafka. Requests that are there already begin before
//! answers are written, which then leave together.
//!
//! A connection without a request in flight from which no byte comes is closed in the end. Reads and answers only
//! note the time; the one timer of a connection looks at it when it rings, and is set anew for the rest.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesOrdered};
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, sleep},
};

use super::{
    Gate,
    answer::{Answer, Outgoing},
    client::Peer,
    dispatch::{self, Closing},
    frames::Frames,
    traffic::Counted,
};
use crate::{
    listener::{accept::Place, watched::Watched},
    shutdown::Shutdown,
};

/// Serves a connection until its client ends it, breaks the protocol, or the daemon stops.
pub(super) async fn serve(stream: Watched<Place>, gate: Arc<Gate>, shutdown: Shutdown) {
    let from = Arc::clone(stream.place().connection());
    let address = from.address;
    let mut peer = Peer::new(from);
    let limits = &gate.services.config().limits;
    let frame_bytes_max = limits.request_bytes_max.as_usize();
    let in_flight_max = usize::try_from(limits.kafka_requests_in_flight_max).unwrap_or(usize::MAX);
    let in_flight_bytes_max = limits.produce_stream_bytes_max.as_usize();
    let mut connection = Connection {
        frames: Frames::new(stream, frame_bytes_max),
        answers: FuturesOrdered::new(),
        outgoing: Outgoing::default(),
        in_flight: VecDeque::new(),
        in_flight_bytes: 0,
        in_flight_max,
        in_flight_bytes_max,
        idle_max: gate.services.config().network.kafka_idle_timeout,
        last_answer: Instant::now(),
        is_exclusive: false,
        is_open: true,
    };
    let begin = |frame: Bytes| {
        let bytes = frame.len();
        let (api_key, begun) = dispatch::begin(&gate, &mut peer, frame)?;
        let answering = gate.traffic.counted(api_key, bytes, begun.answering);
        Ok((answering, begun.is_exclusive))
    };
    match connection.run(begin, &shutdown).await {
        Ok(()) => {}
        Err(Closing::Io(error)) => tracing::debug!(peer = %address, %error, "connection broke"),
        Err(reason @ Closing::Idle) => {
            gate.traffic.end_idle();
            tracing::debug!(peer = %address, %reason, "connection is closed");
        }
        Err(closing) => {
            gate.traffic.refuse();
            tracing::warn!(peer = %address, reason = %closing, "connection is closed");
        }
    }
}

struct Connection {
    frames: Frames<Watched<Place>>,
    answers: FuturesOrdered<Counted>,
    outgoing: Outgoing,
    /// Bytes of each request that is not answered, in order, and of all of them.
    in_flight: VecDeque<usize>,
    in_flight_bytes: usize,
    in_flight_max: usize,
    in_flight_bytes_max: usize,
    idle_max: Duration,
    last_answer: Instant,
    /// The latest request is one that the next must wait for.
    is_exclusive: bool,
    /// Whether requests are read still.
    is_open: bool,
}

impl Connection {
    async fn run(
        &mut self,
        mut begin: impl FnMut(Bytes) -> Result<(Counted, bool), Closing>,
        shutdown: &Shutdown,
    ) -> Result<(), Closing> {
        let mut begun = pin!(shutdown.begun());
        let mut idle = pin!(sleep(self.idle_max));
        while self.is_open || !self.answers.is_empty() {
            let may_read = self.may_read();
            tokio::select! {
                biased;
                () = &mut begun, if self.is_open => self.is_open = false,
                frame = self.frames.next(), if may_read => match frame? {
                    Some(frame) => {
                        self.in_flight.push_back(frame.len());
                        self.in_flight_bytes += frame.len();
                        let (answering, is_exclusive) = begin(frame)?;
                        self.is_exclusive = is_exclusive;
                        self.answers.push_back(answering);
                    }
                    None => self.is_open = false,
                },
                Some(answer) = self.answers.next() => self.answered(answer?).await?,
                () = &mut idle, if self.answers.is_empty() => {
                    let rest = self.idle_max.saturating_sub(self.idle_for());
                    if rest.is_zero() {
                        return Err(Closing::Idle);
                    }
                    idle.set(sleep(rest));
                }
            }
        }
        let stream = self.frames.stream_mut();
        stream.shutdown().await.map_err(Closing::Io)
    }

    fn may_read(&self) -> bool {
        self.is_open
            && !self.is_exclusive
            && self.in_flight.len() < self.in_flight_max
            && self.in_flight_bytes < self.in_flight_bytes_max
    }

    /// For how long nothing came and nothing was answered.
    fn idle_for(&self) -> Duration {
        self.frames.last_read().max(self.last_answer).elapsed()
    }

    /// Writes an answer, and those that are due behind it.
    async fn answered(&mut self, first: Option<Answer>) -> Result<(), Closing> {
        self.take(first);
        let mut ended = Ok(());
        while let Some(Some(next)) = self.answers.next().now_or_never() {
            match next {
                Ok(answer) => self.take(answer),
                // What was answered before it is written still.
                Err(closing) => {
                    ended = Err(closing);
                    break;
                }
            }
        }
        if self.answers.is_empty() {
            self.is_exclusive = false;
        }
        let written = self.outgoing.write_to(self.frames.stream_mut()).await;
        written.map_err(Closing::Io)?;
        self.last_answer = Instant::now();
        ended
    }

    /// Takes note of the answer to the earliest request.
    fn take(&mut self, answer: Option<Answer>) {
        self.in_flight_bytes -= self.in_flight.pop_front().unwrap_or(0);
        if let Some(answer) = answer {
            self.outgoing.push(answer);
        }
    }
}
