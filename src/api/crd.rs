//! The custom resource definitions, as they are installed. What kube's derive emits is put right here: no `nullable`, no
//! `title`, no defaults in what users write, no formats that Kubernetes does not know, bounds and list types everywhere,
//! and a default on `status` which says that nobody has seen the object yet.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::cluster_workspace::ClusterDatabricksWorkspace;
use super::conditions::{FINISHED, READY, Reason, SUCCEEDED};
use super::run::DatabricksRun;
use super::workspace::DatabricksWorkspace;

/// Bounds where a field states none: far above what anybody writes, low enough for the API server's cost estimates.
const MAX_LENGTH: u64 = 32_768;
const MAX_ITEMS: u64 = 1_000;
const MAX_PROPERTIES: u64 = 1_000;

/// Every kind's definition.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        finished(ClusterDatabricksWorkspace::crd(), &[READY]),
        finished(DatabricksRun::crd(), &[READY, SUCCEEDED, FINISHED]),
        finished(DatabricksWorkspace::crd(), &[READY]),
    ]
}

/// Every definition's file under `crds/` and its text. `databricks-run-operator crds` prints the texts in this order,
/// which is the order of the names.
#[must_use]
pub fn crd_files() -> Vec<(String, String)> {
    crds().iter().map(|crd| (format!("{}.yaml", crd.metadata.name.as_deref().unwrap_or_default()), yaml(crd))).collect()
}

/// All definitions in one stream of YAML documents.
#[must_use]
pub fn crds_yaml() -> String {
    crd_files().into_iter().map(|(_, text)| text).collect()
}

#[expect(clippy::expect_used, reason = "made of this crate's own types alone, and every test makes it")]
fn finished(crd: CustomResourceDefinition, conditions: &[&str]) -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(crd).expect("a definition is JSON");
    let versions = crd.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
    for version in versions.into_iter().flatten() {
        if let Some(Value::Object(schema)) = version.pointer_mut("/schema/openAPIV3Schema") {
            tidy(schema);
        }
        if let Some(status) = version.pointer_mut("/schema/openAPIV3Schema/properties/status") {
            status["default"] = unseen(conditions);
        }
    }
    serde_json::from_value(crd).expect("a definition stays one")
}

/// The status of an object that no operator has seen: in progress to kstatus, and never null to whoever reads it.
fn unseen(conditions: &[&str]) -> Value {
    let condition = |kind: &&str| {
        json!({
            "type": kind,
            "status": "Unknown",
            "reason": Reason::Pending.as_str(),
            "message": "Waiting for the operator",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    };
    json!({"observedGeneration": -1, "conditions": conditions.iter().map(condition).collect::<Vec<_>>()})
}

/// Puts one schema right, and all within it.
fn tidy(schema: &mut Map<String, Value>) {
    for unwanted in ["nullable", "title", "default"] {
        schema.remove(unwanted);
    }
    if schema.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        schema.remove("format");
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    bound(schema);
    for within in ["items", "additionalProperties"] {
        if let Some(Value::Object(schema)) = schema.get_mut(within) {
            tidy(schema);
        }
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(tidy);
    }
}

/// Gives every list a type, and every list, string and map a bound. A list without keys is one value to server-side
/// apply.
fn bound(schema: &mut Map<String, Value>) {
    let bounds = match schema.get("type").and_then(Value::as_str) {
        Some("array") => vec![("x-kubernetes-list-type", json!("atomic")), ("maxItems", json!(MAX_ITEMS))],
        Some("string") if !schema.contains_key("enum") && !schema.contains_key("format") => {
            vec![("maxLength", json!(MAX_LENGTH))]
        }
        Some("object") if schema.contains_key("additionalProperties") => vec![("maxProperties", json!(MAX_PROPERTIES))],
        _ => Vec::new(),
    };
    for (key, value) in bounds {
        schema.entry(key).or_insert(value);
    }
}

/// One definition as a YAML document.
#[expect(clippy::expect_used, reason = "made of this crate's own types alone, and every test makes it")]
fn yaml(crd: &CustomResourceDefinition) -> String {
    let mut value = serde_json::to_value(crd).expect("a definition is JSON");
    whole_numbers(&mut value);
    let text = serde_saphyr::to_string(&value).expect("JSON is YAML");
    format!("---\n# Generated from src/api by `UPDATE=1 cargo test --test generated`. Do not edit.\n{text}")
}

/// Bounds are floating point in the definition's types; `3600.0` would be an odd sight.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Number(number) => {
            if let Ok(whole) = number.to_string().trim_end_matches(".0").parse::<i64>() {
                *value = whole.into();
            }
        }
        _ => {}
    }
}
