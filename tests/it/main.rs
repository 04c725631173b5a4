//! Integration tests with the real binaries; see the modules.

mod lifecycle;
