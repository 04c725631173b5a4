//! [`Throughput`]: how much went through the broker in each of the last seconds.
//!
//! One look at four counters a second, whether or not somebody asks, so that who opens the first page
//! sees what happened just before.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    partition::{Traffic, TrafficCounts},
    shutdown::Shutdown,
};

/// Time between two samples.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Samples that are kept: three minutes.
pub const SAMPLES_MAX: usize = 180;

/// Samples of the broker's traffic.
#[derive(Debug)]
pub struct Throughput {
    traffic: Arc<Traffic>,
    samples: Mutex<VecDeque<TrafficCounts>>,
}

impl Throughput {
    /// No samples yet.
    #[must_use]
    pub fn new(traffic: Arc<Traffic>) -> Self {
        Self {
            traffic,
            samples: Mutex::default(),
        }
    }

    /// Takes samples until the shutdown begins.
    ///
    /// # Cancel safety
    /// Safe: the samples stay.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last_at, mut last) = (ticks.tick().await, self.traffic.counts());
        loop {
            tokio::select! {
                () = shutdown.begun() => return,
                _ = ticks.tick() => {}
            }
            let (now, counts) = (Instant::now(), self.traffic.counts());
            self.keep(counts.rate_since(&last, now.duration_since(last_at)));
            (last_at, last) = (now, counts);
        }
    }

    /// What went through per second, the newest sample last.
    #[must_use]
    pub fn samples(&self) -> Vec<TrafficCounts> {
        self.lock().iter().copied().collect()
    }

    fn keep(&self, sample: TrafficCounts) {
        let mut samples = self.lock();
        if samples.len() >= SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<TrafficCounts>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_second_is_a_sample_and_the_oldest_go() {
        let traffic = Arc::<Traffic>::default();
        let throughput = Arc::new(Throughput::new(Arc::clone(&traffic)));
        let shutdown = Shutdown::new();
        let task = tokio::spawn(Arc::clone(&throughput).run(shutdown.clone()));
        tokio::time::advance(Duration::ZERO).await;
        for second in 1..=200 {
            traffic.produced(second, 0);
            tokio::time::sleep(INTERVAL).await;
        }
        let found = throughput.samples();
        let rates: Vec<_> = found.iter().map(|sample| sample.produced_records).collect();
        assert_eq!(rates, (21..=200).collect::<Vec<_>>());
        shutdown.begin(Duration::ZERO);
        task.await.expect("it ends");
    }
}
