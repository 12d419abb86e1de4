//! What the ports are in a real process: the machine's clocks, and the metrics and traces as witnesses of calls to Databricks.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::connections::Connections;
use super::kubernetes::Kubernetes;
use super::ports::Clock;
use super::reconcile::Reconciler;
use super::spans;
use crate::databricks::observer::{Call, Observer, Operation};
use crate::lifecycle::Now;
use crate::poller::{self, SystemClock};
use crate::telemetry::{Metrics, Traces};

/// The machine's clocks, shared with the pollers so that their instants compare.
#[derive(Clone, Copy)]
pub(super) struct Clocks(pub(super) SystemClock);

impl Clock for Clocks {
    fn now(&self) -> Now {
        let now = poller::Clock::now(&self.0);
        Now { wall: Timestamp::try_from(now.wall).unwrap_or_default(), mono: now.monotonic }
    }
}

/// Tells metrics and traces of calls to Databricks.
pub(super) struct Calls {
    pub(super) metrics: Arc<Metrics>,
    pub(super) traces: Traces,
}

impl Observer for Calls {
    fn call(&self, call: &Call) {
        let operation = call.operation.as_str();
        let duration = (!call.duration.is_zero()).then_some(call.duration);
        self.metrics.api_called(operation, call.outcome, call.http_status, duration);
        if call.operation == Operation::Token {
            self.metrics.token_refreshed(call.outcome);
        }
        if self.traces.are_told() && duration.is_some() {
            let (attributes, status) = spans::of_call(call);
            self.traces.tell_call(operation, call.duration, attributes, status);
        }
    }
}

/// The reconciler for real.
pub(super) type Operator = Reconciler<Kubernetes, Arc<Connections>, Clocks>;
