//! The operator's hands: watches objects, has `lifecycle` decide, performs what it decides and records what came of it.
//! One file per step (`observe`, `perform`, `record`; `reconcile` is the loop around them), `ports` for everything
//! outside, `kubernetes` and `connections` behind the ports. No rule about runs lives here; nothing here waits without a
//! deadline.

mod about;
mod assertions;
mod connections;
mod dial;
#[cfg(feature = "fail-points")]
pub mod fail_points;
#[cfg(not(feature = "fail-points"))]
mod fail_points;
mod gate;
mod kept;
mod known;
mod kubernetes;
mod looks;
mod marks;
mod measure;
mod memories;
mod namespaces;
mod observe;
mod operate;
mod pace;
mod packed;
mod perform;
pub mod ports;
mod process;
mod readiness;
mod reconcile;
mod record;
mod recorded;
mod remote;
mod requests;
mod rounds;
mod secrets;
mod spans;
mod subject;
mod watch;
mod workspaces;

pub use kept::Kept;
pub use operate::{LeaderElection, OperateError, Options, Pulse, operate};
pub use reconcile::{Next, Reconciler, after_failure};
