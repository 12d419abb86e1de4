//! A request: what the user wants run, and whether it is the one the status speaks of.

use serde_json::{Map, Value};

use super::bounds::one_line;
use super::observed::{Now, Observed};
use super::run_key::{Comparison, KeyInput, RunKey, compare, run_key};
use crate::api::conditions::State;
use crate::api::run::{DatabricksRunSpec, WorkspaceRef};
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
    workspace: &'a WorkspaceRef,
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
            workspace: &spec.workspace_ref,
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
            workspace_kind: self.workspace.kind().as_str(),
            workspace_name: &self.workspace.name,
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
        let versions = seen.settings.run_keys;
        let key = run_key(versions, &input);
        match seen.status().run_key.as_deref().map(|stored| compare(versions, stored, &input)) {
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

    /// The re-run token that counts.
    #[must_use]
    pub fn accepted_rerun(seen: &Observed<'_>) -> Option<String> {
        accepted(seen.subject.rerun, seen.status().last_handled_rerun.as_deref())
    }

    /// Whether the re-run annotation has a token that was not honoured yet.
    #[must_use]
    pub fn asked_again(seen: &Observed<'_>) -> bool {
        Self::accepted_rerun(seen) != seen.status().last_handled_rerun
    }
}

/// The token of a command's annotation that counts: the one there is, or the last one when it was removed.
#[must_use]
pub fn accepted(annotation: Option<&str>, handled: Option<&str>) -> Option<String> {
    let asked = annotation.map(|token| one_line(token, MAX_TOKEN)).filter(|token| !token.is_empty());
    asked.or_else(|| handled.map(str::to_owned))
}

/// What came after an attempt, in the words of `attempts[].followedBy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowedBy {
    /// A newer request, or the same once more because somebody asked for it.
    Request,
    /// The same request, begun anew: its run had been cancelled for a suspension or a replacement that was taken back.
    Resumption,
    /// Another attempt.
    Retry,
    /// The failed tasks once more.
    Repair,
}

impl FollowedBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Request => "Request",
            Self::Resumption => "Resumption",
            Self::Retry => "Retry",
            Self::Repair => "Repair",
        }
    }
}

/// The status in which a new request begins: the one before goes into `attempts` in the same write, so that no verdict
/// is lost and none is shown for the wrong request. What was commanded before belongs to the request before.
#[must_use]
pub fn begin(seen: &Observed<'_>, key: &RunKey, request: &Request<'_>, now: Now) -> DatabricksRunStatus {
    let old = seen.status();
    let next = if old.run_key.as_deref() == Some(key.as_str()) { FollowedBy::Resumption } else { FollowedBy::Request };
    let mut status = DatabricksRunStatus {
        display_name: Some(request.display_name()),
        run_key: Some(key.as_str().to_owned()),
        requested_at: Some(now.stamp()),
        last_handled_rerun: Wish::accepted_rerun(seen),
        last_handled_cancel: accepted(seen.subject.cancel, old.last_handled_cancel.as_deref()),
        last_handled_repair: accepted(seen.subject.repair, old.last_handled_repair.as_deref()),
        ..blank(old)
    };
    // While a next attempt is waited for, the record of the last one has been made already.
    if old.backoff.is_none() && old.repair.is_none() {
        remember(&mut status, past(old, next));
    }
    status
}

/// The status in which the next attempt of a request begins. The record of the last one has been made already.
#[must_use]
pub fn next_attempt(old: &DatabricksRunStatus) -> DatabricksRunStatus {
    DatabricksRunStatus {
        display_name: old.display_name.clone(),
        run_key: old.run_key.clone(),
        attempt: old.attempt,
        retries: Some(old.retries.unwrap_or(0).saturating_add(1)),
        requested_at: old.requested_at.clone(),
        first_submit_time: old.first_submit_time.clone(),
        execution_start_time: old.execution_start_time.clone(),
        ..blank(old)
    }
}

/// What outlives every request.
fn blank(old: &DatabricksRunStatus) -> DatabricksRunStatus {
    DatabricksRunStatus {
        state: Some(State::Pending.as_str().to_owned()),
        serial: old.serial,
        attempts: old.attempts.clone(),
        last_handled_rerun: old.last_handled_rerun.clone(),
        last_handled_cancel: old.last_handled_cancel.clone(),
        last_handled_repair: old.last_handled_repair.clone(),
        conditions: old.conditions.clone(),
        observed_generation: old.observed_generation,
        ..DatabricksRunStatus::default()
    }
}

