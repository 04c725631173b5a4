//! `FetchService`: many partitions over one stream, each with a credit of its own.
//!
//! ```text
//!   FetchAdd ─► ready ──read──► FetchData ──► ready          (more to read, credit left)
//!                 ▲                 ├──────► without credit ─ FetchCredit ─► ready
//!                 └── wakeups ◄─────┴──────► parked          (nothing to read: costs nothing)
//! ```
//!
//! One stream is one state machine, polled by the task that writes its answers. Ready partitions take
//! turns, one frame each; a partition whose bytes are not in memory is read on the blocking pool while
//! the others go on. `fetch/reading.rs` is one partition, this file the turns.

mod reading;

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
};

use futures_util::{Stream, StreamExt, stream, stream::FuturesUnordered};
use millstream_proto::grpc::v1::{
    self, fetch_request::Request as Wish, fetch_response::Response as Answer,
    fetch_service_server::FetchService,
};
use tonic::{Request, Response, Status, Streaming};

use self::reading::{FetchLimits, Reading, Turn, failed};
use super::wire;
use crate::{
    service::{
        RequestContext, ServiceError, Services,
        fetch::{FetchRefusal, Fetched, Isolation, PartitionReader, Wakeups},
    },
    shutdown::Shutdown,
};

/// Batch bytes of one FetchData when the client does not say.
const FRAME_BYTES_DEFAULT: u32 = 256 << 10;
/// Most batch bytes of one FetchData, the first batch aside: gRPC clients take messages of 4 MiB.
const FRAME_BYTES_MAX: u32 = 1 << 20;
/// Partitions of one stream that are read from disk at a time.
const DISK_READS_MAX: usize = 4;
/// Frames and requests in a row before other tasks of the thread get their turn.
const STEPS_PER_TURN: u32 = 64;

/// Adapter of [`FetchService`].
#[derive(Debug)]
pub(super) struct FetchAdapter {
    services: Arc<Services>,
    shutdown: Shutdown,
}

impl FetchAdapter {
    pub(super) fn new(services: Arc<Services>, shutdown: Shutdown) -> Self {
        Self { services, shutdown }
    }
}

#[tonic::async_trait]
impl FetchService for FetchAdapter {
    type FetchStream = Pin<Box<dyn Stream<Item = Result<v1::FetchResponse, Status>> + Send>>;

