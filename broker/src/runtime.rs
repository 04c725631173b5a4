//! The two runtimes: `data` for produce and fetch, `control` for everything that must answer even
//! when the disk does not (HTTP, admin calls, signals, metadata).

use std::{io, num::NonZero, thread, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use crate::config::Config;

/// Stack of a thread: twice what the deepest path takes in an unoptimised build.
const STACK_BYTES: usize = 1 << 20;

/// How long a thread that waited for the disk stays for more of that.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Threads that wait for the disk on behalf of admin calls at most.
const CONTROL_BLOCKING_THREADS_MAX: usize = 8;

/// Niceness of a thread in the background: it gets about a tenth of a processor that others want too, so
/// that it gets on.
const BACKGROUND_NICENESS: i32 = 10;

/// Builds the runtime of produce and fetch.
///
/// # Errors
/// When the system starts no thread.
pub fn data(config: &Config) -> io::Result<Runtime> {
    let threads = match config.runtime.data_threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        threads => usize::from(threads),
    };
    Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(usize::from(config.runtime.blocking_threads_max))
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .thread_name("data")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
}

/// Builds the runtime of everything else, with a worker of its own.
///
/// # Errors
/// When the system starts no thread.
pub fn control() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(CONTROL_BLOCKING_THREADS_MAX)
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .thread_name("control")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
}

/// Runs work that may keep a processor busy for minutes on a thread of its own, which gives way to all
/// others.
///
/// # Errors
/// When the system starts no thread, or the work panics.
///
/// # Cancel safety
/// The work goes on to its end, its result is lost.
pub async fn in_background<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // Of this thread alone, on Linux; where it is forbidden the work is merely less polite.
            let _ = rustix::process::setpriority_process(None, BACKGROUND_NICENESS);
            let _ = done.send(work());
        })?;
    result
        .await
        .map_err(|_| io::Error::other("its thread panicked"))
}