/// Puts a record before the others.
pub fn remember(status: &mut DatabricksRunStatus, record: Option<AttemptRecord>) {
    if let Some(record) = record {
        status.attempts.insert(0, record);
        status.attempts.truncate(MAX_ATTEMPTS);
    }
}

/// What the status speaks of, as it is remembered; none if nothing came of it.
#[must_use]
pub fn past(old: &DatabricksRunStatus, next: FollowedBy) -> Option<AttemptRecord> {
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
        followed_by: Some(next.as_str().to_owned()),
        start_time: old.start_time.clone(),
        completion_time: old.completion_time.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::run_key::VERSIONS;
    use super::*;

    fn key(reference: Value) -> RunKey {
        let mut spec = json!({"runNow": {"job_id": 123}});
        spec["workspaceRef"] = reference;
        let spec: DatabricksRunSpec = serde_json::from_value(spec).unwrap();
        run_key(VERSIONS, &Request::of(&spec).unwrap().key_input(None))
    }

    #[test]
    fn the_kind_of_the_workspace_is_part_of_the_key_and_its_default_need_not_be_written() {
        let unwritten = key(json!({"name": "prod"}));
        assert_eq!(unwritten.as_str(), "v1:f5184cbf59945199f63ef70c0a22e84d46e6c1be", "as before there was a kind");
        assert_eq!(key(json!({"kind": "DatabricksWorkspace", "name": "prod"})), unwritten);
        assert_ne!(key(json!({"kind": "ClusterDatabricksWorkspace", "name": "prod"})), unwritten);
    }

    #[test]
    fn a_request_is_called_by_its_job_or_by_its_run() {
        for (body, name) in [
            (json!({"runNow": {"job_id": 123}}), "123"),
            (json!({"runNow": {"job_id": "9007199254740993"}}), "9007199254740993"),
            (json!({"runNow": {}, "jobName": "nightly\netl"}), "nightly etl"),
            (json!({"submit": {"run_name": "one-off", "tasks": []}}), "one-off"),
            (json!({"submit": {"tasks": []}}), "Untitled"),
        ] {
            let mut spec = body;
            spec["workspaceRef"] = json!({"name": "prod"});
            let spec: DatabricksRunSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(Request::of(&spec).unwrap().display_name(), name);
        }
    }

    #[test]
    fn another_attempt_keeps_what_belongs_to_its_request_and_what_outlives_requests() {
        let old: DatabricksRunStatus = serde_json::from_value(json!({
            "observedGeneration": 3, "state": "Failed", "displayName": "nightly", "runKey": "v1:a", "attempt": 2, "retries": 1,
            "serial": 4, "requestedAt": "2026-01-01T00:00:00Z", "firstSubmitTime": "2026-01-01T00:00:01Z",
            "executionStartTime": "2026-01-01T00:00:02Z", "lastHandledRerun": "a", "lastHandledCancel": "b",
            "lastHandledRepair": "c", "runId": "7", "resultState": "FAILED", "attempts": [{"runId": "6"}],
            "conditions": [{"type": "Ready", "status": "False", "reason": "RunFailed", "message": "no", "lastTransitionTime": "2026-01-01T00:00:03Z"}],
        }))
        .unwrap();
        let mut expected = old.clone();
        (expected.run_id, expected.result_state) = (None, None);
        (expected.state, expected.retries) = (Some("Pending".to_owned()), Some(2));
        assert_eq!(next_attempt(&old), expected);
    }

    #[test]
    fn numbers_are_sent_as_they_were_written() {
        let body = r#"{"rates":[0.1,31.245270191439438,0.9745963848909007,1e-7,9007199254740993],"whole":2.0}"#;
        let spec = format!(r#"{{"workspaceRef":{{"name":"prod"}},"submit":{body}}}"#);
        let spec: DatabricksRunSpec = serde_json::from_str(&spec).unwrap();
        assert_eq!(Request::of(&spec).unwrap().text(None), body);
    }
}
