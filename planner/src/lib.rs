//! Packs a workflow into the fewest CPUs that meet its latency target (SLO).
//!
//! From a [`Graph`](limitless_faas_core::graph::Graph), [profiles](limitless_faas_core::profile::Profiles) of its
//! handlers and a [calibration](limitless_faas_core::calibration::Calibration) of the target, [`plan`](fn@plan) makes
//! a [`Plan`](limitless_faas_core::plan::Plan): wraps (sandboxes), the processes in them, the threads in those, and
//! the CPUs. [`explain`] says why, and draws it. Nothing here runs anything or needs a platform.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use limitless_faas_core::calibration::Calibration;
//! use limitless_faas_core::graph::Graph;
//! use limitless_faas_core::profile::{Profile, Profiles};
//! use limitless_faas_planner::{Answer, Request, Workflow, plan};
//!
//! let graph = Graph::from_stages("report", &[vec!["fetch"], vec!["count", "count", "detect"]]);
//! let profiles = Profiles::new(BTreeMap::from([
//!     ("fetch".to_owned(), Profile::locked(12.0, &[(1.0, 9.0)])),
//!     ("count".to_owned(), Profile::locked(30.0, &[])),
//!     ("detect".to_owned(), Profile::locked(25.0, &[])),
//! ]));
//! let workflow = Workflow::new(&graph, &profiles, &Calibration::chiron())?;
//! let Answer::Plan(plan) = plan(&workflow, &Request::slo(85.0))? else { panic!("85 ms are enough") };
//! assert_eq!(plan.prediction.cpus, 2);
//! # Ok::<(), limitless_faas_planner::PlanError>(())
//! ```
//!
//! # The model
//!
//! It is that of the Chiron paper (SC '23), section 3.3, with what it leaves out. A workflow is a sequence of stages
//! (a node's stage is the length of the longest way to it), and takes the sum of them:
//!
//! > (1) `T_workflow = Σ_i T_stage(i)`
//!
//! A stage takes as long as its slowest wrap. The entry wrap calls the others, one after the other:
//!
//! > (2) `T_stage = max(T_wrap(1), max_k≥2 (T_wrap(k) + (k − 2) · T_INV + T_RPC))`
//!
//! A wrap takes as long as its slowest process; the main process also forks the others and collects their results:
//!
//! > (3) `T_wrap = max(T_main + (n − 1) · (T_Block + T_IPC), max_j T_p(j))`
//! >
//! > (4) `T_p(j) = (j − 1) · T_Block + T_Startup + T_exec(j)`
//!
//! `T_IPC` is paid in the entry wrap only, as in the published code, and a calibration can charge the entry wrap for
//! each remote call it makes. `T_exec` is that of a process's threads:
//!
//! | threads | predicted by |
//! | --- | --- |
//! | under one interpreter lock, [`Algorithm1`](limitless_faas_core::calibration::ThreadModel::Algorithm1) | [`predict::lock`], to the last digit of the published code |
//! | under one interpreter lock, [`Fair`](limitless_faas_core::calibration::ThreadModel::Fair) | the same with constants [fitted](mod@fit) to measured groups: warm and forked processes differ, and part of a handler's computing may run without the lock |
//! | truly parallel, in pools, or more processes than CPUs | [`predict::share`]: with `r` threads on `c` CPUs each runs at `min(1, c / r)` |
//! | kept apart by protection keys | as above, with a longer start and factors on computing and waiting |
//!
//! Payloads add their megabytes times the cost of a pipe (forked processes) or of the network (remote wraps). A cold
//! start is charged to the request and to the first call of each remote wrap. Quantiles come from 400 runs in which
//! every node draws its time from its handler's own quantiles, with a fixed seed.
//!
//! # The search
//!
//! Nodes of one handler are interchangeable, so that a process is a count of each class, and predictions are
//! remembered by counts. For a number of CPUs and wraps the search goes through the shapes (how many CPUs in which
//! wrap), ranks them by a lower bound, and assigns each stage's classes to the processes: exactly for stages of few
//! nodes or classes, by longest-first and local search for others. The answer for a number of CPUs and wraps does not
//! depend on the SLO, which is why a looser SLO or more CPUs never get a worse plan. The fewest CPUs that meet the
//! SLO win; among those the cheapest.
//!
//! The lower bound: a process that begins at `o` and ends by `L` can give its threads no more than `L − o` of its
//! lock, and hosts a whole number of nodes of each class. The least `L` for which all nodes fit bounds every plan of
//! threads and forks; processes begin as early as in the best shape for each. It says how many CPUs are needed at
//! least, how far a plan is from the best, and when nothing can meet an SLO.
//!
//! A number of CPUs is proved to be the fewest where it equals its bound, or where every stage has at most six nodes:
//! then everything smaller was tried ([`Bound::optimal`](limitless_faas_core::plan::Bound::optimal)).
//!
//! # Where it is weak
//!
//! - Stages are barriers: a node whose own inputs are ready waits for all of the stage before.
//! - All branches of a `Choice` are planned as if they ran together, and a `Map` as wide as it may get: safe, not
//!   tight.
//! - Threads of one process are predicted by a scheduler that is simpler than the kernel's. The mean error on groups
//!   it was not fitted to is 3 to 6 % per workflow, and up to 12 % for sets of handlers it has never seen together.
//! - Wraps are taken to be on idle machines: no noise from neighbours, no queueing of requests.
//! - Above 64 CPUs only some numbers of CPUs are tried, and for large stages only remote wraps of equal size.
//! - In a workflow of several runtimes, further wraps go to the runtime with the most work only.
//! - Files that two handlers write keep them apart within a stage, not from stage to stage.
//! - The memory of sandboxes and processes, and what protection keys cost, are constants that `calibrate` does not
//!   measure yet.

pub mod error;
pub mod explain;
pub mod fit;
pub mod observe;
pub mod partition;
pub mod predict;
pub mod read;
pub mod states;
pub mod workflow;

pub use error::PlanError;
pub use partition::{Answer, Goal, Request, Strategy, front, plan};
pub use workflow::Workflow;
