//! Threads of which one runs at a time: a handler's thread computes only while the simulation waits for it.
//!
//! So the order of everything follows from the simulation alone, and waiting on such a thread is waiting in simulated time.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::world::Process;
use crate::engine::handler::lock;
use crate::engine::world::Waiting;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Simulation,
    Thread,
    /// The thread has ended.
    Ended,
    /// The simulation is over, and nobody will give the thread another turn.
    Over,
}

/// Whose turn it is.
struct Baton {
    turn: Mutex<Turn>,
    passed: Condvar,
    /// What the thread waits for has moved.
    woken: Notify,
}

impl Wake for Baton {
    fn wake(self: Arc<Self>) {
        self.woken.notify_one();
    }
}

/// What unwinds a thread whose simulation is over.
struct Over;

thread_local! {
    /// The baton of this thread, and the process that it belongs to.
    static HERE: RefCell<Option<(Arc<Baton>, Arc<Process>)>> = const { RefCell::new(None) };
}

/// The simulated process that this thread belongs to.
pub(super) fn process() -> Arc<Process> {
    HERE.with_borrow(|here| here.as_ref().unwrap().1.clone())
}

/// Waits on a thread that [`spawn`] began.
pub(super) fn wait(mut waiting: Waiting<'_>) {
    let baton = HERE.with_borrow(|here| here.as_ref().unwrap().0.clone());
    let waker = Waker::from(baton.clone());
    while waiting.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
        if !baton.give_back() {
            resume_unwind(Box::new(Over));
        }
    }
}

/// How a thread that [`spawn`] began waits.
pub(super) struct Waits;

impl crate::engine::world::Waits for Waits {
    fn wait(&mut self, waiting: Waiting<'_>) {
        wait(waiting);
    }
}

/// Does the work on a thread that has a turn whenever what it waits for has moved.
pub(super) fn spawn(process: Arc<Process>, work: Box<dyn FnOnce() + Send>) {
    let baton =
        Arc::new(Baton { turn: Mutex::new(Turn::Simulation), passed: Condvar::new(), woken: Notify::new() });
    let (theirs, runtime) = (baton.clone(), Handle::current());
    let threads = process.shared.threads.clone();
    let thread = std::thread::spawn(move || {
        let _entered = runtime.enter();
        if theirs.until(|turn| turn != Turn::Simulation) == Turn::Thread {
            HERE.set(Some((theirs.clone(), process)));
            // A panic of the handler's is caught before it comes here, and one that is not shows as a run without an end.
            let _ = catch_unwind(AssertUnwindSafe(work));
            HERE.set(None);
        }
        theirs.end();
    });
    lock(&threads).push(thread);
    tokio::spawn(async move {
        let baton = EndsIt(baton);
        while baton.0.give() {
            baton.0.woken.notified().await;
        }
    });
}

/// Dropped with the simulation.
struct EndsIt(Arc<Baton>);

impl Drop for EndsIt {
    fn drop(&mut self) {
        let mut turn = lock(&self.0.turn);
        if *turn != Turn::Ended {
            *turn = Turn::Over;
        }
        self.0.passed.notify_all();
    }
}

impl Baton {
    fn until(&self, is_so: impl Fn(Turn) -> bool) -> Turn {
        let mut turn = lock(&self.turn);
        while !is_so(*turn) {
            turn = self.passed.wait(turn).unwrap();
        }
        *turn
    }

    /// Gives the thread a turn and waits until it gives it back; answers whether it goes on.
    fn give(&self) -> bool {
        *lock(&self.turn) = Turn::Thread;
        self.passed.notify_all();
        self.until(|turn| turn != Turn::Thread) == Turn::Simulation
    }

    /// Gives the turn back and waits for the next; answers whether there is one.
    fn give_back(&self) -> bool {
        *lock(&self.turn) = Turn::Simulation;
        self.passed.notify_all();
        self.until(|turn| turn != Turn::Simulation) == Turn::Thread
    }

    fn end(&self) {
        *lock(&self.turn) = Turn::Ended;
        self.passed.notify_all();
    }
}
