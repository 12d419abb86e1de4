//! Everything a workspace holds, behind one lock, and the knobs that change how it behaves.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::arguments::Query;
use super::clock::{Clock, Millis, millis};
use super::disturbance::Faults;
use super::errors::ApiError;
use super::faults::RetryAfter;
use super::federation::Federation;
use super::idempotency::{IdempotencyMode, Ledger};
use super::jobs::Job;
use super::random::Random;
use super::runs::{Run, Runs};
use super::script::{Script, Speed};
use super::tokens::{Access, Tokens};

/// How the workspace behaves. All of it can be changed while it runs (`Workspace::configure`).
#[derive(Clone, Debug)]
pub struct Settings {
    /// What becomes of idempotency tokens.
    pub idempotency: IdempotencyMode,
    /// How many runs may be active before starting another is refused with 429.
    pub active_run_limit: Option<usize>,
    /// API requests a second before 429.
    pub requests_per_second: Option<u32>,
    /// What a 429 of that limit says in `Retry-After`.
    pub retry_after: Option<RetryAfter>,
    /// Every API answer takes a time between these two.
    pub latency: Option<(Duration, Duration)>,
    /// How long OAuth access tokens are good.
    pub token_lifetime: Duration,
    /// Tokens are refused this long before they end (Azure: 30 s).
    pub token_margin: Duration,
    /// The token endpoint's clock is ahead of the workspace's by this much, so that what is good here has ended there.
    pub token_endpoint_ahead: Duration,
    /// `expires_in` is a string instead of a number.
    pub expires_in_as_text: bool,
    /// The API versions this workspace has.
    pub versions: Vec<String>,
    /// get-output of a run that is gone answers 500 with an empty body instead of a documented error.
    pub output_of_gone_run_is_500: bool,
    /// How many times faster than written scripts are played.
    pub speed: Speed,
    /// The workspace's own id, as in run page addresses.
    pub workspace_id: u64,
    /// Headers that every answer has beside its own, the login host's included.
    pub headers: Vec<(String, String)>,
    /// What the field of runs and outputs holds that no documentation knows.
    pub unannounced: Value,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idempotency: IdempotencyMode::default(),
            active_run_limit: None,
            requests_per_second: None,
            retry_after: Some(RetryAfter::Seconds(1)),
            latency: None,
            token_lifetime: Duration::from_hours(1),
            token_margin: Duration::ZERO,
            token_endpoint_ahead: Duration::ZERO,
            expires_in_as_text: false,
            versions: vec!["2.1".to_owned(), "2.2".to_owned()],
            output_of_gone_run_is_500: false,
            speed: Speed::times(1),
            workspace_id: 1_234_567_890_123_456,
            headers: Vec::new(),
            unannounced: json!({ "since": "tomorrow" }),
        }
    }
}

type SubmitScript = Box<dyn Fn(&Value) -> Option<Script> + Send>;

/// What the workspace holds.
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) host: String,
    pub(super) jobs: BTreeMap<i64, Job>,
    pub(super) runs: Runs,
    pub(super) ledger: Ledger,
    pub(super) tokens: Tokens,
    pub(super) federation: Federation,
    pub(super) faults: Faults,
    pub(super) submit_scripts: Vec<SubmitScript>,
}

/// One API call, read and authenticated.
pub(super) struct Call<'a> {
    pub(super) query: &'a Query,
    pub(super) body: &'a Value,
    pub(super) principal: &'a str,
    pub(super) version: &'a str,
    pub(super) now: Millis,
}

impl State {
    /// A new id that nothing has yet. Chance alone makes a second one of 10^18 the same; runs and jobs are checked.
    pub(super) fn new_id(&mut self) -> i64 {
        loop {
            let id = self.random.large_id();
            if !self.jobs.contains_key(&id) && !self.runs.is_known(id) {
                return id;
            }
        }
    }

    pub(super) fn token_margin(&self) -> Millis {
        millis(self.settings.token_margin)
    }

    /// Refuses those who may not see the job: whether it exists is not theirs to know.
    pub(super) fn check_view(&self, call: &Call<'_>, job_id: Option<i64>) -> Result<(), ApiError> {
        match self.tokens.access(call.principal, job_id) {
            Access::None => Err(ApiError::not_allowed(call.principal, job_id.unwrap_or(0))),
            Access::View | Access::Manage => Ok(()),
        }
    }

    /// Refuses those who may not start or cancel runs of the job.
    pub(super) fn check_manage(&self, call: &Call<'_>, job_id: Option<i64>) -> Result<(), ApiError> {
        self.check_view(call, job_id)?;
        match self.tokens.access(call.principal, job_id) {
            Access::Manage => Ok(()),
            Access::View | Access::None => Err(ApiError::may_only_view(call.principal, job_id.unwrap_or(0))),
        }
    }

    /// The run with this id, by its own or by one of its tasks' ids.
    pub(super) fn find(&self, id: i64, now: Millis) -> Option<&Run> {
        self.runs.get(id, now).or_else(|| self.runs.parent_of(id, now))
    }
}
