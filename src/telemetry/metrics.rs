//! Every metric of the operator, one method for each thing that can happen. `docs/metrics.md` lists them for people; a
//! test holds the two together. Where controller-runtime has a metric with the same meaning it has the same name here,
//! so that dashboards people already have keep working.

mod polling;
mod registration;
mod resources;
mod underway;

use std::time::Duration;

pub use polling::Polling;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use registration::Registration;
use resources::Resources;
use underway::Reconciles;
pub use underway::Underway;

/// The controllers, by their metrics' label.
const CONTROLLERS: [&str; 2] = ["databricksrun", "databricksworkspace"];

/// What own metrics start with.
const PREFIX: &str = "databricks_operator";

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds of a call or of a reconcile: from a cache hit to a deadline.
const CALL_SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 10.0, 30.0];

/// Seconds of waiting for something that takes seconds or minutes: a rate limit, the next poll.
const WAIT_SECONDS: [f64; 11] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0];

macro_rules! labels {
    ($($name:ident { $($label:ident),+ })+) => {
        $(#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name {
            $($label: &'static str,)+
        })+
    };
}

labels! {
    Controller { controller }
    ControllerResult { controller, result }
    Operation { operation }
    Lane { lane }
    Outcome { outcome }
    Reason { reason }
    State { state }
    EventType { r#type }
    Kind { kind }
    Build { version }
}

/// A call of the Databricks API.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiCall {
    operation: &'static str,
    outcome: &'static str,
    code: Code,
}

/// A request to the Kubernetes API.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KubernetesRequest {
    code: Code,
    method: &'static str,
}

/// The status of an answer, or a word where there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Code(Result<u16, &'static str>);

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        match self.0 {
            Ok(status) => status.encode(encoder),
            Err(word) => word.encode(encoder),
        }
    }
}

/// The Lease of a leader election.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lease {
    name: String,
}

/// How a reconcile ended, in controller-runtime's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcileResult {
    /// Nothing to come back for but a change.
    Success,
    /// To be woken at a time.
    RequeueAfter,
    /// An error; it is repeated.
    Error,
}

/// What became of a status that was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusWrite {
    /// It was written.
    Written,
    /// It said what is there already, so nothing was sent.
    Suppressed,
    /// The object had changed in between (409); it is computed afresh.
    Conflict,
    /// The API server refused or did not answer.
    Failed,
}

