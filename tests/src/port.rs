//! Ports for daemons under test.

use std::{
    collections::HashSet,
    io,
    net::{Ipv4Addr, TcpListener},
    sync::{LazyLock, Mutex},
};

static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A loopback port that nobody listens on and that this process did not give out before. Another
/// process may take it meanwhile; a daemon keeps its port over restarts, so it must be fixed.
///
/// # Errors
/// When the system has no free port.
///
/// # Panics
/// Never in practice: only if another thread panicked here.
pub fn free() -> io::Result<u16> {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        if GIVEN.lock().expect("no panic inside").insert(port) {
            return Ok(port);
        }
    }
}
