//! What is generated: `crds/*.yaml` and `docs/api-reference.md` are what the types say, `config/argocd/argocd-cm.yaml` is made
//! of the scripts beside it, what of chart and kustomize is made from other files is the same, and the schemas keep what
//! Kubernetes and its users expect of them. `UPDATE=1 cargo test --test generated` writes the files anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod argocd;
mod copies;
mod reference;

use std::path::{Path, PathBuf};
use std::process::Command;

use databricks_run_operator::api::crd::{crd_files, crds};
use serde_json::{Map, Value};

/// Bytes of JSON that a definition may have: `kubectl apply` stores it twice in 256 KiB.
const MAX_CRD_BYTES: usize = 128 * 1024;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Compares a file with what it must hold, or writes it when asked to.
fn hold(path: &Path, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    if found != text {
        let line = found.lines().zip(text.lines()).position(|(a, b)| a != b).unwrap_or_default() + 1;
        panic!(
            "{} differs from what it is made of from line {line}; run: UPDATE=1 cargo test --test generated",
            path.display()
        );
    }
}

#[test]
fn the_definitions_are_what_the_code_says() {
    let files = crd_files();
    for (name, text) in &files {
        hold(&root("crds").join(name), text);
    }
    let stray = std::fs::read_dir(root("crds")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stray: Vec<_> = stray.filter(|name| !files.iter().any(|(file, _)| file == name)).collect();
    assert!(stray.is_empty(), "crds/ holds files that no kind makes: {stray:?}");
}

#[test]
fn the_binary_prints_what_crds_holds() {
    let files = crd_files();
    assert!(files.is_sorted_by_key(|(name, _)| name), "`cat crds/*` reads in the order of the names");
    let all: String = files.into_iter().map(|(_, text)| text).collect();
    let printed = Command::new(env!("CARGO_BIN_EXE_databricks-run-operator")).arg("crds").output().unwrap();
    assert!(printed.status.success());
    // Not assert_eq: nobody reads two thousand lines twice.
    assert!(String::from_utf8(printed.stdout).unwrap() == all, "`crds` prints something else than cat crds/*.yaml");
}

#[test]
fn the_reference_is_what_the_code_says() {
    hold(&root("docs/api-reference.md"), &reference::page(&crds()));
}

#[test]
fn the_config_map_for_argo_cd_is_made_of_the_scripts() {
    hold(&root("config/argocd/argocd-cm.yaml"), &argocd::config_map(&root("config/argocd/resource_customizations")));
}

#[test]
fn each_definition_fits_into_what_kubectl_apply_can_store() {
    for crd in crds() {
        let bytes = serde_json::to_vec(&crd).unwrap().len();
        assert!(bytes < MAX_CRD_BYTES, "{:?} has {bytes} bytes as JSON", crd.metadata.name);
    }
}

#[test]
fn a_fresh_object_is_unknown_to_everybody() {
    for (kind, expected) in [
        ("DatabricksRun", "Ready Succeeded Finished"),
        ("DatabricksWorkspace", "Ready"),
        ("ClusterDatabricksWorkspace", "Ready"),
    ] {
        let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let status = schema.pointer("/openAPIV3Schema/properties/status/default").unwrap();
        assert_eq!(status["observedGeneration"], -1);
        let conditions = status["conditions"].as_array().unwrap();
        let types: Vec<_> = conditions.iter().map(|condition| condition["type"].as_str().unwrap()).collect();
        assert_eq!(types.join(" "), expected);
        for condition in conditions {
            assert_eq!((&condition["status"], &condition["reason"]), (&"Unknown".into(), &"Pending".into()));
            assert_eq!(condition["lastTransitionTime"], "1970-01-01T00:00:00Z");
        }
    }
}

/// Calls `look` with every schema in every definition and the path to it.
fn every_schema(mut look: impl FnMut(&str, &Map<String, Value>)) {
    for crd in crds() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        walk(&crd.spec.names.kind, &schema["openAPIV3Schema"], &mut look);
    }
}

fn walk(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Map<String, Value>)) {
    let Value::Object(fields) = schema else { return };
    look(path, fields);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, look);
    }
    for (within, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        walk(&format!("{path}{mark}"), &schema[within], look);
    }
}

#[test]
fn every_field_is_described_for_kubectl_explain() {
    every_schema(|path, schema| {
        let element = path.ends_with("[]") || path.ends_with(".*");
        let described = schema.get("description").and_then(Value::as_str).is_some_and(|text| text.ends_with('.'));
        assert!(element || described, "{path} has no description, or one that is no sentence");
    });
}

#[test]
fn nothing_in_a_schema_rewrites_or_puzzles() {
    every_schema(|path, schema| {
        for unwanted in ["nullable", "title", "anyOf", "oneOf", "allOf", "$ref"] {
            assert!(!schema.contains_key(unwanted), "{path} has `{unwanted}`");
        }
        let defaulted = schema.contains_key("default");
        assert_eq!(defaulted, path.ends_with("Run.status") || path.ends_with("Workspace.status"), "default of {path}");
        if let Some(format) = schema.get("format") {
            assert!(["int32", "int64", "date-time"].map(Value::from).contains(format), "{path} has format {format}");
        }
    });
}

#[test]
fn everything_is_bounded_and_every_list_has_a_type() {
    every_schema(|path, schema| {
        let has = |key: &str| schema.contains_key(key);
        let bounded = match schema.get("type").and_then(Value::as_str) {
            Some("array") => has("maxItems") && has("x-kubernetes-list-type"),
            Some("string") => has("maxLength") || has("enum") || has("format"),
            Some("object") => !has("additionalProperties") || has("maxProperties"),
            Some(_) => true,
            None => has("x-kubernetes-int-or-string") && has("maxLength"),
        };
        assert!(bounded, "{path}: {schema:?}");
        if path.ends_with(".conditions") {
            assert_eq!(schema["x-kubernetes-list-map-keys"], serde_json::json!(["type"]), "{path}");
        }
    });
}

#[test]
fn unknown_fields_pass_through_every_object_of_a_body() {
    every_schema(|path, schema| {
        let body = path.contains(".spec.runNow") || path.contains(".spec.submit");
        if body && schema.get("type") == Some(&"object".into()) && !schema.contains_key("additionalProperties") {
            assert!(schema.contains_key("x-kubernetes-preserve-unknown-fields"), "{path}");
        }
    });
}
