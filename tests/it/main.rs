//! Integration tests with the real binaries; see the modules.

mod kill_loop;
mod lifecycle;
