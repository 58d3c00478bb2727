//! Shared by the tests and benchmarks across crates.
