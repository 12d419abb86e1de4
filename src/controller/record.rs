//! Record: status and metadata changes as patches that touch nothing but what is ours, and fail when the object has
//! changed since it was read. A status is never replaced whole: fields of a newer version would be lost.

use serde_json::{Map, Value, json};

use crate::api::run::{FINALIZER, RunObject, START_ANNOTATION};
use crate::api::status::DatabricksRunStatus;
use crate::lifecycle::MetadataChange;

/// The merge patch from the object's status to the new one; none when they are the same.
pub(super) fn status_patch(object: &RunObject, new: &DatabricksRunStatus) -> Result<Option<Value>, serde_json::Error> {
    let old = serde_json::to_value(object.status.clone().unwrap_or_default())?;
    let new = serde_json::to_value(new)?;
    Ok(difference(&old, &new)
        .map(|status| json!({"metadata": {"resourceVersion": object.metadata.resource_version}, "status": status})))
}

/// A JSON merge patch (RFC 7386) that turns `old` into `new`; none when nothing has to change.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return Some(new.clone()) };
    let mut patch = Map::new();
    for (name, value) in new {
        match old.get(name) {
            Some(before) => patch.extend(difference(before, value).map(|change| (name.clone(), change))),
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

/// The JSON patch that makes a metadata change; none when it is made already.
pub(super) fn metadata_patch(object: &RunObject, change: &MetadataChange) -> Option<Value> {
    let metadata = &object.metadata;
    // A version that is not the newest any more is answered with 409. (A failed `test` would be a 422 without a cause.)
    let mut operations =
        vec![json!({"op": "replace", "path": "/metadata/resourceVersion", "value": metadata.resource_version})];
    match change {
        MetadataChange::Hold { serial } => {
            if !object.is_held() {
                operations.push(match &metadata.finalizers {
                    Some(_) => json!({"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER}),
                    None => json!({"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]}),
                });
            }
            let mark = format!("{}/{serial}", metadata.uid.as_deref().unwrap_or_default());
            if object.annotation(START_ANNOTATION) != Some(&mark) {
                operations.push(match &metadata.annotations {
                    Some(_) => json!({"op": "add", "path": format!("/metadata/annotations/{}", escaped(START_ANNOTATION)), "value": mark}),
                    None => json!({"op": "add", "path": "/metadata/annotations", "value": {START_ANNOTATION: mark}}),
                });
            }
        }
        MetadataChange::Release { .. } => {
            let position = metadata.finalizers.iter().flatten().position(|finalizer| finalizer == FINALIZER);
            if let Some(position) = position {
                operations.push(json!({"op": "remove", "path": format!("/metadata/finalizers/{position}")}));
            }
        }
    }
    (operations.len() > 1).then_some(Value::Array(operations))
}

/// A name within a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> RunObject {
        let mut whole = json!({"apiVersion": "dbrun.dev/v1alpha1", "kind": "DatabricksRun", "spec": {}});
        whole["metadata"] = value;
        whole["metadata"]["resourceVersion"] = json!("7");
        whole["metadata"]["uid"] = json!("u");
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn a_status_patch_names_what_changed_and_removes_what_went() {
        let mut object = object(json!({}));
        object.status = Some(DatabricksRunStatus {
            run_id: Some("1".into()),
            serial: Some(1),
            state: Some("Running".into()),
            ..DatabricksRunStatus::default()
        });
        let new =
            DatabricksRunStatus { serial: Some(1), state: Some("Succeeded".into()), ..DatabricksRunStatus::default() };
        assert_eq!(
            status_patch(&object, &new).unwrap().unwrap(),
            json!({"metadata": {"resourceVersion": "7"}, "status": {"runId": null, "state": "Succeeded"}})
        );
        assert_eq!(status_patch(&object, object.status.as_ref().unwrap()).unwrap(), None);
    }

    #[test]
    fn holding_touches_our_entries_alone() {
        let hold = MetadataChange::Hold { serial: 3 };
        let version = json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"});
        assert_eq!(
            metadata_patch(&object(json!({})), &hold).unwrap(),
            json!([version,
                {"op": "add", "path": "/metadata/finalizers", "value": ["dbrun.dev/run"]},
                {"op": "add", "path": "/metadata/annotations", "value": {"dbrun.dev/start": "u/3"}}])
        );
        let others = object(json!({"finalizers": ["argo"], "annotations": {"a": "b"}}));
        assert_eq!(
            metadata_patch(&others, &hold).unwrap(),
            json!([version,
                {"op": "add", "path": "/metadata/finalizers/-", "value": "dbrun.dev/run"},
                {"op": "add", "path": "/metadata/annotations/dbrun.dev~1start", "value": "u/3"}])
        );
        let done = object(json!({"finalizers": ["dbrun.dev/run"], "annotations": {"dbrun.dev/start": "u/3"}}));
        assert_eq!(metadata_patch(&done, &hold), None);
    }

    #[test]
    fn releasing_removes_our_finalizer_and_keeps_the_others() {
        let release = MetadataChange::Release { announce: Vec::new() };
        let held = object(json!({"finalizers": ["argo", "dbrun.dev/run", "flux"]}));
        let patch = metadata_patch(&held, &release).unwrap();
        assert_eq!(patch[1], json!({"op": "remove", "path": "/metadata/finalizers/1"}));
        assert_eq!(metadata_patch(&object(json!({"finalizers": ["argo"]})), &release), None);
    }
}
