//! What the operator tells those who run it: metrics, logs and traces. Every room but `api` and `lifecycle` may use this one; it
//! uses none. Labels are words from fixed lists: never a name of an object, a run or a host.

pub mod logs;
pub mod memory;
pub mod metrics;
mod process;
pub mod traces;

pub use metrics::Metrics;
pub use traces::Traces;
