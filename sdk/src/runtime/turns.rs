//! The threads of a function process, which take turns at driving its runtime.
//!
//! Whoever drives it when a handler is to run, runs the handler, and drives on afterwards: waking another thread costs
//! more than a short handler takes. Where the handler takes longer than a moment, or is about to wait for what only the
//! runtime can bring, the thread that stands by takes the seat, and the process answers while the handler computes.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::engine::lock;

/// How long the runtime may stand still while a handler computes: some wake-ups' worth.
const PATIENCE: Duration = Duration::from_micros(200);

pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Turns {
    runtime: OnceLock<Runtime>,
    work: Mutex<VecDeque<Work>>,
    has_work: Notify,
    seat: Mutex<Seat>,
    changed: Condvar,
}

/// Who drives.
#[derive(Default)]
struct Seat {
    /// Who had it computes, and has it back unless that takes longer.
    vacant_until: Option<Instant>,
    next: Next,
}

/// The thread that takes the seat next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Nobody,
    /// Until somebody leaves the seat.
    Sleeps,
    /// Whether who left it comes back.
    Watches,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}

impl Turns {
    /// Drives the runtime until `serving` has ended, which gives what it came to. Whatever else is on the runtime then, such
    /// as a handler that was abandoned, has nobody who waits for it.
    pub(crate) fn drive<T: Send + 'static>(
        self: &Arc<Self>,
        runtime: Runtime,
        serving: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let runtime = self.runtime.get_or_init(|| runtime);
        let (ended, end) = mpsc::channel();
        runtime.spawn(async move { ended.send(serving.await) });
        self.clone().begin(runtime, Self::take_turns);
        end.recv().ok()
    }

    /// Has the work done by the thread that drives; or, where somebody else drives, by one of the runtime's own for such work.
    pub(crate) fn compute(&self, work: Work) {
        if self.runtime.get().is_none() {
            return drop(tokio::task::spawn_blocking(work));
        }
        lock(&self.work).push_back(work);
        self.has_work.notify_one();
    }

    /// The thread that computes is about to wait for the runtime, which is to be driven at once.
    pub(crate) fn pass_on(&self) {
        let mut seat = lock(&self.seat);
        let Some(until) = &mut seat.vacant_until else { return };
        *until = Instant::now();
        drop(seat);
        self.changed.notify_one();
    }

    fn begin(self: Arc<Self>, runtime: &Runtime, run: fn(&Arc<Self>, &Runtime)) {
        // A thread that is still there from a busier time costs a tenth of a new one.
        drop(runtime.spawn_blocking(move || {
            if let Some(runtime) = self.runtime.get() {
                run(&self, runtime);
            }
        }));
    }

    /// Drives and computes by turns, until others do both.
    fn take_turns(self: &Arc<Self>, runtime: &Runtime) {
        loop {
            let work = runtime.block_on(self.next());
            self.leave(runtime);
            // Work that panics has told whom it concerns.
            drop(catch_unwind(AssertUnwindSafe(work)));
            if !self.comes_back() && !self.stands_by() {
                return;
            }
        }
    }

    async fn next(&self) -> Work {
        loop {
            if let Some(work) = lock(&self.work).pop_front() {
                return work;
            }
            self.has_work.notified().await;
        }
    }

    fn leave(self: &Arc<Self>, runtime: &Runtime) {
        let mut seat = lock(&self.seat);
        seat.vacant_until = Some(Instant::now() + PATIENCE);
        let next = seat.next;
        // Whoever is woken wants it.
        drop(seat);
        match next {
            Next::Nobody => self.clone().begin(runtime, |turns, runtime| {
                if turns.stands_by() {
                    turns.take_turns(runtime);
                }
            }),
            Next::Sleeps => self.changed.notify_one(),
            // Looks again of its own accord.
            Next::Watches => {}
        }
    }

    /// Whether the thread that left the seat finds it as it was.
    fn comes_back(&self) -> bool {
        lock(&self.seat).vacant_until.take().is_some()
    }

    /// Waits for the seat; `false` if somebody does already.
    fn stands_by(&self) -> bool {
        let mut seat = lock(&self.seat);
        if seat.next != Next::Nobody {
            return false;
        }
        loop {
            let Some(until) = seat.vacant_until else {
                seat.next = Next::Sleeps;
                seat = self.changed.wait(seat).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                *seat = Seat::default();
                return true;
            }
            seat.next = Next::Watches;
            seat = self.changed.wait_timeout(seat, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread::ThreadId;

    use tokio::sync::oneshot;

    use super::*;

    /// What `serving` comes to on a runtime that is driven by turns.
    fn driven<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        serving: impl FnOnce(Arc<Turns>) -> F,
    ) -> T {
        let turns = Arc::<Turns>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        turns.drive(runtime, serving(turns.clone())).unwrap()
    }

    /// Has `work` done, and waits for it.
    async fn done<T: Send + 'static>(turns: &Turns, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (ended, end) = oneshot::channel();
        turns.compute(Box::new(move || drop(ended.send(work()))));
        end.await.unwrap()
    }

    fn here() -> ThreadId {
        std::thread::current().id()
    }

    #[test]
    fn short_work_is_done_where_the_runtime_is_driven() {
        driven(async |turns| {
            for _ in 0..100 {
                let driving = here();
                assert_eq!(done(&turns, here).await, driving);
            }
        });
    }

    #[test]
    fn the_runtime_is_driven_while_somebody_computes() {
        driven(async |turns| {
            for _ in 0..20 {
                let (asks, asked) = oneshot::channel();
                let (answers, answer) = mpsc::channel();
                let computing = done(&turns, move || {
                    asks.send(()).unwrap();
                    // Nobody answers but the runtime.
                    answer.recv().unwrap()
                });
                let answering = async {
                    asked.await.unwrap();
                    answers.send(7).unwrap();
                };
                assert_eq!(tokio::join!(computing, answering).0, 7);
            }
        });
    }

    #[test]
    fn as_many_compute_at_once_as_there_is_work() {
        driven(async |turns| {
            for _ in 0..3 {
                let all = Arc::new(Barrier::new(8));
                let computing: Vec<_> = (0..8)
                    .map(|_| {
                        let (turns, all) = (turns.clone(), all.clone());
                        tokio::spawn(async move { done(&turns, move || all.wait().is_leader()).await })
                    })
                    .collect();
                for computing in computing {
                    computing.await.unwrap();
                }
            }
        });
    }

    #[test]
    fn who_waits_for_the_runtime_has_it_driven_at_once() {
        let runtime_answers = driven(async |turns| {
            let (process, passing) = (tokio::runtime::Handle::current(), turns.clone());
            done(&turns, move || {
                passing.pass_on();
                process.block_on(async { tokio::spawn(async { 7 }).await.unwrap() })
            })
            .await
        });
        assert_eq!(runtime_answers, 7);
    }

    #[test]
    fn work_that_panics_is_not_the_end() {
        driven(async |turns| {
            turns.compute(Box::new(|| panic!("this is a test")));
            assert_eq!(done(&turns, || 7).await, 7);
        });
    }
}
