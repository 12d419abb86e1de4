//! The life of a run as pure functions: no clock, no network, no Kubernetes client. `decide` turns what is known into one
//! step, `settle` notes what came of a call. All rules of starting exactly once, of verdicts, deadlines and deletion live
//! here and are tested here; `controller` only performs. May use `api` and, of `databricks`, its words alone.

pub mod bounds;
pub mod cause;
pub mod control;
pub mod deadlines;
mod decide;
pub mod failure_policy;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod memory;
pub mod observed;
pub mod outputs;
pub mod project;
mod repair_memory;
pub mod report;
pub mod request;
pub mod run_key;
pub mod settle;
pub mod step;
pub mod token;
pub mod verdict;
#[cfg(test)]
pub(crate) mod world;

pub use decide::{Phase, decide, is_all_told, is_at_rest, time_left};
pub use memory::Memory;
pub use observed::{Now, Observed, Reading, Settings, Subject, TakeOver, WorkspaceView};
pub use settle::{begin, settle};
pub use step::{Announcement, Change, Effect, EventReason, MetadataChange, Outcome, Severity, Step};
pub use token::IdempotencyToken;
