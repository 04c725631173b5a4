//! Integration tests with the real binaries; see the modules.

mod flights;
mod hostile_names;
mod kill_loop;
mod lifecycle;
mod retry;
mod streams;
