//! [`Sending`]: hands parsed records to the producer, and waits for their acknowledgements in a task of
//! its own.
//!
//! What is between the two is bounded: [`DELIVERIES_MAX`] deliveries, and the producer's
//! `buffer_memory`. Rows above a bad one, or before Ctrl-C, are sent and waited for; a record that is
//! refused for good, or not delivered in time, ends it at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use millstream::{Acknowledgement, Delivery, Durability, Error, Producer};
use tokio::{sync::mpsc, task::JoinError};

use super::{input::Parsed, patience::Patience, progress::Progress};
use crate::{
    failure::{Failure, Result},
    interrupts::Interrupts,
    output,
    quantity::Throughput,
};

/// Records sent whose acknowledgement has not been looked at.
const DELIVERIES_MAX: usize = 64 * 1024;

/// How safe what was delivered is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) records: u64,
    pub(super) durability: Durability,
    pub(super) replicas: u32,
}

/// What went wrong.
#[derive(Debug)]
pub(super) enum Failed {
    /// The input, or the command itself.
    Input(Failure),
    /// The broker refused a record, or it was not delivered in time.
    Delivery(Error),
}

/// What became of the records.
pub(super) struct Sent {
    /// What the producer took.
    pub(super) throughput: Throughput,
    pub(super) delivered: Delivered,
    pub(super) failure: Option<Failed>,
}

/// Sends what a reader finds.
pub(super) struct Sending {
    producer: Producer,
    progress: Progress,
    timeout: Duration,
    interrupts: Interrupts,
}

impl Sending {
    /// `timeout` is the producer's for a record.
    ///
    /// # Errors
    /// When the system does not deliver signals.
    pub(super) fn new(producer: Producer, progress: Progress, timeout: Duration) -> Result<Self> {
        Ok(Self {
            producer,
            progress,
            timeout,
            interrupts: Interrupts::listen()?,
        })
    }

    /// Sends all batches and waits until they are delivered, or something fails.
    pub(super) async fn run(mut self, batches: mpsc::Receiver<Result<Parsed>>) -> Sent {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let patience = Patience {
            producer: &self.producer,
            acknowledged: &acknowledged,
            timeout: self.timeout,
            bar: self.progress.bar(),
        };
        let (progress, interrupts) = (&mut self.progress, &mut self.interrupts);
        let counter = Arc::clone(&acknowledged);
        let work = send_all(&self.producer, batches, progress, interrupts, counter);
        let (delivered, failure) = patience.during(work).await;
        Sent {
            throughput: self.progress.finish(),
            delivered,
            failure,
        }
    }
}

async fn send_all(
    producer: &Producer,
    mut batches: mpsc::Receiver<Result<Parsed>>,
    progress: &mut Progress,
    interrupts: &mut Interrupts,
    acknowledged: Arc<AtomicU64>,
) -> (Delivered, Option<Failed>) {
    let (deliveries, waiting) = mpsc::channel(DELIVERIES_MAX);
    let mut waiter = tokio::spawn(wait_for(waiting, acknowledged));
    let sent = tokio::select! {
        sent = send_batches(producer, &mut batches, &deliveries, progress) => sent,
        // It ends before its channel does on the first refused record only.
        waited = &mut waiter => return joined(waited),
        () = interrupts.wait() => {
            output::talk("interrupted: what was read is still sent");
            Ok(())
        }
    };
    drop(deliveries);
    let waited = tokio::select! {
        waited = &mut waiter => waited,
        // Nothing more is coming, so nothing lingers.
        Err(_) = producer.flush() => waiter.await,
    };
    let (delivered, failure) = joined(waited);
    if let (Err(_), Some(Failed::Delivery(error))) = (&sent, &failure) {
        output::talk(&format!(
            "warning: what was read is not all delivered: {error}"
        ));
    }
    (delivered, sent.err().or(failure))
}

async fn send_batches(
    producer: &Producer,
    batches: &mut mpsc::Receiver<Result<Parsed>>,
    deliveries: &mpsc::Sender<Delivery>,
    progress: &mut Progress,
) -> Result<(), Failed> {
    while let Some(batch) = batches.recv().await {
        let batch = batch.map_err(Failed::Input)?;
        for record in batch.records {
            let delivery = producer.send(record).await.map_err(Failed::Delivery)?;
            progress.add_record();
            if deliveries.send(delivery).await.is_err() {
                // The waiter has ended with an error, which the caller is about to see.
                std::future::pending::<()>().await;
            }
        }
        progress.add_bytes(batch.bytes);
    }
    Ok(())
}

/// Waits for every delivery, or until the first that failed.
async fn wait_for(
    mut deliveries: mpsc::Receiver<Delivery>,
    acknowledged: Arc<AtomicU64>,
) -> (Delivered, Option<Failed>) {
    let mut delivered = Delivered::default();
    while let Some(delivery) = deliveries.recv().await {
        match delivery.await {
            Ok(acknowledgement) => {
                delivered.add(&acknowledgement);
                acknowledged.store(delivered.records, Ordering::Relaxed);
            }
            Err(error) => {
                delivered.add_answered(&mut deliveries);
                return (delivered, Some(Failed::Delivery(error)));
            }
        }
    }
    (delivered, None)
}

fn joined<T>(waited: Result<T, JoinError>) -> T {
    waited.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

impl Default for Delivered {
    fn default() -> Self {
        Self {
            records: 0,
            durability: Durability::Unknown,
            replicas: 0,
        }
    }
}

impl Delivered {
    fn add(&mut self, acknowledgement: &Acknowledgement) {
        self.records += 1;
        self.durability = acknowledgement.durability;
        self.replicas = acknowledgement.replicas;
    }

    /// Counts those that are acknowledged already, and waits for no other.
    fn add_answered(&mut self, deliveries: &mut mpsc::Receiver<Delivery>) {
        while let Ok(delivery) = deliveries.try_recv() {
            if let Some(Ok(acknowledgement)) = delivery.now_or_never() {
                self.add(&acknowledgement);
            }
        }
    }
}
