//! The platforms' contracts: how a call reaches the function process, and how it answers.
//!
//! [`openwhisk`] and [`openfaas`] turn a request into a [`Call`](limitless_faas_core::invocation::Call) and an
//! [`Answer`](limitless_faas_core::invocation::Answer) into a response; [`outgoing`] invokes successors and posts
//! results; [`turns`] are the threads that all this runs on. Everything between is the [engine](crate::engine)'s and knows no platform.

pub(crate) mod control;
mod couchdb;
pub(crate) mod duration;
#[cfg(test)]
mod fuzz;
pub(crate) mod http;
pub(crate) mod input;
pub(crate) mod openfaas;
pub(crate) mod openwhisk;
pub(crate) mod outgoing;
pub(crate) mod turns;

pub(crate) use duration::parse_go_duration;

/// Where platforms mount secrets as files.
pub(crate) const SECRET_FOLDERS: [&str; 2] = ["/var/openfaas/secrets", "/run/secrets"];
