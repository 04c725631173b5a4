//! [`recover_all`]: recovers many partitions on a bounded number of threads.

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{Recovered, RecoveryError, RecoveryInput, recover_partition};
use crate::io::LogIo;

/// One partition to recover.
#[derive(Debug, Clone)]
pub struct RecoveryJob {
    /// The partition's directory.
    pub dir: PathBuf,
    /// What is known of it.
    pub input: RecoveryInput,
}

/// Recovers every partition; results are in the order of the jobs.
///
/// # Panics
/// When recovery of a partition panics.
#[must_use]
pub fn recover_all(
    io: &dyn LogIo,
    jobs: &[RecoveryJob],
    threads_max: NonZeroUsize,
) -> Vec<Result<Recovered, RecoveryError>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(jobs.len()));
    thread::scope(|scope| {
        for _ in 0..threads_max.get().min(jobs.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else {
                        return;
                    };
                    let result = recover_partition(io, &job.dir, &job.input);
                    results
                        .lock()
                        .expect("no thread panics while it holds this")
                        .push((index, result));
                }
            });
        }
    });
    let mut results = results
        .into_inner()
        .expect("no thread panics while it holds this");
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
