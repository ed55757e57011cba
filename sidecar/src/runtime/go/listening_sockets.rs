//! Where a process listens for TCP: its socket inodes that the kernel lists in state LISTEN.
//!
//! Reads `/proc/PID/fd` and `/proc/PID/net/tcp{,6}` and connects to nothing. Called by [`super::pprof_probe`], and by the
//! recorder before it connects.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::process::{Process, ProcessTable};

/// The kernel lists listening sockets before all others (`tcp_seq_start`); after so many others in a row no more
/// listening ones come, and an app with 100,000 connections does not hold us up.
const OTHERS_IN_A_ROW: usize = 256;

/// Listening sockets of the whole network namespace: a pod has some ten, a node some hundred.
const LISTENERS: usize = 16_384;

/// A row is 150 bytes; this bounds one without a line end in a fixture or a future kernel.
const ROW_BYTES: u64 = 512;

/// Descriptors we look through. They are listed in ascending order and a program listens early in its life.
const DESCRIPTORS: usize = 65_536;

/// A listening socket of the network namespace.
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    address: SocketAddr,
    /// Of whoever made it.
    uid: u32,
}

/// True if the process listens where `address` leads to, as far as we may tell: without the right to list its descriptors, if
/// it may be the one that does ([`of_user`]).
pub(super) fn reach(table: &ProcessTable, process: &Process, address: SocketAddr) -> bool {
    let listening = of(table, process.id.pid).or_else(|_| of_user(table, process));
    listening.is_ok_and(|listening| {
        listening
            .into_iter()
            .any(|bound| dial_addresses(bound).contains(&address))
    })
}

/// Where to reach a listening socket from the same network namespace.
pub(super) fn dial_addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    let at = |ip: IpAddr| SocketAddr::new(ip, bound.port());
    match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![at(Ipv4Addr::LOCALHOST.into())],
        // Bound to every address, with IPv6 perhaps off on the loopback device.
        IpAddr::V6(ip) if ip.is_unspecified() => vec![at(Ipv6Addr::LOCALHOST.into()), at(Ipv4Addr::LOCALHOST.into())],
        // A link-local address means nothing without its interface, which the kernel's table does not name.
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Vec::new(),
        ip => vec![at(ip)],
    }
}

/// Local addresses on which processes of the same user listen, or root, who may have opened a socket for this one.
///
/// # Errors
/// `ENOENT` when the process is gone.
pub(super) fn of_user(table: &ProcessTable, process: &Process) -> io::Result<Vec<SocketAddr>> {
    let users = [process.credentials.uid, 0];
    let listeners = of_namespace(table, process.id.pid)?.into_values();
    let theirs = listeners.filter(|listener| users.contains(&listener.uid));
    Ok(theirs.map(|listener| listener.address).collect())
}

/// Local addresses on which the process listens, each once, by port.
///
/// # Errors
/// `EACCES` without the right to list the descriptors of the process; `ENOENT` when it is gone.
pub(super) fn of(table: &ProcessTable, pid: i32) -> io::Result<Vec<SocketAddr>> {
    let listeners = of_namespace(table, pid)?;
    let held = held_by(&table.directory(pid), listeners)?;
    let mut addresses: Vec<SocketAddr> = held.into_iter().map(|listener| listener.address).collect();
    addresses.sort_by_key(|address| (address.port(), address.is_ipv6(), address.ip()));
    let mut seen = HashSet::new();
    addresses.retain(|address| seen.insert(*address));
    Ok(addresses)
}

