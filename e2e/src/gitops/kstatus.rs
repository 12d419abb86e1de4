//! The rules of kstatus for custom resources, after its documentation
//! (<https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>): Flux, Helm 4 and kpt wait by them.

use serde_json::Value;

/// What kstatus makes of an object that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Not yet as its spec says.
    InProgress,
    /// It will not come to be as its spec says.
    Failed,
    /// As its spec says.
    Current,
    /// Being deleted.
    Terminating,
}

/// Computes it. The first rule that applies decides.
#[must_use]
pub fn compute(object: &Value) -> Status {
    let (metadata, status) = (&object["metadata"], &object["status"]);
    if !metadata["deletionTimestamp"].is_null() {
        return Status::Terminating;
    }
    let seen = &status["observedGeneration"];
    if !seen.is_null() && *seen != metadata["generation"] {
        return Status::InProgress;
    }
    let conditions = || status["conditions"].as_array().into_iter().flatten();
    for condition in conditions().filter(|condition| condition["status"] == "True") {
        match condition["type"].as_str() {
            Some("Reconciling") => return Status::InProgress,
            Some("Stalled") => return Status::Failed,
            _ => {}
        }
    }
    match conditions().find(|condition| condition["type"] == "Ready") {
        Some(ready) if ready["status"] != "True" => Status::InProgress,
        // Without the condition an object is taken for one that nobody has to act upon.
        _ => Status::Current,
    }
}