    async fn fetch(
        &self,
        request: Request<Streaming<v1::FetchRequest>>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let limits = FetchLimits::new(&self.services.config().limits);
        let stream = FetchStream {
            context: wire::context(&request),
            inbound: request.into_inner(),
            services: Arc::clone(&self.services),
            shutdown: wire::begun(&self.shutdown),
            limits,
            isolation: Isolation::default(),
            frame_bytes: FRAME_BYTES_DEFAULT,
            is_open: false,
            is_over: false,
            partitions: HashMap::new(),
            credit_bytes: 0,
            ready: VecDeque::new(),
            disk_reads: FuturesUnordered::new(),
            disk_line: VecDeque::new(),
            wakeups: Wakeups::new(),
            steps_in_turn: 0,
            asked_last: false,
        };
        let answers = stream::unfold(stream, |mut stream| async move {
            let answer = stream.next_answer().await?;
            Some((answer, stream))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

type DiskRead = Pin<Box<dyn Future<Output = DiskReadDone> + Send>>;

struct DiskReadDone {
    fetch_id: u64,
    reader: PartitionReader,
    result: Result<Fetched, FetchRefusal>,
}

struct FetchStream {
    services: Arc<Services>,
    context: RequestContext,
    shutdown: wire::Begun,
    inbound: Streaming<v1::FetchRequest>,
    limits: FetchLimits,
    isolation: Isolation,
    frame_bytes: u32,
    is_open: bool,
    is_over: bool,
    partitions: HashMap<u64, Reading>,
    /// Sum of the partitions' credits, as far as they are positive.
    credit_bytes: u64,
    /// Partitions whose turn comes; each at most once.
    ready: VecDeque<u64>,
    disk_reads: FuturesUnordered<DiskRead>,
    /// Partitions that wait for one of these to end.
    disk_line: VecDeque<(u64, PartitionReader, usize)>,
    wakeups: Arc<Wakeups>,
    steps_in_turn: u32,
    asked_last: bool,
}

/// What happened next on a stream.
enum Next {
    Asked(Result<Option<v1::FetchRequest>, Status>),
    Read(DiskReadDone),
    Moved(Vec<u64>),
    Turn,
    Shutdown,
}

impl FetchStream {
    /// The next answer; `None` ends the stream.
    async fn next_answer(&mut self) -> Option<Result<v1::FetchResponse, Status>> {
        while !self.is_over {
            self.steps_in_turn += 1;
            if self.steps_in_turn >= STEPS_PER_TURN {
                self.steps_in_turn = 0;
                tokio::task::yield_now().await;
            }
            match self.step().await {
                Ok(Some(answer)) => {
                    return Some(Ok(v1::FetchResponse {
                        response: Some(answer),
                    }));
                }
                Ok(None) => {}
                Err(status) => {
                    self.is_over = true;
                    return Some(Err(status));
                }
            }
        }
        None
    }

    async fn step(&mut self) -> Result<Option<Answer>, Status> {
        match self.next().await {
            Next::Asked(Ok(Some(request))) => {
                self.asked_last = true;
                self.asked(request)
            }
            Next::Asked(Ok(None)) => {
                self.is_over = true;
                Ok(None)
            }
            Next::Asked(Err(status)) => Err(status),
            Next::Read(done) => Ok(self.disk_read_done(done)),
            Next::Moved(fetch_ids) => {
                for fetch_id in fetch_ids {
                    let reading = self.partitions.get_mut(&fetch_id);
                    if reading.is_some_and(Reading::moved) {
                        self.ready.push_back(fetch_id);
                    }
                }
                Ok(None)
            }
            Next::Turn => Ok(self.turn()),
            Next::Shutdown => Err(wire::shutting_down()),
        }
    }

    async fn next(&mut self) -> Next {
        let has_ready = !self.ready.is_empty();
        // A client that sends without pause must not keep its partitions from their turns.
        let asked_last = std::mem::take(&mut self.asked_last);
        tokio::select! {
            biased;
            () = &mut self.shutdown => Next::Shutdown,
            request = self.inbound.message(), if !has_ready || !asked_last => Next::Asked(request),
            Some(done) = self.disk_reads.next() => Next::Read(done),
            () = std::future::ready(()), if has_ready => Next::Turn,
            fetch_ids = self.wakeups.moved() => Next::Moved(fetch_ids),
        }
    }

    fn asked(&mut self, request: v1::FetchRequest) -> Result<Option<Answer>, Status> {
        let refused = |error: ServiceError| wire::status(&error);
        let wish = request.request.ok_or_else(|| {
            refused(ServiceError::invalid_request(
                "fetch request is empty",
                "set one of open, add, credit, remove; or the client is newer than this broker",
            ))
        })?;
        match wish {
            Wish::Open(open) => self.open(&open).map_err(refused),
            _ if !self.is_open => Err(refused(ServiceError::invalid_request(
                "fetch stream was not opened",
                "send FetchOpen first",
            ))),
            Wish::Add(add) => self.add(&add).map_err(refused),
            Wish::Credit(credit) => Ok(self.credit(&credit)),
            Wish::Remove(remove) => {
                self.remove(remove.fetch_id);
                Ok(None)
            }
        }
    }

    fn open(&mut self, open: &v1::FetchOpen) -> Result<Option<Answer>, ServiceError> {
        if self.is_open {
            return Err(ServiceError::invalid_request(
                "fetch stream is open already",
                "send FetchOpen once, as the first message",
            ));
        }
        self.is_open = true;
        self.isolation = wire::isolation(open.isolation_level)?;
        if open.frame_bytes_max > 0 {
            self.frame_bytes = open.frame_bytes_max.min(FRAME_BYTES_MAX);
        }
        Ok(Some(Answer::Opened(v1::FetchOpened {
            credit_bytes_max: self.limits.stream_credit_bytes_max,
            partitions_max: self.limits.partitions_max,
        })))
    }

    fn add(&mut self, add: &v1::FetchAdd) -> Result<Option<Answer>, ServiceError> {
        if self.partitions.contains_key(&add.fetch_id) {
            return Err(ServiceError::invalid_request(
                format!("fetch id {} is taken", add.fetch_id),
                "give every FetchAdd of a stream an id of its own",
            ));
        }
        let opened = self
            .limits
            .check_partitions(self.partitions.len())
            .map_err(reading::without_offsets)
            .and_then(|()| reading::open(&self.services, &self.context, add, self.isolation));
        let reading = match opened {
            Ok(reading) => reading,
            Err(refusal) => return Ok(Some(failed(add.fetch_id, refusal))),
        };
        self.partitions.insert(add.fetch_id, reading);
        if let Err(error) = self.grant(add.fetch_id, add.credit_bytes) {
            return Ok(Some(
                self.fail(add.fetch_id, reading::without_offsets(error)),
            ));
        }
        let news = self.partitions.get_mut(&add.fetch_id);
        let news = news.map(|reading| reading.news(add.fetch_id));
        match news {
            Some(Err(refusal)) => Ok(Some(self.fail(add.fetch_id, refusal))),
            Some(Ok(news)) => {
                self.go_on(add.fetch_id);
                Ok(Some(news))
            }
            None => Ok(None),
        }
    }

    fn credit(&mut self, credit: &v1::FetchCredit) -> Option<Answer> {
        // The partition may have failed, or been removed, while the credit was on its way.
        if !self.partitions.contains_key(&credit.fetch_id) {
            return None;
        }
        match self.grant(credit.fetch_id, credit.bytes) {
            Ok(()) => {
                self.go_on(credit.fetch_id);
                None
            }
            Err(error) => Some(self.fail(credit.fetch_id, reading::without_offsets(error))),
        }
    }

    fn grant(&mut self, fetch_id: u64, bytes: u64) -> Result<(), ServiceError> {
        let Some(reading) = self.partitions.get_mut(&fetch_id) else {
            return Ok(());
        };
        let before = reading.credit_left();
        reading.grant(bytes, &self.limits)?;
        let after = reading.credit_left();
        self.credit_bytes = self
            .credit_bytes
            .saturating_sub(before)
            .saturating_add(after);
        self.limits.check_stream_credit(self.credit_bytes)
    }

    fn remove(&mut self, fetch_id: u64) {
        if let Some(reading) = self.partitions.remove(&fetch_id) {
            self.credit_bytes = self.credit_bytes.saturating_sub(reading.credit_left());
        }
    }

    fn fail(&mut self, fetch_id: u64, refusal: FetchRefusal) -> Answer {
        self.remove(fetch_id);
        failed(fetch_id, refusal)
    }

    /// Puts a partition in line if it has credit and waits for nothing else.
    fn go_on(&mut self, fetch_id: u64) {
        let reading = self.partitions.get_mut(&fetch_id);
        if reading.is_some_and(Reading::go_on) {
            self.ready.push_back(fetch_id);
        }
    }

    /// Gives the next partition its turn.
    fn turn(&mut self) -> Option<Answer> {
        let fetch_id = self.ready.pop_front()?;
        // It may have been removed while it stood in line.
        let reading = self.partitions.get_mut(&fetch_id)?;
        let turn = reading.turn(fetch_id, self.frame_bytes, &self.wakeups);
        self.turned(fetch_id, turn)
    }

    fn turned(&mut self, fetch_id: u64, turn: Turn) -> Option<Answer> {
        match turn {
            Turn::Data(answer, bytes) => {
                self.charge(fetch_id, bytes);
                self.go_on(fetch_id);
                Some(answer)
            }
            Turn::News(answer) => Some(answer),
            Turn::Idle => None,
            Turn::Again => {
                self.go_on(fetch_id);
                None
            }
            Turn::NeedsDisk(reader, max_bytes) => {
                self.disk_line.push_back((fetch_id, reader, max_bytes));
                self.start_disk_reads();
                None
            }
            Turn::Failed(refusal) => Some(self.fail(fetch_id, refusal)),
        }
    }

    fn start_disk_reads(&mut self) {
        while self.disk_reads.len() < DISK_READS_MAX
            && let Some((fetch_id, mut reader, max_bytes)) = self.disk_line.pop_front()
        {
            if !self.partitions.contains_key(&fetch_id) {
                continue;
            }
            self.disk_reads.push(Box::pin(async move {
                let result = reader.read_from_disk(max_bytes).await;
                DiskReadDone {
                    fetch_id,
                    reader,
                    result,
                }
            }));
        }
    }

    fn disk_read_done(&mut self, done: DiskReadDone) -> Option<Answer> {
        let DiskReadDone {
            fetch_id,
            reader,
            result,
        } = done;
        self.start_disk_reads();
        // Removed while it was read: the answer is for nobody.
        let reading = self.partitions.get_mut(&fetch_id)?;
        let turn = reading.disk_read_done(fetch_id, reader, result, &self.wakeups);
        self.turned(fetch_id, turn)
    }

    fn charge(&mut self, fetch_id: u64, bytes: usize) {
        if let Some(reading) = self.partitions.get_mut(&fetch_id) {
            let before = reading.credit_left();
            reading.charge(bytes);
            let after = reading.credit_left();
            self.credit_bytes = self
                .credit_bytes
                .saturating_sub(before)
                .saturating_add(after);
        }
    }
}