/// Those of `sockets`, by inode, that the process of this folder of `/proc` holds.
///
/// # Errors
/// `EACCES` without the right to list the descriptors of the process; `ENOENT` when it is gone.
pub(super) fn held_by<T>(directory: &Path, mut sockets: HashMap<u64, T>) -> io::Result<Vec<T>> {
    let mut held = Vec::new();
    for entry in std::fs::read_dir(directory.join("fd"))?.take(DESCRIPTORS) {
        match std::fs::read_link(entry?.path()) {
            Ok(link) => held.extend(socket_inode(&link).and_then(|inode| sockets.remove(&inode))),
            // Listing may be allowed where reading is not (CAP_DAC_READ_SEARCH without the right to ptrace).
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            // Descriptors close while we look.
            Err(_) => {}
        }
        if sockets.is_empty() {
            break;
        }
    }
    Ok(held)
}

fn socket_inode(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Those of the whole network namespace, by inode.
fn of_namespace(table: &ProcessTable, pid: i32) -> io::Result<HashMap<u64, Listener>> {
    let directory = table.directory(pid);
    let mut found = listeners(&directory.join("net/tcp"))?;
    // Without IPv6 there is no second table.
    found.extend(listeners(&directory.join("net/tcp6")).unwrap_or_default());
    Ok(found)
}

fn listeners(path: &Path) -> io::Result<HashMap<u64, Listener>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut found = HashMap::new();
    let mut others = 0;
    let mut row = String::new();
    while found.len() < LISTENERS && others < OTHERS_IN_A_ROW {
        row.clear();
        if (&mut reader).take(ROW_BYTES).read_line(&mut row)? == 0 {
            break;
        }
        match parse_row(&row) {
            Some((inode, listener)) => {
                others = 0;
                found.insert(inode, listener);
            }
            None => others += 1,
        }
    }
    Ok(found)
}

