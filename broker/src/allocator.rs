//! What the system's allocator may keep of memory that was freed.
//!
//! By itself glibc makes up to eight arenas per processor, and once a large buffer was freed each of them keeps
//! up to twice as much: threads that decode batches or wait for the disk, of which there are dozens, would hold
//! on to many times what is in use. Here an arena is kept per processor, and large buffers are mapped by themselves
//! and given back at once.
#![allow(unsafe_code)]

/// Buffers from this size on are mapped by themselves: several times a usual batch, which shall not cost a call
/// of the system.
const MAPPED_BYTES_MIN: i32 = 4 << 20;
/// What an arena keeps at its end.
const KEPT_BYTES_MAX: i32 = 8 << 20;

/// Bounds what is kept. Before any other thread is started; without effect where the allocator is not glibc's.
pub fn bound() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::{num::NonZero, thread};

        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let arenas = i32::try_from(processors.max(2)).unwrap_or(i32::MAX);
        for (parameter, value) in [
            (libc::M_ARENA_MAX, arenas),
            (libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN),
            (libc::M_TRIM_THRESHOLD, KEPT_BYTES_MAX),
        ] {
            // SAFETY: mallopt takes two numbers by value, changes the allocator's own settings under its
            // lock, and refuses a parameter that it does not know.
            unsafe { libc::mallopt(parameter, value) };
        }
    }
}