/// A figure as gauges take it.
fn gauged(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// All metrics. Cheap to update from anywhere; share it in an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    names: Vec<String>,
    reconciles: Family<ControllerResult, Counter>,
    reconcile_errors: Family<Controller, Counter>,
    reconcile_panics: Family<Controller, Counter>,
    reconcile_seconds: Family<Controller, Histogram, fn() -> Histogram>,
    underway: Reconciles,
    api_calls: Family<ApiCall, Counter>,
    api_call_seconds: Family<Operation, Histogram, fn() -> Histogram>,
    api_throttled: Family<Operation, Counter>,
    limiter_wait_seconds: Family<Lane, Histogram, fn() -> Histogram>,
    polls: Family<Outcome, Counter>,
    poll_lateness_seconds: Histogram,
    end_lag_seconds: Histogram,
    sweep_pages: Family<Outcome, Counter>,
    sweep_rows: Family<Outcome, Counter>,
    runs: Family<State, Gauge>,
    polling: polling::Told,
    run_outcomes: Family<Reason, Counter>,
    status_writes: Family<Outcome, Counter>,
    events: Family<EventType, Counter>,
    token_refreshes: Family<Outcome, Counter>,
    orphaned_runs: Counter,
    undecodable_objects: Family<Kind, Counter>,
    leading: Family<Lease, Gauge>,
    workspaces: Family<State, Gauge>,
    breakers_open: Gauge,
    kubernetes_requests: Family<KubernetesRequest, Counter>,
    kubernetes_wait_seconds: Histogram,
    watch_lists: Family<Kind, Counter>,
    watch_errors: Family<Kind, Counter>,
    stored_objects: Family<Kind, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut book = Registration::default();
        let calls: fn() -> Histogram = || Histogram::new(CALL_SECONDS);
        let waits: fn() -> Histogram = || Histogram::new(WAIT_SECONDS);
        let shared = "controller_runtime";
        book.register(
            PREFIX,
            "build",
            "The version that runs",
            Info::new(Build { version: env!("CARGO_PKG_VERSION") }),
        );
        book.collected(resources::NAMES, Resources::new());
        let underway = Reconciles::default();
        book.collected(underway::NAMES, underway.clone());
        let polling = polling::Told::default();
        book.collected(polling::NAMES, polling.clone());
        let metrics = Self {
            polling,
            underway,
            reconciles: book.family(shared, "reconcile", "Reconciles by result"),
            reconcile_errors: book.family(shared, "reconcile_errors", "Reconciles that ended in an error"),
            reconcile_panics: book.family(shared, "reconcile_panics", "Reconciles that ended in a contained panic"),
            reconcile_seconds: book.histograms(shared, "reconcile_time_seconds", "Time of a reconcile", calls),
            api_calls: book.family(PREFIX, "api_calls", "Calls of the Databricks API by outcome"),
            api_call_seconds: book.histograms(
                PREFIX,
                "api_call_seconds",
                "Time of a call of the Databricks API, without waiting for the rate limit",
                calls,
            ),
            api_throttled: book.family(PREFIX, "api_throttled", "Calls that Databricks answered with 429"),
            limiter_wait_seconds: book.histograms(
                PREFIX,
                "limiter_wait_seconds",
                "How long the rate limit told a call to wait before asking again",
                waits,
            ),
            polls: book.family(PREFIX, "polls", "Readings of runs by what they brought"),
            poll_lateness_seconds: book.add(
                PREFIX,
                "poll_lateness_seconds",
                "How much later than its schedule says a poll was sent",
                Histogram::new(WAIT_SECONDS),
            ),
            sweep_pages: book.family(PREFIX, "sweep_pages", "Pages of the list of live runs by what came of asking"),
            sweep_rows: book.family(PREFIX, "sweep_rows", "Runs that sweeps looked for by how they were found"),
            end_lag_seconds: book.add(
                PREFIX,
                "run_end_lag_seconds",
                "Time from a run's end in Databricks to its being seen by a poll",
                Histogram::new(WAIT_SECONDS),
            ),
            runs: book.family(PREFIX, "runs", "DatabricksRun objects by the state they show"),
            run_outcomes: book.family(PREFIX, "run_outcomes", "Finished requests by the reason in Succeeded"),
            status_writes: book.family(PREFIX, "status_writes", "Computed statuses by what became of them"),
            events: book.family(PREFIX, "events", "Kubernetes events published"),
            token_refreshes: book.family(PREFIX, "token_refreshes", "Tokens fetched or read anew by outcome"),
            orphaned_runs: book.add(
                PREFIX,
                "orphaned_runs",
                "Runs that may still be live in Databricks although their object was released",
                Counter::default(),
            ),
            undecodable_objects: book.family(
                PREFIX,
                "undecodable_objects",
                "Objects met whose spec, status or metadata could not be read",
            ),
            leading: book.family("leader_election", "master_status", "Whether this process leads: 1 or 0"),
            workspaces: book.family(PREFIX, "workspaces", "Workspace objects by whether they can be used"),
            breakers_open: book.add(
                PREFIX,
                "breakers_open",
                "Workspace objects whose workspace does not answer, so that it is sent nothing but probes",
                Gauge::default(),
            ),
            kubernetes_requests: book.family("rest_client", "requests", "Requests to the Kubernetes API"),
            kubernetes_wait_seconds: book.add(
                PREFIX,
                "kubernetes_wait_seconds",
                "How long a request to the Kubernetes API waited for its turn in this process",
                Histogram::new(CALL_SECONDS),
            ),
            watch_lists: book.family(PREFIX, "watch_lists", "Complete lists of all objects of a kind"),
            watch_errors: book.family(PREFIX, "watch_errors", "Interruptions of a watch, which is taken up again"),
            stored_objects: book.family(PREFIX, "stored_objects", "Objects of a kind that are held in memory"),
            names: book.names,
            registry: book.registry,
        };
        metrics.begin_at_zero();
        metrics
    }

    /// Gives what is seldom counted and known by name its series, so that an increase from nothing is seen as one.
    fn begin_at_zero(&self) {
        for controller in CONTROLLERS {
            drop(self.reconcile_errors.get_or_create(&Controller { controller }));
            drop(self.reconcile_panics.get_or_create(&Controller { controller }));
        }
        drop(self.undecodable_objects.get_or_create(&Kind { kind: "DatabricksRun" }));
        // Few runs are never swept.
        drop(self.sweep_pages.get_or_create(&Outcome { outcome: "page" }));
        drop(self.sweep_rows.get_or_create(&Outcome { outcome: "same" }));
    }

    /// Everything, in the `OpenMetrics` text format ([`CONTENT_TYPE`]).
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; what was written is served in any case.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// The names of all metric families, without the suffixes that the format adds (`_total`, `_info`, `_bucket`).
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A reconcile of `controller` begins; it is under way until what is returned is dropped.
    pub fn reconcile_begins(&self, controller: &'static str) -> Underway {
        self.underway.begin(controller)
    }

    /// A reconcile of `controller` ended.
    pub fn reconciled(&self, controller: &'static str, result: ReconcileResult, took: Duration) {
        let word = match result {
            ReconcileResult::Success => "success",
            ReconcileResult::RequeueAfter => "requeue_after",
            ReconcileResult::Error => "error",
        };
        self.reconciles.get_or_create(&ControllerResult { controller, result: word }).inc();
        if result == ReconcileResult::Error {
            self.reconcile_errors.get_or_create(&Controller { controller }).inc();
        }
        self.reconcile_seconds.get_or_create(&Controller { controller }).observe(took.as_secs_f64());
    }

    /// A reconcile of `controller` panicked and was contained. Its end is to be reported as well.
    pub fn reconcile_panicked(&self, controller: &'static str) {
        self.reconcile_panics.get_or_create(&Controller { controller }).inc();
    }

    /// A call of the Databricks API ended, or was held back by the rate limit and never sent: then it has no
    /// `duration`. `operation` and `outcome` are the client's own words for them.
    pub fn api_called(
        &self,
        operation: &'static str,
        outcome: &'static str,
        http_status: Option<u16>,
        duration: Option<Duration>,
    ) {
        let code = Code(http_status.ok_or("none"));
        self.api_calls.get_or_create(&ApiCall { operation, outcome, code }).inc();
        if let Some(duration) = duration {
            self.api_call_seconds.get_or_create(&Operation { operation }).observe(duration.as_secs_f64());
        }
        if http_status == Some(429) {
            self.api_throttled.get_or_create(&Operation { operation }).inc();
        }
    }

    /// The rate limit told a call in `lane` to come back after `wait`.
    pub fn limiter_waits(&self, lane: &'static str, wait: Duration) {
        self.limiter_wait_seconds.get_or_create(&Lane { lane }).observe(wait.as_secs_f64());
    }

    /// A poll brought `outcome`.
    pub fn polled(&self, outcome: &'static str) {
        self.polls.get_or_create(&Outcome { outcome }).inc();
    }

    /// A poll was sent so much later than its schedule says.
    pub fn poll_late_by(&self, lateness: Duration) {
        self.poll_lateness_seconds.observe(lateness.as_secs_f64());
    }

    /// What came of asking for a page of live runs; how many runs looked the same, otherwise, or were missing.
    pub fn swept(&self, outcome: &'static str, rows: [usize; 3]) {
        self.sweep_pages.get_or_create(&Outcome { outcome }).inc();
        for (outcome, count) in ["same", "changed", "missing"].into_iter().zip(rows).filter(|(_, count)| *count > 0) {
            self.sweep_rows.get_or_create(&Outcome { outcome }).inc_by(count.try_into().unwrap_or(u64::MAX));
        }
    }

    /// A run's end was seen this long after it happened.
    pub fn end_seen_after(&self, lag: Duration) {
        self.end_lag_seconds.observe(lag.as_secs_f64());
    }

    /// So many objects show each state now; states that are not named have none.
    pub fn set_runs(&self, counts: impl IntoIterator<Item = (&'static str, usize)>) {
        self.runs.clear();
        for (state, count) in counts {
            self.runs.get_or_create(&State { state }).set(gauged(count));
        }
    }

    /// So many live runs have not been looked at yet by this process, and so many polls are overdue; none are told where
    /// it is not known or this process does not lead.
    pub fn set_polling(&self, figures: Option<Polling>) {
        self.polling.set(figures);
    }

    /// A request finished with this reason in its `Succeeded` condition.
    pub fn run_finished(&self, reason: &'static str) {
        self.run_outcomes.get_or_create(&Reason { reason }).inc();
    }

    /// A status was computed, and this became of it.
    pub fn status_write(&self, write: StatusWrite) {
        let outcome = match write {
            StatusWrite::Written => "written",
            StatusWrite::Suppressed => "suppressed",
            StatusWrite::Conflict => "conflict",
            StatusWrite::Failed => "failed",
        };
        self.status_writes.get_or_create(&Outcome { outcome }).inc();
    }

    /// An event of this type (`Normal`, `Warning`) was published.
    pub fn event_published(&self, r#type: &'static str) {
        self.events.get_or_create(&EventType { r#type }).inc();
    }

    /// A token was fetched or read anew. `outcome` is `Ok` or the error's reason.
    pub fn token_refreshed(&self, outcome: &'static str) {
        self.token_refreshes.get_or_create(&Outcome { outcome }).inc();
    }

    /// An object was released while its run may still be live.
    pub fn run_orphaned(&self) {
        self.orphaned_runs.inc();
    }

    /// An object of this kind could not be read in full.
    pub fn undecodable(&self, kind: &'static str) {
        self.undecodable_objects.get_or_create(&Kind { kind }).inc();
    }

    /// So many workspace objects are in each state now, and of so many the breaker is open.
    pub fn set_workspaces(&self, counts: impl IntoIterator<Item = (&'static str, usize)>, open: usize) {
        for (state, count) in counts {
            self.workspaces.get_or_create(&State { state }).set(gauged(count));
        }
        self.breakers_open.set(gauged(open));
    }

    /// So many objects of this kind are held in memory now.
    pub fn set_stored(&self, kind: &'static str, count: usize) {
        self.stored_objects.get_or_create(&Kind { kind }).set(gauged(count));
    }

    /// A watch of this kind begins: its counters are there from now on.
    pub fn watch_begins(&self, kind: &'static str) {
        drop(self.watch_lists.get_or_create(&Kind { kind }));
        drop(self.watch_errors.get_or_create(&Kind { kind }));
    }

    /// All objects of this kind have been listed.
    pub fn listed(&self, kind: &'static str) {
        self.watch_lists.get_or_create(&Kind { kind }).inc();
    }

    /// The watch of this kind was interrupted.
    pub fn watch_interrupted(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&Kind { kind }).inc();
    }

    /// The Kubernetes API answered a request of this method with this status, or not at all.
    pub fn kubernetes_called(&self, method: &'static str, status: Option<u16>) {
        // client-go's word.
        let code = Code(status.ok_or("<error>"));
        self.kubernetes_requests.get_or_create(&KubernetesRequest { code, method }).inc();
    }

    /// A request to the Kubernetes API waited for its turn.
    pub fn kubernetes_waited(&self, wait: Duration) {
        self.kubernetes_wait_seconds.observe(wait.as_secs_f64());
    }

    /// This process, a candidate for the Lease of this name, leads or does not.
    pub fn set_leading(&self, lease: &str, leads: bool) {
        self.leading.get_or_create(&Lease { name: lease.to_owned() }).set(leads.into());
    }
}

#[cfg(test)]
mod tests;