/// Inode, local address and user of a row in state LISTEN (`Documentation/networking/proc_net_tcp.rst`).
fn parse_row(row: &str) -> Option<(u64, Listener)> {
    const LISTEN: &str = "0A";
    let mut fields = row.split_ascii_whitespace();
    let (_slot, local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if state != LISTEN {
        return None;
    }
    // Queues, timer and retransmits come before the user, the timeout after it.
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    let address = parse_address(local)?;
    Some((inode, Listener { address, uid }))
}

/// `0100007F:1F90`: words of four bytes as the CPU reads them, then the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |index: usize| -> Option<[u8; 4]> {
        Some(
            u32::from_str_radix(address.get(index * 8..index * 8 + 8)?, 16)
                .ok()?
                .to_ne_bytes(),
        )
    };
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for index in 0..4 {
                octets[index * 4..index * 4 + 4].copy_from_slice(&word(index)?);
            }
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::{of, of_user, parse_address, parse_row, reach};
    use crate::process::{Process, ProcessTable};

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn row(local: &str, state: &str, inode: u64) -> String {
        format!(
            "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 0 100 0 0 10 0\n"
        )
    }

    fn fixture(tcp: &str, tcp6: Option<&str>, inodes: &[u64]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("7");
        std::fs::create_dir_all(process.join("net")).unwrap();
        std::fs::create_dir_all(process.join("fd")).unwrap();
        std::fs::write(process.join("net/tcp"), format!("{HEADER}{tcp}")).unwrap();
        if let Some(tcp6) = tcp6 {
            std::fs::write(process.join("net/tcp6"), format!("{HEADER}{tcp6}")).unwrap();
        }
        std::os::unix::fs::symlink("/dev/null", process.join("fd/0")).unwrap();
        for (descriptor, inode) in inodes.iter().enumerate() {
            std::os::unix::fs::symlink(
                format!("socket:[{inode}]"),
                process.join(format!("fd/{}", descriptor + 3)),
            )
            .unwrap();
        }
        proc
    }

    fn addresses(proc: &tempfile::TempDir) -> Vec<String> {
        of(&ProcessTable::at(proc.path()), 7)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn only_listening_sockets_of_the_process_count() {
        let tcp = row("0100007F:17AC", "0A", 10) + &row("00000000:1F90", "0A", 11) + &row("0100007F:1F91", "01", 12);
        let proc = fixture(&tcp, None, &[10, 12, 99]);
        assert_eq!(addresses(&proc), ["127.0.0.1:6060"]);
    }

    #[test]
    fn both_families_are_read_and_ordered_by_port() {
        let any = "00000000000000000000000000000000:1F90";
        let proc = fixture(&row("0100007F:2328", "0A", 1), Some(&row(any, "0A", 2)), &[1, 2]);
        assert_eq!(addresses(&proc), ["[::]:8080", "127.0.0.1:9000"]);
    }

    #[test]
    fn a_process_is_reached_where_it_listens_itself_and_nowhere_else() {
        // Of its user 1000, as all of the fixture; the second and third are not its own.
        let tcp = row("00000000:17AC", "0A", 10) + &row("0100007F:1F90", "0A", 11);
        let proc = fixture(&tcp, None, &[10]);
        let table = ProcessTable::at(proc.path());
        let reaches = |uid, address: &str| {
            let mut process = Process::example(7);
            process.credentials.uid = uid;
            reach(&table, &process, address.parse().unwrap())
        };
        assert!(reaches(1000, "127.0.0.1:6060"));
        for elsewhere in ["127.0.0.1:8080", "[::1]:6060", "127.0.0.1:6061", "192.0.2.1:6060"] {
            assert!(!reaches(1000, elsewhere), "{elsewhere}");
        }
        // Without the right to list its descriptors, we still see which user made the socket.
        std::fs::remove_dir_all(proc.path().join("7/fd")).unwrap();
        assert!(reaches(1000, "127.0.0.1:8080") && !reaches(1001, "127.0.0.1:8080"));
        assert!(!reaches(1000, "192.0.2.1:8080"));
    }

    #[test]
    fn root_may_have_opened_a_socket_for_another_user() {
        let opened_by_root = row("0100007F:17AC", "0A", 10).replace(" 1000 ", " 0 ");
        let opened_by_other = row("0100007F:1F90", "0A", 11).replace(" 1000 ", " 1001 ");
        let proc = fixture(&(opened_by_root + &opened_by_other), None, &[]);
        let found = of_user(&ProcessTable::at(proc.path()), &Process::example(7)).unwrap();
        assert_eq!(found, ["127.0.0.1:6060".parse().unwrap()]);
    }

    #[test]
    fn an_inherited_socket_in_two_descriptors_is_one() {
        let proc = fixture(&row("0100007F:17AC", "0A", 10), None, &[10, 10]);
        assert_eq!(addresses(&proc), ["127.0.0.1:6060"]);
    }

    #[test]
    fn rows_behind_many_connections_are_not_waited_for() {
        let connections = row("0100007F:1F91", "01", 12).repeat(300);
        let proc = fixture(&(connections + &row("0100007F:17AC", "0A", 10)), None, &[10]);
        assert_eq!(addresses(&proc), [""; 0]);
    }

    #[test]
    fn addresses_are_words_in_host_order() {
        assert_eq!(parse_address("0100007F:17AC").unwrap().to_string(), "127.0.0.1:6060");
        assert_eq!(
            parse_address("00000000000000000000000001000000:0050")
                .unwrap()
                .to_string(),
            "[::1]:80"
        );
        let mapped = "0000000000000000FFFF00000100007F:0050";
        assert_eq!(parse_address(mapped).unwrap().to_string(), "127.0.0.1:80");
    }

    #[test]
    fn a_cut_row_is_none() {
        let row = row("0100007F:17AC", "0A", 10);
        let inode_ends = row.find(" 10 1 0").unwrap() + 2;
        for end in 0..inode_ends {
            assert_eq!(parse_row(&row[..end]), None, "{}", &row[..end]);
        }
        for hostile in ["", ":", "zz:1", "0100007F", "+100007F:17AC0", "01\u{e9}0007F:17AC"] {
            assert_eq!(parse_address(hostile), None, "{hostile}");
        }
    }
}
