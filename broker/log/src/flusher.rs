//! [`Flusher`]: group commit. A bounded pool of threads that flushes dirty partitions in parallel.
//!
//! A partition is in the queue at most once. Requests that arrive while it is being flushed join the
//! next flush of it, however many they are, so throughput does not fall with the number of waiters.
//!
//! How many threads work at once follows the disk: flushes that take no time only take processors from
//! each other and from those who append, and cover less each; flushes that wait for a slow disk go on
//! beside each other.
//!
//! ```text
//!   idle --request--> queued --a thread takes it--> running --done--> idle
//!                                                     | request
//!                                                     v
//!                                                   again --done--> queued
//! ```

use std::{
    collections::VecDeque,
    io, mem,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::partition::PartitionLog;

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const AGAIN: u8 = 3;

/// What a flush takes on average for another thread per processor to pay. Those of 64 KiB take longer and wait for
/// the disk (pre-encoded frames to 16 partitions, in `compare --workload B`), those of commits take less (`groups`).
const THREADS_PER_TIME: Duration = Duration::from_micros(250);
/// Weight of the latest flush in that average: one in so many.
const AVERAGE_OVER: u32 = 8;

/// Where a partition is in the flusher's queue.
#[derive(Debug, Default)]
pub(crate) struct FlushTicket(AtomicU8);

impl FlushTicket {
    /// True when the partition must be put into the queue.
    fn request(&self) -> bool {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| match state {
                IDLE => Some(QUEUED),
                RUNNING => Some(AGAIN),
                _ => None,
            })
            == Ok(IDLE)
    }

    fn start(&self) {
        self.0.store(RUNNING, Ordering::Release);
    }

    /// True when the partition must be put into the queue again.
    fn finish(&self) -> bool {
        let again = |state| Some(if state == AGAIN { QUEUED } else { IDLE });
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, again)
            == Ok(AGAIN)
    }
}

/// The queue and its threads.
#[derive(Debug)]
pub(crate) struct Flusher {
    threads_max: usize,
    processors: usize,
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    pending: VecDeque<Weak<PartitionLog>>,
    threads: Vec<JoinHandle<()>>,
    /// Threads that flush now.
    running: usize,
    waiting: usize,
    /// What a flush takes, averaged over the latest.
    flush_time: Duration,
    stopped: bool,
}

impl Queue {
    /// Whether one more thread may flush.
    fn has_turn(&self, processors: usize) -> bool {
        let by_time = self.flush_time.as_micros() / THREADS_PER_TIME.as_micros();
        let beside = usize::try_from(by_time).unwrap_or(usize::MAX);
        self.stopped || self.running < processors.saturating_mul(beside.saturating_add(1))
    }
}

impl Flusher {
    /// Threads are started when they are first needed; with `threads_max` 0 nothing is flushed here.
    pub(crate) fn new(threads_max: usize) -> Arc<Self> {
        Arc::new(Self {
            threads_max,
            processors: thread::available_parallelism().map_or(1, usize::from),
            queue: Mutex::default(),
            arrived: Condvar::new(),
        })
    }

    /// Asks for a flush of everything the partition appended so far. Never blocks for the disk.
    pub(crate) fn request(self: &Arc<Self>, log: &PartitionLog) {
        if self.threads_max > 0 && log.flush_ticket().request() {
            self.enqueue(log.weak());
        }
    }

    fn enqueue(self: &Arc<Self>, log: Weak<PartitionLog>) {
        let mut queue = self.lock();
        if queue.stopped {
            return;
        }
        queue.pending.push_back(log);
        self.put_to_work(&mut queue);
    }

    /// Wakes or starts a thread when it would find work and have its turn.
    fn put_to_work(self: &Arc<Self>, queue: &mut Queue) {
        if !queue.has_turn(self.processors) {
            return;
        }
        if queue.pending.len() > queue.waiting && queue.threads.len() < self.threads_max {
            let flusher = Arc::clone(self);
            let name = format!("log-flush-{}", queue.threads.len());
            match thread::Builder::new()
                .name(name)
                .spawn(move || flusher.run())
            {
                Ok(thread) => queue.threads.push(thread),
                Err(error) => self.report_no_thread(queue, &error),
            }
        }
        self.arrived.notify_one();
    }

    fn report_no_thread(&self, queue: &Queue, error: &io::Error) {
        tracing::error!(
            %error, threads = queue.threads.len(), threads_max = self.threads_max,
            "cannot start a flush thread",
        );
    }

    fn run(self: Arc<Self>) {
        while let Some(log) = self.next() {
            let began = Instant::now();
            let again = log.upgrade().and_then(|log| flush(&log));
            self.finish(again, began.elapsed());
        }
    }

    /// Gives the turn back that [`Flusher::next`] took; the caller goes on with what is queued.
    fn finish(self: &Arc<Self>, again: Option<Weak<PartitionLog>>, took: Duration) {
        let mut queue = self.lock();
        queue.flush_time = (queue.flush_time * (AVERAGE_OVER - 1) + took) / AVERAGE_OVER;
        if let Some(log) = again.filter(|_| !queue.stopped) {
            queue.pending.push_back(log);
        }
        // The first is for this thread, whose own turn counts still.
        if queue.pending.len() > 1 {
            self.put_to_work(&mut queue);
        }
        queue.running -= 1;
    }

    fn next(&self) -> Option<Weak<PartitionLog>> {
        let mut queue = self.lock();
        loop {
            if queue.has_turn(self.processors)
                && let Some(log) = queue.pending.pop_front()
            {
                queue.running += 1;
                return Some(log);
            }
            if queue.stopped {
                return None;
            }
            queue.waiting += 1;
            queue = self
                .arrived
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.waiting -= 1;
        }
    }

    /// Flushes what is queued, then ends the threads and waits for them.
    pub(crate) fn stop(&self) {
        let threads = {
            let mut queue = self.lock();
            queue.stopped = true;
            mem::take(&mut queue.threads)
        };
        self.arrived.notify_all();
        for thread in threads {
            if thread.thread().id() != thread::current().id() {
                // A thread that panicked has taken its partition offline already.
                let _ = thread.join();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Flushes a partition; returns it when it must be flushed again.
fn flush(log: &Arc<PartitionLog>) -> Option<Weak<PartitionLog>> {
    log.flush_ticket().start();
    // A failure took the partition offline, which its observer was told; so does the lock that a panic
    // poisons.
    let _ = panic::catch_unwind(AssertUnwindSafe(|| log.flush()));
    log.flush_ticket().finish().then(|| log.weak())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_flushes_go_on_beside_each_other_and_fast_ones_do_not() {
        let mut queue = Queue {
            running: 2,
            ..Queue::default()
        };
        assert!(!queue.has_turn(2));
        queue.flush_time = Duration::from_micros(240);
        assert!(!queue.has_turn(2));
        queue.flush_time = Duration::from_micros(750);
        assert!(queue.has_turn(2));
        queue.running = 8;
        assert!(!queue.has_turn(2));
        queue.stopped = true;
        assert!(queue.has_turn(2));
    }

    #[test]
    fn a_partition_is_queued_at_most_once() {
        let ticket = FlushTicket::default();
        assert!(ticket.request());
        assert!(!ticket.request());
        ticket.start();
        assert!(!ticket.request(), "joins the next flush");
        assert!(!ticket.request());
        assert!(ticket.finish(), "queued again once");
        ticket.start();
        assert!(!ticket.finish());
        assert!(ticket.request());
    }
}
