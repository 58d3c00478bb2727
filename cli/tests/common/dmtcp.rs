//! Whether DMTCP is on this machine.

#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::path::PathBuf;

/// True where it is. Where it is not, says that the test is skipped; or fails, where that was asked for.
pub fn is_installed() -> bool {
    let given = std::env::var_os("DMTCP_ROOT").map(|root| PathBuf::from(root).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/bin", "/opt/dmtcp/bin"].map(PathBuf::from);
    let mut places = given.into_iter().chain(std::env::split_paths(&path)).chain(usual);
    let is_here = places.any(|place| place.join("dmtcp_launch").is_file());
    assert!(is_here || std::env::var_os("LIMITLESS_REQUIRE_DMTCP").is_none(), "DMTCP is not installed");
    if !is_here {
        println!("skipped: DMTCP is not installed (set DMTCP_ROOT to where it is)");
    }
    is_here
}
