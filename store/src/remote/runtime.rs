//! The thread on which all traffic with stores runs.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle};

use crate::{BoxFuture, StoreError};

/// Runs on the traffic's own thread, also where the caller's runtime has no reactor, or is blocked meanwhile.
///
/// What was begun goes on if the caller no longer waits: a request that was sent can't be taken back.
pub(super) fn run<T: Send + 'static>(
    traffic: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> BoxFuture<'static, Result<T, StoreError>> {
    Box::pin(async move { handle()?.spawn(traffic).await.unwrap_or_else(|_| Err(interrupted())) })
}

/// Begins what nobody waits for here.
pub(super) fn spawn(traffic: impl Future<Output = ()> + Send + 'static) -> Result<(), StoreError> {
    handle().map(|handle| drop(handle.spawn(traffic)))
}

pub(super) fn interrupted() -> StoreError {
    StoreError::unknown_outcome("an operation of the store ended without an outcome")
}

fn handle() -> Result<&'static Handle, StoreError> {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    let failed = |error: std::io::Error| {
        StoreError::unknown_outcome(format!("failed to start the thread that speaks to the store: {error}"))
    };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let handle = runtime.handle().clone();
    let name = "limitless-store".to_owned();
    let run = move || runtime.block_on(std::future::pending::<()>());
    std::thread::Builder::new().name(name).spawn(run).map_err(failed)?;
    // Where two threads came at once one of the runtimes idles; nothing was sent on it.
    Ok(HANDLE.get_or_init(|| handle))
}
