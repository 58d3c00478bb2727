//! What a program, and DMTCP around it, finds in its environment: nothing of the function's own.

use std::collections::BTreeMap;
use std::path::Path;

use super::Declared;
use super::tools::FAILED;

/// Says how glibc behaves in a process.
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Read from the function's own environment.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];

/// The environment of a program that works in `work`.
pub(super) fn of(declared: &Declared, work: &Path) -> Vec<(String, String)> {
    let inherited =
        INHERITED.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let mut env: BTreeMap<String, String> = inherited.collect();
    env.entry("HOME".to_owned()).or_insert_with(|| work.to_string_lossy().into_owned());
    env.extend(declared.program.env.clone());
    let reserved = std::fs::read_to_string("/proc/meminfo").is_ok_and(|text| reserves_huge_pages(&text));
    let tunables = tunables(env.get(TUNABLES).map(String::as_str), reserved);
    env.insert(TUNABLES.to_owned(), tunables);
    env.insert("DMTCP_FAIL_RC".to_owned(), FAILED.to_string());
    env.into_iter().collect()
}

/// What a program was declared with, and what it needs to be restarted:
///
/// - After a restart the kernel would write to where an older thread had its restartable sequences.
/// - A restarted process has its break, the end of its data, where another program's random layout put it. If that is beyond the saved one,
///   the kernel answers a request for more memory with a break that looks granted, and `malloc` writes where nothing is. One that is
///   to try huge pages leaves the break alone; where none are reserved it gets ordinary pages. Where some are, it would get
///   them, which a container may not be allowed to touch.
fn tunables(declared: Option<&str>, reserves_huge_pages: bool) -> String {
    let without_break = (!reserves_huge_pages).then_some("glibc.malloc.hugetlb=2");
    let needed = [declared, Some("glibc.pthread.rseq=0"), without_break];
    needed.into_iter().flatten().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(":")
}

/// Whether the system has huge pages set aside, by its `/proc/meminfo`.
fn reserves_huge_pages(meminfo: &str) -> bool {
    let mut lines = meminfo.lines();
    let total = lines.find_map(|line| line.strip_prefix("HugePages_Total:"));
    total.is_some_and(|total| total.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_declared_for_glibc_is_kept() {
        assert_eq!(tunables(None, false), "glibc.pthread.rseq=0:glibc.malloc.hugetlb=2");
        assert_eq!(tunables(Some("glibc.malloc.check=3"), true), "glibc.malloc.check=3:glibc.pthread.rseq=0");
    }

    #[test]
    fn huge_pages_are_left_alone_where_some_are_reserved() {
        assert!(!reserves_huge_pages("HugePages_Total:       0\nHugePages_Free:        0\n"));
        assert!(reserves_huge_pages("MemTotal: 1 kB\nHugePages_Total:      16\n"));
        assert!(!reserves_huge_pages(""));
    }
}
