//! Connections to other machines that a program has open. An image of one can't be restarted anywhere: the other end is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Established, in the kernel's table.
const ESTABLISHED: &str = "01";

/// One connection as the kernel tells it: own address, the other end's, and the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    own: String,
    other: String,
    inode: u64,
}

/// The other end of a connection that leads out of this family of processes, if there is one; `but_to` is the port of their coordinator.
pub(super) fn leading_out(pids: &[u32], but_to: u16) -> Option<String> {
    let first = pids.first()?;
    let sockets: BTreeSet<u64> = pids.iter().flat_map(|pid| sockets_of(*pid)).collect();
    let table = ["tcp", "tcp6"]
        .map(|name| fs::read_to_string(format!("/proc/{first}/net/{name}")).unwrap_or_default());
    let rows: Vec<Row> = table.iter().flat_map(|text| text.lines().filter_map(row)).collect();
    out_of(&rows, &sockets, but_to)
}

fn out_of(rows: &[Row], sockets: &BTreeSet<u64>, but_to: u16) -> Option<String> {
    let by_own: BTreeMap<&str, &Row> = rows.iter().map(|row| (row.own.as_str(), row)).collect();
    let is_within = |row: &Row| {
        by_own
            .get(row.other.as_str())
            .is_some_and(|back| back.other == row.own && sockets.contains(&back.inode))
    };
    let mut ours = rows.iter().filter(|row| sockets.contains(&row.inode));
    ours.find(|row| port(&row.other) != Some(but_to) && !is_within(row)).map(|row| shown(&row.other))
}

fn row(line: &str) -> Option<Row> {
    let mut words = line.split_whitespace().skip(1);
    let (own, other, state) = (words.next()?, words.next()?, words.next()?);
    let inode = words.nth(5)?.parse().ok()?;
    (state == ESTABLISHED).then(|| Row { own: own.to_owned(), other: other.to_owned(), inode })
}

fn sockets_of(pid: u32) -> Vec<u64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    open.filter_map(inode).collect()
}

fn port(address: &str) -> Option<u16> {
    u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok()
}

/// The kernel writes an address as one number of this machine's byte order, in hexadecimal.
fn shown(address: &str) -> String {
    let host = address.split(':').next().unwrap_or_default();
    let port = port(address).unwrap_or_default();
    match u32::from_str_radix(host, 16) {
        Ok(number) if host.len() == 8 => {
            let [a, b, c, d] = number.to_ne_bytes();
            format!("{a}.{b}.{c}.{d}:{port}")
        }
        _ => format!("port {port} of another machine"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
           0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
           1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 2 1\n\
           2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 3 1\n\
           3: 0200000A:C351 0808080A:01BB 01 00000000:00000000 00:00000000 00000000     0        0 4 1\n\
           4: 0100007F:C352 0100007F:1000 01 00000000:00000000 00:00000000 00000000     0        0 5 1\n";

    #[test]
    fn a_connection_within_the_family_and_to_the_coordinator_does_not_lead_out() {
        let rows: Vec<Row> = TABLE.lines().filter_map(row).collect();
        assert_eq!(rows.len(), 4);
        let out = |sockets: &[u64]| out_of(&rows, &sockets.iter().copied().collect(), 0x1000);
        assert_eq!(out(&[1, 2, 3]), None);
        assert_eq!(out(&[5]), None);
        assert_eq!(out(&[2]).as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(out(&[2, 3, 4]).as_deref(), Some("10.8.8.8:443"));
    }
}
