//! What traces tell of a request: its parts, as the writes of its status show that they have ended, with Databricks' own times
//! where it gives them.

use std::time::{Duration, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{Key, KeyValue, Value};

use crate::api::conditions::{SUCCEEDED, State};
use crate::api::run::RunObject;
use crate::api::status::{AttemptRecord, DatabricksRunStatus};
use crate::databricks::observer::Call;
use crate::lifecycle::Phase;
use crate::telemetry::traces::{Span, Trace, Traces};

/// The trace of the request that an object's status speaks of; none before there is one, or where nobody hears of it.
pub(super) fn trace_of(traces: &Traces, object: &RunObject) -> Option<Trace> {
    if traces.are_told() { of_request(object) } else { None }
}

fn of_request(object: &RunObject) -> Option<Trace> {
    let (uid, status) = (object.metadata.uid.as_deref()?, object.status.as_ref()?);
    let intended = status.intent.as_ref().map(|intent| intent.run_key.as_str());
    Some(Trace::of(uid, intended.or(status.run_key.as_deref())?))
}

/// What a call's span carries.
pub(super) fn of_call(call: &Call) -> (Vec<KeyValue>, Status) {
    let mut attributes = Vec::new();
    attributes.extend(call.http_status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))));
    if call.outcome == "Ok" {
        return (attributes, Status::Ok);
    }
    attributes.push(KeyValue::new("error.type", call.outcome));
    (attributes, Status::error(call.outcome))
}

/// Tells the spans that have ended with a write of the status, which was `object.status` before.
pub(super) fn tell(traces: &Traces, object: &RunObject, new: &DatabricksRunStatus, now: Timestamp) {
    if traces.are_told() {
        for span in told_by(object, new, now) {
            traces.tell(span);
        }
    }
}

fn told_by(object: &RunObject, new: &DatabricksRunStatus, now: Timestamp) -> Vec<Span> {
    let (Some(trace), Some(old)) = (of_request(object), &object.status) else { return Vec::new() };
    let told = Told { trace, object, old, new, now };
    let mut spans = Vec::new();
    spans.extend(told.submit());
    told.run(&mut spans);
    spans.extend(told.request());
    spans
}

struct Told<'a> {
    trace: Trace,
    object: &'a RunObject,
    old: &'a DatabricksRunStatus,
    new: &'a DatabricksRunStatus,
    now: Timestamp,
}

