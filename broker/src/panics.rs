//! Panics: counted and logged with their place; what they take down is decided where they unwind to.

use std::{
    panic,
    sync::atomic::{AtomicU64, Ordering},
};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Panics of this process so far.
#[must_use]
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Counts and logs every panic from now on.
pub fn install_hook() {
    panic::set_hook(Box::new(|info| {
        COUNT.fetch_add(1, Ordering::Relaxed);
        let place = info.location().map(ToString::to_string);
        let message = info.payload_as_str().unwrap_or("not a text");
        let backtrace = std::backtrace::Backtrace::capture();
        let thread = std::thread::current();
        tracing::error!(
            place = place.unwrap_or_default(),
            thread = thread.name().unwrap_or_default(),
            panic = message,
            "a task panicked, this is a defect"
        );
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            for frame in backtrace.to_string().lines() {
                tracing::error!(frame = frame.trim(), "backtrace");
            }
        }
    }));
}
