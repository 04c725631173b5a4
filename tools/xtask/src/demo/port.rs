//! Who listens on a port of this machine, from `/proc`.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
};

/// State `LISTEN` in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The process that holds a port.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    pub(crate) name: String,
}

/// Whether nobody listens on the port of the loopback address.
pub(crate) fn is_free(port: u16) -> bool {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::AddrInUse,
    }
}

/// The process that listens on the port; `None` when it belongs to another user.
pub(crate) fn owner(port: u16) -> Option<Owner> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|table| listening_inode(&table, port))?;
    let link = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?;
    for process in processes.flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse() else {
            continue;
        };
        if holds(pid, &link) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let name = name.trim().to_owned();
            return Some(Owner { pid, name });
        }
    }
    None
}

fn holds(pid: u32, link: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|target| target.to_string_lossy() == link)
}

/// The socket's inode in a table like `/proc/net/tcp`.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let local = columns.nth(1)?;
        let state = columns.nth(1)?;
        let inode = columns.nth(5)?;
        let is_it = local.ends_with(&suffix) && state == LISTEN;
        if is_it { inode.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_port_is_found() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        assert!(!is_free(port));
        let owner = owner(port).expect("found");
        assert_eq!(owner.pid, std::process::id());
        assert!(owner.name.starts_with("xtask"), "{}", owner.name);
    }

    #[test]
    fn only_listeners_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:23E8 0100007F:1234 01 00000000:00000000 00:00000000 00000000  0 0 11 1\n\
             1: 0100007F:23E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 22 1\n";
        assert_eq!(listening_inode(table, 9192), Some(22));
        assert_eq!(listening_inode(table, 9292), None);
    }
}