impl Told<'_> {
    /// From the intent to the run's id.
    fn submit(&self) -> Option<Span> {
        let intent = self.old.intent.as_ref()?;
        let run = self.new.run_id.as_deref().filter(|_| self.new.intent.is_none())?;
        let start = system(intent.created_at.as_ref()?);
        Some(Span {
            trace: self.trace,
            id: self.trace.part("submit", &intent.serial.to_string()),
            parent: Some(self.trace.root()),
            kind: SpanKind::Internal,
            name: "submit",
            start,
            end: self.new.submit_time.as_ref().map_or(self.now.into(), system),
            attributes: attributes([
                ("databricks.run_id", text(run)),
                ("dbrun.attempt", Some(i64::from(intent.attempt).into())),
            ]),
            status: Status::Ok,
        })
    }

    /// A run that has ended, with its parts in the order in which Databricks goes through them.
    fn run(&self, spans: &mut Vec<Span>) {
        let under_way = |status| match Phase::of(status) {
            Phase::Live(run) | Phase::Repairing(run) => Some(run),
            _ => None,
        };
        let Some(run) = under_way(self.old).filter(|run| under_way(self.new) != Some(*run)) else { return };
        let run = run.to_string();
        let is_newest = self.new.run_id.as_deref() == Some(&run);
        let past = self.new.attempts.iter().find(|attempt| attempt.run_id.as_deref() == Some(&run));
        let since =
            if is_newest { self.new.start_time.as_ref() } else { past.and_then(|past| past.start_time.as_ref()) };
        // Databricks has told of no start: then it has none to tell of either.
        let Some(start) = since.or(self.old.start_time.as_ref()).or(self.old.submit_time.as_ref()).map(system) else {
            return;
        };
        let id = self.trace.part("run", &run);
        let ended = if is_newest && self.new.completion_time.is_some() {
            self.new.completion_time.as_ref()
        } else {
            past.and_then(|past| past.completion_time.as_ref())
        };
        let end = ended.map_or(self.now.into(), system).max(start);
        let durations = self.new.durations.filter(|_| is_newest).unwrap_or_default();
        let parts = [
            ("queue", durations.queue_millis),
            ("setup", durations.setup_millis),
            ("execution", durations.execution_millis),
            ("cleanup", durations.cleanup_millis),
        ];
        let mut at = start;
        for (name, millis) in parts {
            let Some(took) = millis.and_then(|millis| u64::try_from(millis).ok()).filter(|millis| *millis > 0) else {
                continue;
            };
            let from = at;
            // None goes beyond the run, whatever is said of it.
            at = from.checked_add(Duration::from_millis(took)).unwrap_or(end).min(end);
            spans.push(Span {
                trace: self.trace,
                id: self.trace.part(name, &run),
                parent: Some(id),
                kind: SpanKind::Internal,
                name,
                start: from,
                end: at,
                attributes: Vec::new(),
                status: Status::Unset,
            });
        }
        let own = attributes([
            ("databricks.run_id", text(&run)),
            ("databricks.job_id", self.old.job_id.as_deref().and_then(text)),
            ("databricks.run_page_url", self.new.run_page_url.as_deref().filter(|_| is_newest).and_then(text)),
            ("databricks.result_state", self.new.result_state.as_deref().filter(|_| is_newest).and_then(text)),
            ("dbrun.attempt", self.old.attempt.map(|attempt| i64::from(attempt).into())),
        ]);
        spans.push(Span {
            trace: self.trace,
            id,
            parent: Some(self.trace.root()),
            kind: SpanKind::Internal,
            name: "run",
            start,
            end,
            attributes: own,
            status: past.map_or_else(|| self.verdict(), of_attempt),
        });
    }

    /// The request as a whole: with its verdict, or when a newer one has taken its place.
    fn request(&self) -> Option<Span> {
        if self.old.completion_time.is_some() {
            return None;
        }
        let superseded = self.new.run_key != self.old.run_key && self.old.run_key.is_some();
        if self.new.completion_time.is_none() && !superseded {
            return None;
        }
        let metadata = &self.object.metadata;
        let start = self.old.requested_at.as_ref().or(metadata.creation_timestamp.as_ref()).map(system)?;
        let pin = self.old.workspace.as_ref().or(self.new.workspace.as_ref());
        let state = if superseded { Some("Superseded") } else { self.new.state.as_deref() };
        Some(Span {
            trace: self.trace,
            id: self.trace.root(),
            parent: None,
            kind: SpanKind::Internal,
            name: "DatabricksRun",
            start,
            end: self.new.completion_time.as_ref().filter(|_| !superseded).map_or(self.now.into(), system),
            attributes: attributes([
                ("k8s.namespace.name", metadata.namespace.as_deref().and_then(text)),
                ("dbrun.name", metadata.name.as_deref().and_then(text)),
                ("dbrun.uid", metadata.uid.as_deref().and_then(text)),
                ("dbrun.state", state.and_then(text)),
                ("databricks.host", pin.and_then(|pin| text(&pin.host))),
                ("databricks.run_id", self.new.run_id.as_deref().filter(|_| !superseded).and_then(text)),
            ]),
            status: if superseded { Status::Unset } else { self.verdict() },
        })
    }

    /// Whether the request succeeded, by its condition.
    fn verdict(&self) -> Status {
        let succeeded = self.new.conditions.iter().find(|it| it.type_ == SUCCEEDED);
        match succeeded.map(|it| (it.status.as_str(), &it.reason)) {
            Some(("True", _)) => Status::Ok,
            Some(("False", reason)) => Status::error(reason.clone()),
            _ => Status::Unset,
        }
    }
}

fn of_attempt(past: &AttemptRecord) -> Status {
    if past.state == State::Succeeded.as_str() { Status::Ok } else { Status::error(past.reason.clone()) }
}

fn system(time: &Time) -> SystemTime {
    time.0.into()
}

#[expect(clippy::unnecessary_wraps, reason = "every value of an attribute may be missing")]
fn text(text: &str) -> Option<Value> {
    Some(text.to_owned().into())
}

