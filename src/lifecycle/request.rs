//! A request: what the user wants run, and whether it is the one the status speaks of.

use serde_json::{Map, Value};

use super::bounds::one_line;
use super::observed::{Now, Observed};
use super::run_key::{Comparison, KeyInput, RunKey, compare, run_key};
use crate::api::conditions::State;
use crate::api::run::DatabricksRunSpec;
use crate::api::status::{AttemptRecord, DatabricksRunStatus, Endpoint};
use crate::databricks::ids::JobId;

/// Bytes of a re-run token that are looked at.
const MAX_TOKEN: usize = 256;
/// Bytes of a name in the Job column.
const MAX_NAME: usize = 128;
/// Requests and attempts that are remembered.
const MAX_ATTEMPTS: usize = 10;
/// Bytes of a past attempt's message.
const MAX_PAST_MESSAGE: usize = 300;

/// What a spec asks for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// By which call.
    pub endpoint: Endpoint,
    /// With this body.
    pub body: &'a Map<String, Value>,
    /// The job's name, where the body has no id.
    pub job_name: Option<&'a str>,
    workspace: &'a str,
    rerun_token: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// Reads it; none where admission was bypassed and the spec holds neither or both bodies.
    #[must_use]
    pub fn of(spec: &'a DatabricksRunSpec) -> Option<Self> {
        let (endpoint, body) = match (&spec.run_now, &spec.submit) {
            (Some(body), None) => (Endpoint::RunNow, &body.0),
            (None, Some(body)) => (Endpoint::Submit, &body.0),
            _ => return None,
        };
        Some(Self {
            endpoint,
            body,
            job_name: spec.job_name.as_deref(),
            workspace: &spec.workspace_ref.name,
            rerun_token: spec.rerun_token.as_deref(),
        })
    }

    fn key_input<'b>(&self, rerun: Option<&'b str>) -> KeyInput<'b>
    where
        'a: 'b,
    {
        KeyInput {
            endpoint: self.endpoint,
            body: self.body,
            workspace_kind: "DatabricksWorkspace",
            workspace_name: self.workspace,
            job_name: self.job_name,
            rerun,
            rerun_token: self.rerun_token,
        }
    }

    /// The body as it is sent, but for the idempotency token: as the user wrote it, ids as integers.
    #[must_use]
    pub fn text(&self, job: Option<JobId>) -> String {
        let mut body = self.body.clone();
        let written = body.get("job_id").and_then(Value::as_str).and_then(|text| text.parse().ok()).map(JobId);
        if let Some(JobId(id)) = job.or(written) {
            body.insert("job_id".to_owned(), id.into());
        }
        Value::Object(body).to_string()
    }

    /// What stands in the Job column.
    fn display_name(&self) -> String {
        let name = match (self.job_name, self.endpoint) {
            (Some(name), _) => name.to_owned(),
            (None, Endpoint::RunNow) => match self.body.get("job_id") {
                Some(Value::String(id)) => id.clone(),
                Some(id) => id.to_string(),
                None => String::new(),
            },
            (None, Endpoint::Submit) => {
                self.body.get("run_name").and_then(Value::as_str).unwrap_or("Untitled").to_owned()
            }
        };
        one_line(&name, MAX_NAME)
    }
}

/// How the spec relates to the request that the status speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// It is the same.
    Same(RunKey),
    /// It is another: a run is due.
    New(RunKey),
    /// Nobody can tell.
    UnknownVersion,
}

impl Wish {
    /// Compares them.
    #[must_use]
    pub fn of(seen: &Observed<'_>, request: &Request<'_>) -> Self {
        let rerun = Self::accepted_rerun(seen);
        let input = request.key_input(rerun.as_deref());
        let key = run_key(&input);
        match seen.status().run_key.as_deref().map(|stored| compare(stored, &input)) {
            Some(Comparison::Same) => Self::Same(key),
            Some(Comparison::UnknownVersion) => Self::UnknownVersion,
            Some(Comparison::Different) | None => Self::New(key),
        }
    }

    /// Whether another run is due once the one under way has ended.
    #[must_use]
    pub fn another_is_due(seen: &Observed<'_>) -> bool {
        let request = seen.subject.spec.ok().and_then(Request::of);
        request.is_some_and(|request| matches!(Self::of(seen, &request), Self::New(_)))
    }

    /// The re-run token that counts: the annotation's, or the last one when it was removed.
    #[must_use]
    pub fn accepted_rerun(seen: &Observed<'_>) -> Option<String> {
        let asked = seen.subject.rerun.map(|token| one_line(token, MAX_TOKEN)).filter(|token| !token.is_empty());
        asked.or_else(|| seen.status().last_handled_rerun.clone())
    }

    /// Whether the re-run annotation has a token that was not honoured yet.
    #[must_use]
    pub fn asked_again(seen: &Observed<'_>) -> bool {
        Self::accepted_rerun(seen) != seen.status().last_handled_rerun
    }
}

/// The status in which a new request begins: the one before goes into `attempts` in the same write, so that no verdict
/// is lost and none is shown for the wrong request.
#[must_use]
pub fn begin(seen: &Observed<'_>, key: &RunKey, request: &Request<'_>, now: Now) -> DatabricksRunStatus {
    let old = seen.status();
    let mut attempts = old.attempts.clone();
    if let Some(record) = past(old) {
        attempts.insert(0, record);
        attempts.truncate(MAX_ATTEMPTS);
    }
    DatabricksRunStatus {
        state: Some(State::Pending.as_str().to_owned()),
        display_name: Some(request.display_name()),
        run_key: Some(key.as_str().to_owned()),
        serial: old.serial,
        requested_at: Some(now.stamp()),
        attempts,
        last_handled_rerun: Wish::accepted_rerun(seen),
        conditions: old.conditions.clone(),
        observed_generation: old.observed_generation,
        ..DatabricksRunStatus::default()
    }
}

/// The request that the status speaks of, as it is remembered; none if nothing came of it.
fn past(old: &DatabricksRunStatus) -> Option<AttemptRecord> {
    let run_key = old.run_key.clone()?;
    if old.run_id.is_none() && old.completion_time.is_none() {
        return None;
    }
    Some(AttemptRecord {
        run_key,
        attempt: old.attempt.unwrap_or(1),
        serial: old.serial.unwrap_or_default(),
        run_id: old.run_id.clone(),
        state: old.state.clone().unwrap_or_default(),
        reason: super::report::current_reason(old).unwrap_or_default().to_owned(),
        message: super::report::current_message(old).map(|text| one_line(text, MAX_PAST_MESSAGE)),
        start_time: old.start_time.clone(),
        completion_time: old.completion_time.clone(),
    })
}
