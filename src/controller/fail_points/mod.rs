//! Points between the steps of a look at which a process can be told to stop dead, so that the crash test can kill it
//! there. They exist only with the feature `fail-points`, which only `e2e` turns on; without it what is called here is
//! empty, and `.ci/run` looks into the released binary to prove it. No rule of a run's life may ever depend on them.

#[cfg(not(feature = "fail-points"))]
mod absent;
#[cfg(feature = "fail-points")]
mod named;

#[cfg(not(feature = "fail-points"))]
pub(super) use absent::{of_call, of_delete, of_mark, of_write};
#[cfg(feature = "fail-points")]
pub use named::{ANNOUNCEMENT, FailPoint, VARIABLE};
#[cfg(feature = "fail-points")]
pub(super) use named::{of_call, of_delete, of_mark, of_write};

/// On which side of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Decided, not begun.
    Before,
    /// Done, its outcome not used yet.
    After,
}
