//! [`StickyPartition`]: where records without a key go.
//!
//! All go to one partition until that has been given a batch's worth of bytes, then to another
//! chosen at random: few large batches instead of many small ones, and even over time. Partitions
//! with longer queues are chosen less often, so that a slow one does not collect what is sent.
//! Sources: KIP-480, KIP-794.

/// The partition of records without a key.
#[derive(Debug, Default)]
pub(crate) struct StickyPartition {
    partition: usize,
    bytes_left: usize,
}

impl StickyPartition {
    /// The partition of a record of `bytes`. When it is time for another one, `queued_bytes` (by
    /// partition, not empty) and `random` (uniform in 0 to 1, without 1) decide which.
    pub(crate) fn next(
        &mut self,
        bytes: usize,
        batch_bytes: usize,
        choice: impl FnOnce() -> (Vec<usize>, f64),
    ) -> usize {
        if self.bytes_left == 0 {
            let (queued_bytes, random) = choice();
            self.partition = weighted(&queued_bytes, random);
            self.bytes_left = batch_bytes;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.partition
    }
}

/// Picks a partition with a weight of the longest queue plus one, minus its own queue.
fn weighted(queued_bytes: &[usize], random: f64) -> usize {
    let longest = queued_bytes.iter().max().copied().unwrap_or(0);
    let weights = || {
        queued_bytes
            .iter()
            .map(|queued| (longest - queued + 1) as f64)
    };
    let mut left = random * weights().sum::<f64>();
    for (partition, weight) in weights().enumerate() {
        if left < weight {
            return partition;
        }
        left -= weight;
    }
    queued_bytes.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_stay_until_a_batch_is_full() {
        let mut sticky = StickyPartition::default();
        let mut choices = [0.9, 0.1].into_iter();
        let mut next = |sticky: &mut StickyPartition| {
            sticky.next(40, 100, || {
                (vec![0, 0], choices.next().expect("two choices"))
            })
        };
        let partitions: Vec<_> = (0..6).map(|_| next(&mut sticky)).collect();
        assert_eq!(partitions, [1, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn long_queues_are_chosen_less_often() {
        let chosen = |queued: &[usize]| {
            let mut counts = vec![0; queued.len()];
            (0..1000).for_each(|step| counts[weighted(queued, f64::from(step) / 1000.0)] += 1);
            counts
        };
        assert_eq!(chosen(&[5, 5]), [500, 500]);
        assert_eq!(chosen(&[0, 9]), [910, 90]);
        assert_eq!(chosen(&[0]), [1000]);
    }
}
