//! The operator's rooms. Which room may use which is written in `docs/architecture.md` and held by a test.

pub mod api;
pub mod cli;
pub mod controller;
pub mod databricks;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod leader;
pub mod lifecycle;
pub mod poller;
pub mod server;
pub mod telemetry;

/// As in the programs, so that tests meet what they will.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: telemetry::memory::Allocator = telemetry::memory::Allocator;
