//! The CEL rules of the CRDs, judged without a cluster: every row of `refused.yaml` that a rule decides is refused with
//! its message, and the samples pass. `e2e/tests/admission.rs` puts the same table before a real API server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use databricks_run_operator::api::{admission, body, crd};
use kube::core::cel::Validator;
use serde_json::{Value, json};

fn schema(kind: &str) -> Value {
    let crd = crd::crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    let mut schema = serde_json::to_value(&crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema).unwrap();
    spell_for_kube_cel(&mut schema);
    schema
}

/// kube-cel 0.8 binds the field `job_id` as `job__id`, unlike the API server, which escapes only double underscores.
fn spell_for_kube_cel(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(spell_for_kube_cel),
        Value::Object(fields) => {
            if let Some(Value::String(rule)) = fields.get_mut("rule") {
                *rule = rule.replace('_', "__");
            }
            fields.values_mut().for_each(spell_for_kube_cel);
        }
        _ => {}
    }
}

/// What the rules say against a spec, one line each; empty when nothing.
fn judge(schema: &Value, spec: &Value, was: Option<&Value>) -> String {
    let object = json!({"spec": spec});
    let old = was.map(|was| json!({"spec": was}));
    match Validator::new().validate(schema, &object, old.as_ref()) {
        Ok(()) => String::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

#[test]
fn every_bad_spec_is_refused_with_its_message() {
    let table: Value = serde_saphyr::from_str(include_str!("refused.yaml")).unwrap();
    for (kind, rows) in [
        ("DatabricksRun", "runs"),
        ("DatabricksWorkspace", "workspaces"),
        ("ClusterDatabricksWorkspace", "clusterWorkspaces"),
    ] {
        let schema = schema(kind);
        for row in table[rows].as_array().unwrap().iter().filter(|row| row["by"] != "schema") {
            let said = judge(&schema, &row["spec"], row.get("was"));
            assert!(said.contains(row["says"].as_str().unwrap()), "{kind} with {}: said {said:?}", row["name"]);
        }
    }
}

#[test]
fn the_samples_break_no_rule() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/config/samples");
    let mut seen = 0;
    for entry in std::fs::read_dir(samples).unwrap() {
        let path = entry.unwrap().path();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let ours =
            documents.iter().filter(|document| document["apiVersion"].as_str().unwrap().starts_with("dbrun.dev/"));
        for document in ours {
            let said = judge(&schema(document["kind"].as_str().unwrap()), &document["spec"], None);
            assert_eq!(said, "", "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} objects in {samples}");
}

#[test]
fn every_kind_of_task_is_counted_by_the_rule_of_one_kind() {
    let fields = body::task_schema()["properties"].as_object().unwrap();
    let kinds: Vec<_> = fields.keys().filter(|field| field.ends_with("_task")).collect();
    let rule = admission::TASK[0].rule;
    for kind in &kinds {
        assert!(rule.contains(&format!("has(self.{kind})")), "the rule does not count `{kind}`");
    }
    assert_eq!(rule.matches("has(").count(), kinds.len(), "the rule counts what is no field");
}

#[test]
fn every_rule_of_the_definitions_stands_in_the_table_of_refusals() {
    let says = include_str!("refused.yaml").replace("\\\"", "\"");
    let mut rules = Vec::new();
    for crd in crd::crds() {
        collect(&serde_json::to_value(crd).unwrap(), &mut rules);
    }
    for message in rules {
        let words = says.lines().filter_map(|line| line.trim().strip_prefix("says: "));
        let tested = words.map(|words| words.trim_matches(['"', '\''])).any(|words| message.contains(words));
        assert!(tested, "no row of refused.yaml is refused with {message:?}");
    }
}

fn collect(value: &Value, messages: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, messages)),
        Value::Object(fields) => {
            for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                messages.push(rule["message"].as_str().unwrap().to_owned());
            }
            fields.values().for_each(|value| collect(value, messages));
        }
        _ => {}
    }
}
