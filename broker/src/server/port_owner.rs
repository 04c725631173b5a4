//! Who listens on a port, as far as `/proc` tells: for the message about a busy one.

use std::path::{Path, PathBuf};

use millstream_log::io::{DiskIo, LogIo, OpenMode};

/// Longest `/proc` file that is read.
const PROC_BYTES_MAX: usize = 4 << 20;

/// State number of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Name and id of the process that listens on the port; `None` where that cannot be seen, as for
/// processes of other users.
pub(super) fn find(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|path| read(Path::new(path)))
        .find_map(|table| listening_inode(&table, port).map(str::to_owned))?;
    let target = format!("socket:[{inode}]");
    let processes = DiskIo.list_dir(Path::new("/proc")).ok()?;
    let process = processes
        .into_iter()
        .map(|entry| entry.name)
        .filter(|name| name.to_string_lossy().parse::<u32>().is_ok())
        .find(|name| holds(&Path::new("/proc").join(name).join("fd"), &target))?;
    let command = read(&Path::new("/proc").join(&process).join("comm"))?;
    Some(format!("{} (pid {})", command.trim(), process.display()))
}

/// The inode of the socket that listens on the port.
fn listening_inode(table: &str, port: u16) -> Option<&str> {
    let suffix = format!(":{port:04X}");
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        let inode = fields.nth(5)?;
        (local.ends_with(&suffix) && state == LISTEN).then_some(inode)
    })
}

fn holds(descriptors: &Path, target: &str) -> bool {
    let entries = DiskIo.list_dir(descriptors).unwrap_or_default();
    entries.iter().any(|entry| {
        let link: PathBuf = descriptors.join(&entry.name);
        rustix::fs::readlink(&link, Vec::new())
            .is_ok_and(|found| found.as_bytes() == target.as_bytes())
    })
}

fn read(path: &Path) -> Option<String> {
    let file = DiskIo.open(path, OpenMode::Read).ok()?;
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    while bytes.len() < PROC_BYTES_MAX {
        match file.read_at(&mut part, bytes.len() as u64).ok()? {
            0 => break,
            found => bytes.extend_from_slice(part.get(..found)?),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_socket_is_found_by_port_and_state() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:23E8 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 111 1\n\
            1: 0100007F:23E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 222 1\n";
        assert_eq!(listening_inode(table, 0x23e8), Some("222"));
        assert_eq!(listening_inode(table, 0x23e9), None);
    }

    #[test]
    fn this_process_is_found_by_its_own_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let owner = find(port).expect("our own descriptors can be seen");
        assert!(
            owner.ends_with(&format!("(pid {})", std::process::id())),
            "{owner}"
        );
    }
}
