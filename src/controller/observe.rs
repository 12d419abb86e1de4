//! Observe: from an object as it was watched, what a decision needs to know of it.

use super::marks::kept_by;
use crate::api::run::{
    CANCEL_ANNOTATION, DatabricksRunSpec, REPAIR_ANNOTATION, RERUN_ANNOTATION, RunObject, START_ANNOTATION,
};
use crate::api::status::DatabricksRunStatus;
use crate::api::workspace::WorkspaceKind;
use crate::lifecycle::{Phase, Subject};

/// Whether the object's newest request has ended.
pub(super) fn is_done(object: &RunObject) -> bool {
    object.status.as_ref().is_some_and(|status| status.completion_time.is_some())
}

/// Whether nothing is to be done for an object: its newest request has ended, nothing of it is held, and nothing was asked
/// of it since that the status does not know of. What was asked while no operator was there, and could not be begun at
/// the first look, waits like anything else.
pub(super) fn is_done_with(object: &RunObject) -> bool {
    let Some(status) = &object.status else { return false };
    let handled = |annotation, handled: &Option<String>| {
        object.annotation(annotation).is_none_or(|token| handled.as_deref() == Some(token))
    };
    status.completion_time.is_some()
        && !object.is_held()
        && status.observed_generation == object.metadata.generation
        && handled(RERUN_ANNOTATION, &status.last_handled_rerun)
        && handled(REPAIR_ANNOTATION, &status.last_handled_repair)
}

/// An object with its spec decoded, once per look.
pub(super) struct Looked<'a> {
    object: &'a RunObject,
    spec: Result<DatabricksRunSpec, String>,
    no_status: DatabricksRunStatus,
}

impl<'a> Looked<'a> {
    pub(super) fn at(object: &'a RunObject) -> Self {
        let spec = object.spec().map_err(|error| error.to_string());
        Self { object, spec, no_status: DatabricksRunStatus::default() }
    }

    pub(super) fn spec(&self) -> Result<&DatabricksRunSpec, &str> {
        self.spec.as_ref().map_err(String::as_str)
    }

    pub(super) fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or_default()
    }

    pub(super) fn status(&self) -> &DatabricksRunStatus {
        self.object.status.as_ref().unwrap_or(&self.no_status)
    }

    /// `keep_keys` are the administrator's marks of tools that would put a deleted object back.
    pub(super) fn subject<'b>(&'b self, keep_keys: &[String]) -> Subject<'b> {
        let metadata = &self.object.metadata;
        Subject {
            uid: metadata.uid.as_deref().unwrap_or_default(),
            generation: self.generation(),
            deletion: metadata.deletion_timestamp.as_ref().map(|time| time.0),
            held: self.object.is_held(),
            start_mark: self.object.annotation(START_ANNOTATION),
            rerun: self.object.annotation(RERUN_ANNOTATION),
            cancel: self.object.annotation(CANCEL_ANNOTATION),
            repair: self.object.annotation(REPAIR_ANNOTATION),
            kept_by: kept_by(metadata, keep_keys),
            spec: self.spec(),
            status: self.status(),
        }
    }

    /// The workspace object that counts: the one a run was sent to while one is under way, else the spec's.
    pub(super) fn workspace(&self) -> Option<(WorkspaceKind, &str)> {
        let status = self.status();
        let pinned = status.workspace.as_ref().and_then(|pin| Some((WorkspaceKind::of(&pin.kind)?, pin.name.as_str())));
        match Phase::of(status) {
            Phase::Idle => self.spec().ok().map(|spec| (spec.workspace_ref.kind(), spec.workspace_ref.name.as_str())),
            Phase::Open(_) | Phase::Live(_) | Phase::Backoff(_) | Phase::Repairing(_) | Phase::Unreadable => pinned,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(metadata: &serde_json::Value, status: &serde_json::Value) -> RunObject {
        let text = json!({"metadata": metadata, "spec": {}, "status": status});
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn an_ended_run_of_which_more_was_asked_is_not_done_with() {
        let ended = json!({"observedGeneration": 1, "completionTime": "2026-01-01T00:00:00Z", "lastHandledRerun": "a"});
        let asked = |name: &str, token: &str| json!({"generation": 1, "annotations": {name: token}});
        for (metadata, done) in [
            (json!({"generation": 1}), true),
            (asked(RERUN_ANNOTATION, "a"), true),
            (json!({"generation": 2}), false),
            (asked(RERUN_ANNOTATION, "b"), false),
            (asked(REPAIR_ANNOTATION, "a"), false),
            (json!({"generation": 1, "finalizers": [crate::api::run::FINALIZER]}), false),
        ] {
            assert_eq!(is_done_with(&object(&metadata, &ended)), done, "{metadata}");
        }
        assert!(!is_done_with(&object(&json!({"generation": 1}), &json!({"observedGeneration": 1}))));
    }
}
