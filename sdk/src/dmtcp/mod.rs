//! For a program that runs as an opaque program: what it can ask DMTCP, which checkpoints it from outside.
//!
//! A program needs none of this to be checkpointed. It helps where a moment is a bad one, or a particularly good one:
//!
//! ```no_run
//! use limitless_faas::dmtcp::{Moment, checkpoint_now, hold_checkpoints};
//!
//! # fn ask_a_server() {}
//! {
//!     // An open connection can't be restored elsewhere.
//!     let _hold = hold_checkpoints()?;
//!     ask_a_server();
//! }
//! if checkpoint_now()? == Moment::Restarted {
//!     println!("this process was restarted from its image");
//! }
//! # Ok::<(), limitless_faas::dmtcp::DmtcpError>(())
//! ```
//!
//! Outside DMTCP, as in a unit test, [`hold_checkpoints`] holds nothing and [`checkpoint_now`] says that there is nothing to do.

use std::ffi::c_int;
use std::marker::PhantomData;

use dmtcp_sys::{AFTER_CHECKPOINT, AFTER_RESTART, Calls};

/// Why DMTCP did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DmtcpError {
    /// It runs, and refused. Another try may succeed.
    #[error("DMTCP failed to {what}: it answered {answer}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Its own number.
        answer: i32,
    },
}

/// On which side of a checkpoint a program finds itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The image was written, and the process that wrote it goes on.
    Saved,
    /// This process was restarted from the image.
    Restarted,
    /// The process does not run under DMTCP: nothing was written.
    NotUnderDmtcp,
}

/// While this lives, no checkpoint of the process begins. It belongs to the thread that made it.
#[derive(Debug)]
#[must_use = "checkpoints are held while this value lives"]
pub struct Hold {
    is_held: bool,
    /// DMTCP's lock knows its thread.
    _of_thread: PhantomData<*const ()>,
}

/// Whether DMTCP runs this process and can checkpoint it.
///
/// False too in a build that found no header of DMTCP.
pub fn under_dmtcp() -> bool {
    call(|calls| calls.is_enabled) == Some(1)
}

/// Keeps checkpoints from beginning until the answer is dropped. Holds nest, and survive a suspension as all of the process does.
///
/// Keep them short: near the time limit the platform kills a process that can't be saved.
///
/// # Errors
/// [`DmtcpError::Refused`]; then nothing is held.
pub fn hold_checkpoints() -> Result<Hold, DmtcpError> {
    let is_held = under_dmtcp();
    match call(|calls| calls.disable_ckpt) {
        Some(answer) if is_held && answer <= 0 => {
            Err(DmtcpError::Refused { what: "hold checkpoints", answer })
        }
        _ => Ok(Hold { is_held, _of_thread: PhantomData }),
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.is_held {
            // Whoever holds the lock can give it back; there is nobody to tell if DMTCP thinks otherwise.
            let _ = call(|calls| calls.enable_ckpt);
        }
    }
}

/// Has an image of the whole process tree written, and waits for it. Returns twice: in the process that goes on, and again in
/// each that is restarted from the image.
///
/// # Errors
/// [`DmtcpError::Refused`] if no image was written; the program can go on.
pub fn checkpoint_now() -> Result<Moment, DmtcpError> {
    match call(|calls| calls.checkpoint) {
        None => Ok(Moment::NotUnderDmtcp),
        Some(AFTER_CHECKPOINT) => Ok(Moment::Saved),
        Some(AFTER_RESTART) => Ok(Moment::Restarted),
        Some(answer) => Err(DmtcpError::Refused { what: "checkpoint", answer }),
    }
}

/// Calls a function of DMTCP's, where this process has it.
#[allow(unsafe_code, reason = "DMTCP is a C library")]
fn call(which: impl FnOnce(Calls) -> Option<unsafe extern "C" fn() -> c_int>) -> Option<c_int> {
    let function = which(dmtcp_sys::calls().ok()?)?;
    // SAFETY: these functions take nothing, and may be called from any thread at any time.
    Some(unsafe { function() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_dmtcp_there_is_nothing_to_hold_and_nothing_to_do() {
        assert!(!under_dmtcp());
        drop(hold_checkpoints().unwrap());
        assert_eq!(checkpoint_now(), Ok(Moment::NotUnderDmtcp));
    }
}