/// Those that have a value.
fn attributes<const N: usize>(all: [(&'static str, Option<Value>); N]) -> Vec<KeyValue> {
    all.into_iter().filter_map(|(key, value)| Some(KeyValue::new(Key::from_static_str(key), value?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    const NOW: &str = "2026-01-01T01:00:00Z";

    fn object(status: &Json) -> RunObject {
        let metadata = json!({"namespace": "data", "name": "nightly", "uid": "u", "generation": 1});
        let object = json!({"apiVersion": "dbrun.dev/v1alpha1", "kind": "DatabricksRun", "metadata": metadata, "spec": {}, "status": status});
        serde_json::from_value(object).unwrap()
    }

    fn told(old: &Json, new: Json) -> Vec<Span> {
        told_by(&object(old), &serde_json::from_value(new).unwrap(), NOW.parse().unwrap())
    }

    /// The status, with these fields as well; what is null goes.
    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn with(status: &Json, more: Json) -> Json {
        let mut status = status.clone();
        for (name, value) in more.as_object().unwrap() {
            status[name] = value.clone();
        }
        status
    }

    fn live() -> Json {
        json!({
            "runKey": "k", "runId": "7", "jobId": "1", "attempt": 1, "serial": 1, "requestedAt": "2026-01-01T00:00:00Z",
            "submitTime": "2026-01-01T00:00:02Z", "startTime": "2026-01-01T00:00:03Z", "lifeCycleState": "RUNNING",
        })
    }

    fn condition(status: &str, reason: &str) -> Json {
        json!([{
            "type": "Succeeded", "status": status, "reason": reason, "message": "", "lastTransitionTime": NOW,
        }])
    }

    fn seconds(span: &Span) -> (u64, u64) {
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() - 1_767_225_600;
        (since(span.start), since(span.end))
    }

    /// Name, parent's name, beginning and end of each.
    fn tree(spans: &[Span]) -> Vec<(&'static str, &'static str, (u64, u64))> {
        let root = Trace::of("u", "k").root();
        let name = |id| spans.iter().find(|span| span.id == id).map(|span| span.name);
        let parent = |span: &Span| match span.parent {
            None => "",
            Some(id) => name(id).unwrap_or(if id == root { "DatabricksRun" } else { "?" }),
        };
        spans.iter().map(|span| (span.name, parent(span), seconds(span))).collect()
    }

    #[test]
    fn a_run_s_id_ends_its_submit() {
        let intent = json!({
            "runKey": "k", "attempt": 1, "serial": 1, "endpoint": "RunNow", "body": "{}", "holder": "h",
            "createdAt": "2026-01-01T00:00:01Z",
        });
        let spans = told(&json!({"intent": intent, "requestedAt": "2026-01-01T00:00:00Z"}), live());
        assert_eq!(tree(&spans), [("submit", "DatabricksRun", (1, 2))]);
    }

    #[test]
    fn an_end_tells_the_run_with_its_parts_and_the_request() {
        let ended = with(
            &live(),
            json!({
                "lifeCycleState": "TERMINATED", "resultState": "FAILED", "state": "Failed", "completionTime": "2026-01-01T00:10:00Z",
                "conditions": condition("False", "RunFailed"),
                "durations": {"queueMillis": 0, "setupMillis": 240_000, "executionMillis": 350_000, "cleanupMillis": 1000},
            }),
        );
        let spans = told(&live(), ended.clone());
        assert_eq!(
            tree(&spans),
            [
                ("setup", "run", (3, 243)),
                ("execution", "run", (243, 593)),
                ("cleanup", "run", (593, 594)),
                ("run", "DatabricksRun", (3, 600)),
                ("DatabricksRun", "", (0, 600)),
            ]
        );
        assert!(spans[3..].iter().all(|span| span.status == Status::error("RunFailed")), "{spans:?}");
        assert_eq!(told(&ended, with(&ended, json!({"outputs": [{"taskKey": "a"}]}))), [], "it is told once");
    }

    #[test]
    fn an_attempt_that_is_followed_by_another_ends_its_run_and_not_the_request() {
        let past = json!([{
            "runKey": "k", "attempt": 1, "serial": 1, "runId": "7", "state": "TimedOut", "reason": "RunTimedOut",
            "startTime": "2026-01-01T00:00:03Z", "completionTime": "2026-01-01T00:00:33Z",
        }]);
        let waiting = with(&live(), json!({"backoff": {"action": "Retry", "until": NOW}, "attempts": past}));
        let spans = told(&live(), waiting.clone());
        assert_eq!(tree(&spans), [("run", "DatabricksRun", (3, 33))]);
        assert_eq!(spans[0].status, Status::error("RunTimedOut"));
        assert_eq!(told(&waiting, with(&waiting, json!({"resultState": "TIMEDOUT"}))), []);
    }

    #[test]
    fn a_request_that_another_takes_the_place_of_ends_without_a_verdict() {
        let spans = told(&live(), json!({"runKey": "l", "requestedAt": NOW}));
        assert_eq!(tree(&spans), [("run", "DatabricksRun", (3, 3600)), ("DatabricksRun", "", (0, 3600))]);
        assert_eq!(spans[1].status, Status::Unset);
        assert!(spans[1].attributes.contains(&KeyValue::new("dbrun.state", "Superseded")), "{spans:?}");
    }

    #[test]
    fn nothing_ends_while_a_run_goes_on() {
        assert_eq!(told(&live(), with(&live(), json!({"lifeCycleState": "TERMINATING"}))), []);
        assert_eq!(told(&json!({"requestedAt": NOW}), live()), [], "an object without a run key has no trace yet");
    }

    #[test]
    fn times_that_make_no_sense_cost_nothing_but_themselves() {
        let durations = json!({"queueMillis": -5, "setupMillis": i64::MAX, "executionMillis": 1000});
        let ended = with(
            &live(),
            json!({"completionTime": "2025-01-01T00:00:00Z", "durations": durations, "conditions": condition("True", "RunSucceeded")}),
        );
        let spans = told(&live(), ended);
        assert!(spans.iter().any(|span| span.name == "DatabricksRun" && span.status == Status::Ok), "{spans:?}");
        let run = spans.iter().find(|span| span.name == "run").unwrap();
        assert!(spans.iter().filter(|span| span.parent == Some(run.id)).all(|part| part.end <= run.end), "{spans:?}");
    }
}
