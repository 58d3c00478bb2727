//! Raw bindings to `dmtcp.h`: what a program that runs under DMTCP can ask it for.
//!
//! The bindings are made by bindgen from the header that is installed, and nothing is linked: DMTCP preloads its library into
//! the programs it starts, so `load` looks its functions up in the running process. Versions 3.0 to 4.2 (plugin interface
//! "3") and 5.0 ("4") differ in a few names; each function of the generated `Dmtcp` is a `Result` of its own, an error where this
//! process has none of that name.
//!
//! Without a header, or without libclang to read it, the crate builds nevertheless, and [`available`] says why there is
//! nothing to call.

use std::ffi::c_int;
use std::fmt;

#[cfg(dmtcp_header)]
mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        unsafe_code,
        non_camel_case_types,
        non_snake_case,
        non_upper_case_globals,
        unsafe_op_in_unsafe_fn,
        unnecessary_transmutes,
        dead_code,
        clippy::all,
        clippy::pedantic,
        clippy::expect_used,
        reason = "generated from C"
    )]
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

#[cfg(dmtcp_header)]
pub use bindings::*;

/// Why this build has no bindings; empty where it has.
const MISSING: &str = include!(concat!(env!("OUT_DIR"), "/missing.rs"));

/// DMTCP's functions can't be called here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(&'static str);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DMTCP's functions are not available: {}", self.0)
    }
}

impl std::error::Error for Unavailable {}

/// Whether this build has bindings.
///
/// # Errors
/// Says what was missing when it was built.
pub fn available() -> Result<(), Unavailable> {
    if MISSING.is_empty() { Ok(()) } else { Err(Unavailable(MISSING)) }
}

/// What programs ask for, in every version of DMTCP. None where this process does not have the function: it was not started
/// under DMTCP, or this build has no bindings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    /// 1 under DMTCP.
    pub is_enabled: Option<unsafe extern "C" fn() -> c_int>,
    /// Writes images of all processes; [`AFTER_CHECKPOINT`] or [`AFTER_RESTART`].
    pub checkpoint: Option<unsafe extern "C" fn() -> c_int>,
    /// 1 if no checkpoint begins until [`enable_ckpt`](Calls::enable_ckpt), which the same thread calls.
    pub disable_ckpt: Option<unsafe extern "C" fn() -> c_int>,
    /// 1 if checkpoints may begin again.
    pub enable_ckpt: Option<unsafe extern "C" fn() -> c_int>,
}

/// `dmtcp_checkpoint` answers so in the process that goes on.
pub const AFTER_CHECKPOINT: c_int = 1;
/// `dmtcp_checkpoint` answers so in a process that was restarted from the image.
pub const AFTER_RESTART: c_int = 2;

/// The plugin interface of the header that this was built with: `"3"` or `"4"`.
#[cfg(dmtcp_header)]
pub fn plugin_api() -> Option<&'static str> {
    bindings::DMTCP_PLUGIN_API_VERSION.to_str().ok()
}

/// The plugin interface of the header that this was built with: none.
#[cfg(not(dmtcp_header))]
pub fn plugin_api() -> Option<&'static str> {
    None
}

/// Looks DMTCP's functions up in this process.
///
/// # Errors
/// Where this build has no bindings. That the process does not run under DMTCP is none: then every function of the answer is
/// an error of its own.
#[cfg(dmtcp_header)]
#[allow(unsafe_code, reason = "what is looked up has the types that the header of DMTCP gives it")]
pub fn load() -> Result<Dmtcp, Unavailable> {
    let process = libloading::os::unix::Library::this();
    // SAFETY: no library is loaded, so no initialiser runs; and symbols with these names in a process are DMTCP's.
    unsafe { Dmtcp::from_library(process) }
        .map_err(|_| Unavailable("the process's own symbols can't be read"))
}

/// The functions that every version has, looked up once.
///
/// # Errors
/// Where this build has no bindings.
#[cfg(dmtcp_header)]
pub fn calls() -> Result<Calls, Unavailable> {
    static FOUND: std::sync::OnceLock<Result<(Dmtcp, Calls), Unavailable>> = std::sync::OnceLock::new();
    // What was looked up is kept open: DMTCP loses a checkpoint that waits while a library is opened or closed.
    let found = FOUND.get_or_init(|| {
        let found = load()?;
        let calls = Calls {
            is_enabled: found.dmtcp_is_enabled.as_ref().ok().copied(),
            checkpoint: found.dmtcp_checkpoint.as_ref().ok().copied(),
            disable_ckpt: found.dmtcp_disable_ckpt.as_ref().ok().copied(),
            enable_ckpt: found.dmtcp_enable_ckpt.as_ref().ok().copied(),
        };
        Ok((found, calls))
    });
    found.as_ref().map(|(_, calls)| *calls).map_err(Clone::clone)
}

/// The functions that every version has.
///
/// # Errors
/// Always, since this build has no bindings.
#[cfg(not(dmtcp_header))]
pub fn calls() -> Result<Calls, Unavailable> {
    available().map(|()| Calls::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_outside_dmtcp_has_none_of_its_functions() {
        match calls() {
            Ok(calls) => {
                assert!(calls.is_enabled.is_none() && calls.checkpoint.is_none(), "{calls:?}");
                assert!(plugin_api().is_some_and(|api| ["3", "4"].contains(&api)), "{:?}", plugin_api());
            }
            Err(why) => {
                assert!(plugin_api().is_none());
                assert!(why.to_string().starts_with("DMTCP's functions are not available: "), "{why}");
            }
        }
    }
}
