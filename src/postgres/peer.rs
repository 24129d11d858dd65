//! The address that a child's TCP connection goes to, as the kernel knows it.
//!
//! A host name may stand for several servers, and libpq tells the name only. Read from `/proc`; where it can't be told, nothing is
//! pinned. `session` calls it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// State ESTABLISHED in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// The remote address of the child's one established connection to `port`; `None` where there is none or more than one.
pub(super) fn address(pid: u32, port: u16) -> Option<IpAddr> {
    let sockets = sockets(pid)?;
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let rows = text.lines().skip(1).filter_map(row);
        found.extend(rows.filter(|(_, to, inode)| *to == port && sockets.contains(inode)).map(|(address, _, _)| address));
    }
    match found.as_slice() {
        [IpAddr::V6(address)] if address.is_unicast_link_local() => None, // useless without its interface
        [address] => Some(address.to_canonical()),
        _ => None,
    }
}

/// The inodes of a process's sockets.
fn sockets(pid: u32) -> Option<Vec<u64>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let inode = |link: std::path::PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    Some(links.filter_map(inode).collect())
}

/// Remote address, remote port and inode of an established row of `/proc/net/tcp` or `tcp6`.
fn row(line: &str) -> Option<(IpAddr, u16, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != ESTABLISHED {
        return None;
    }
    let (address, port) = fields.get(2)?.split_once(':')?;
    // The kernel prints each 32-bit word in its own byte order.
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?))
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?, fields.get(9)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn rows_of_both_families_are_read() {
        let four = "   1: 0100007F:9C40 0200000A:17DF 01 00000000:00000000 00:00000000 00000000   101        0 26819 1 0000 100";
        assert_eq!(row(four), Some(("10.0.0.2".parse().unwrap(), 6111, 26819)));
        let six = "   0: 00000000000000000000000001000000:9C40 00000000000000000000000001000000:1538 01 0:0 00:0 0 0 0 77 1 0";
        assert_eq!(row(six), Some(("::1".parse().unwrap(), 5432, 77)));
        assert_eq!(row(&four.replace(" 01 ", " 0A ")), None);
    }

    #[test]
    fn the_address_of_an_open_connection_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(address(std::process::id(), port), None);
        let _client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(address(std::process::id(), port), Some("127.0.0.1".parse().unwrap()));
    }
}
