//! The operator's hands: watches objects, has `lifecycle` decide, performs what it decides and records what came of it.
//! One file per step (`observe`, `perform`, `record`; `reconcile` is the loop around them), `ports` for everything
//! outside, `kubernetes` and `connections` behind the ports. No rule about runs lives here; nothing here waits without a
//! deadline.

mod connections;
#[cfg(feature = "fail-points")]
pub mod fail_points;
#[cfg(not(feature = "fail-points"))]
mod fail_points;
mod kubernetes;
mod looks;
mod marks;
mod memories;
mod observe;
mod operate;
mod perform;
pub mod ports;
mod process;
mod reconcile;
mod record;
mod rounds;
mod secrets;
mod watch;
mod workspaces;

pub use operate::{OperateError, Options, Pulse, operate};
pub use reconcile::{Next, Reconciler, after_failure};
pub use watch::{strip, what_matters};
