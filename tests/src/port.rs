//! Ports for daemons under test.

use std::{
    collections::VecDeque,
    env,
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    sync::{LazyLock, Mutex, PoisonError},
};

/// Below those that the system gives to connections of clients: one of these could have a daemon's port
/// while that restarts.
const PORTS: Range<u16> = 10_000..32_000;
/// Ports that this process keeps; beyond, those given out first may be given out again.
const KEPT_MAX: usize = 3_000;

/// Ports given out, each with the lock that tells other processes.
static GIVEN: LazyLock<Mutex<VecDeque<(u16, File)>>> = LazyLock::new(Mutex::default);

/// A loopback port that nobody listens on, and that no other process of these tests gives out. It stays
/// the caller's over restarts of a daemon.
///
/// # Errors
/// When no port is free, or the locks cannot be made.
pub fn free() -> io::Result<u16> {
    let locks = env::temp_dir().join("millstream-test-ports");
    fs::create_dir_all(&locks)?;
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in PORTS {
        let port = rand::random_range(PORTS);
        let lock = File::create(locks.join(port.to_string()))?;
        if lock.try_lock().is_err() || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            continue;
        }
        given.push_back((port, lock));
        if given.len() > KEPT_MAX {
            given.pop_front();
        }
        return Ok(port);
    }
    Err(io::Error::other("no port is free"))
}
