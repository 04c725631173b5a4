//! The machine between two loads: nothing is left to write, and the memory that comes is there.

use std::thread;

use anyhow::{Context as _, Result};
use memmap2::{Advice, MmapMut};

/// Memory that a load may fill with pages of files.
const MEMORY_BYTES: usize = 3 << 30;

/// What a load needs new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touches {
    /// It writes files.
    Disk,
    /// It reads what is in memory.
    Memory,
}

/// Waits until the disk has written everything. Where files are going to be written, their pages are taken from
/// the machine before: a virtual machine gives memory back to its host some seconds after the files in it were
/// deleted, and each page that it asks for again costs several times what writing to it does.
///
/// # Errors
/// There is not so much memory.
pub fn settle(touches: Touches) -> Result<()> {
    rustix::fs::sync();
    if touches == Touches::Memory {
        return Ok(());
    }
    let threads = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        let takes = (0..threads).map(|_| scope.spawn(|| take(MEMORY_BYTES / threads)));
        let takes: Vec<_> = takes.collect();
        takes
            .into_iter()
            .try_for_each(|take| take.join().expect("it does not panic"))
    })
}

/// Takes memory from the machine, and gives it back.
fn take(bytes: usize) -> Result<()> {
    let memory = MmapMut::map_anon(bytes)?;
    memory.advise(Advice::HugePage)?;
    memory
        .advise(Advice::PopulateWrite)
        .with_context(|| format!("no {MEMORY_BYTES} bytes of memory are free"))
}
