//! The Jobs API client: requests, answers, errors, tokens, rate limit. It knows nothing of Kubernetes and can be used
//! alone; what it needs from outside (a secret) comes through a trait. It never follows a redirect, never reads a body
//! without a cap, never calls without a deadline, and never repeats a POST that may have been executed.
//!
//! From the outside in: [`client::Client`] (one workspace as one identity) → `calls/` (one file per operation) →
//! `tokens` and `transport` → `classify` (every error answer becomes one [`error::Error`], by one table). The pure
//! parts (`classify`, `lifetime`, `limiter`, `breaker`, `host_policy`,
//! `address_policy`) are tested beside their code; what happens on the wire is
//! tested over TLS in `e2e/tests/databricks_client/`.

mod address_policy;
mod bounded;
mod breaker;
mod calls;
mod classify;
pub mod client;
mod clock;
pub mod credentials;
pub mod error;
mod error_body;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod health;
pub mod host;
pub mod host_policy;
mod identity;
pub mod ids;
mod lifetime;
pub mod limiter;
pub mod limiters;
pub mod model;
pub mod network;
pub mod observer;
pub mod proxy;
mod redact;
pub mod resolver;
mod retry_after;
pub mod settings;
mod tokens;
mod transport;
mod whereabouts;

pub use calls::{
    Answered, Checked, FoundRuns, JobMatch, ListRuns, LiveRun, LiveRuns, LiveRunsPage, Principal, RUNS_PER_PAGE,
    Submitted,
};
pub use whereabouts::{TaskWhereabouts, Whereabouts};
