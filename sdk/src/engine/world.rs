//! What a function process takes from its surroundings: the time, chance, threads, and who carries its messages.
//!
//! Everything else that it learns comes from the store and from its calls. The simulation has a world of its own, in which
//! all of that follows from a seed.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use limitless_faas_core::{ExecutionId, Failure};
use limitless_faas_store::BoxFuture;
use tokio::runtime::{Handle, Runtime};

use crate::runtime::control::Control;
use crate::runtime::outgoing::{Outgoing, Successor};
use crate::runtime::turns::{Turns, Work};

/// Something to wait for; its result is put where the waiting side finds it.
pub(crate) type Waiting<'a> = Pin<&'a mut dyn Future<Output = ()>>;

/// See the [module](self).
pub(crate) trait World: Debug + Send + Sync {
    /// Microseconds since 1970. Runs on while the process is frozen.
    fn now_us(&self) -> u64;

    /// Fills `bytes` with chance, for names that nobody else may draw.
    fn fill(&self, bytes: &mut [u8]);

    /// How much memory the process holds, where that can be told.
    fn memory_bytes(&self) -> Option<u64>;

    /// Computes on a thread that may take its time.
    fn spawn(&self, work: Work);

    /// How such a thread waits, with a runtime that is nobody else's. Whatever else was begun on it ends with this.
    ///
    /// # Errors
    /// Where there can be no runtime.
    fn waits(&self) -> io::Result<Box<dyn Waits>>;

    /// Waits on such a thread for what the process's own runtime drives.
    fn wait(&self, process: &Handle, waiting: Waiting<'_>);

    /// [`Outgoing::invoke`].
    fn invoke(
        &self,
        successor: Successor,
        control: Control,
        within: Duration,
    ) -> BoxFuture<'_, Result<(), Failure>>;

    /// [`Outgoing::deliver`].
    fn deliver(&self, to: String, execution: ExecutionId, body: String)
    -> BoxFuture<'_, Result<(), Failure>>;
}

/// How a thread waits, once and again; between two waits it is outside of any runtime, and may compute.
pub(crate) trait Waits {
    /// Until this is over.
    fn wait(&mut self, waiting: Waiting<'_>);
}

/// A runtime of a thread's own.
struct Own {
    runtime: Option<Runtime>,
    turns: Arc<Turns>,
}

impl Waits for Own {
    fn wait(&mut self, waiting: Waiting<'_>) {
        if let Some(runtime) = &self.runtime {
            self.turns.pass_on();
            runtime.block_on(waiting);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // What was left running on threads of this runtime must not hold up what comes next.
            runtime.shutdown_background();
        }
    }
}

/// A page, as the kernel counts memory. A kernel with larger ones tells too little, and is as careful as if nothing were told.
const PAGE_BYTES: u64 = 4096;

/// The world that a process is started in.
#[derive(Debug, Default)]
pub(crate) struct Real {
    pub(crate) outgoing: Outgoing,
    pub(crate) turns: Arc<Turns>,
}

impl World for Real {
    fn now_us(&self) -> u64 {
        super::now_us()
    }

    fn fill(&self, bytes: &mut [u8]) {
        super::fill(bytes);
    }

    fn memory_bytes(&self) -> Option<u64> {
        let text = std::fs::read_to_string("/proc/self/statm").ok()?;
        let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
        Some(pages * PAGE_BYTES)
    }

    fn spawn(&self, work: Work) {
        self.turns.compute(work);
    }

    fn waits(&self) -> io::Result<Box<dyn Waits>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Box::new(Own { runtime: Some(runtime), turns: self.turns.clone() }))
    }

    fn wait(&self, process: &Handle, waiting: Waiting<'_>) {
        self.turns.pass_on();
        process.block_on(waiting);
    }

    fn invoke(
        &self,
        successor: Successor,
        control: Control,
        within: Duration,
    ) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move { self.outgoing.invoke(&successor, &control, within).await })
    }

    fn deliver(
        &self,
        to: String,
        execution: ExecutionId,
        body: String,
    ) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move { self.outgoing.deliver(&to, &execution, body).await })
    }
}
