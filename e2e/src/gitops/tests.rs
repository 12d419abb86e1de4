//! The scripts, the rules and the expressions over the objects in `testdata/`. No cluster is needed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::argocd::{Request, Scripts, run};
use super::stages::{ALL, Stage};
use super::{hold, kstatus};

const COMMAND: &str = "cargo test -p e2e --lib gitops::";

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap()
}

fn runs() -> impl Iterator<Item = &'static Stage> {
    ALL.iter().filter(|stage| stage.kind == "DatabricksRun")
}

/// What an action is to change, and nothing else; a time stands for itself.
fn change(action: &str) -> Value {
    match action {
        "suspend" => json!({"spec": {"suspend": true}}),
        "resume" => json!({"spec": {"suspend": false}}),
        token => {
            json!({"metadata": {"annotations": {format!("dbrun.dev/{token}-requested-at"): "0001-01-01T00:00:00Z"}}})
        }
    }
}

/// A patch whose token has the time that `change` has. It must be one of now.
fn timeless(mut patch: Value) -> Value {
    let annotations = patch.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    for (_, token) in annotations.into_iter().flatten() {
        let time: k8s_openapi::jiff::Timestamp = token.as_str().unwrap().parse().unwrap();
        assert!(k8s_openapi::jiff::Timestamp::now().as_second() - time.as_second() < 3600, "{time} is not now");
        *token = json!("0001-01-01T00:00:00Z");
    }
    patch
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *into = patch.clone();
        return;
    };
    for (name, member) in members {
        merge(&mut into[name], member);
    }
}

#[test]
fn every_tool_makes_of_every_stage_what_the_contract_says() {
    for stage in ALL {
        stage.hold(&stage.object());
    }
}

#[test]
fn every_file_of_testdata_has_a_row_in_the_contract() {
    for kind in ["DatabricksRun", "DatabricksWorkspace", "ClusterDatabricksWorkspace"] {
        let folder = Scripts::of_kind(kind).folder.join("testdata");
        let files: BTreeSet<String> =
            folder.read_dir().unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let rows = ALL.iter().filter(|stage| stage.kind == kind).map(|stage| format!("{}.yaml", stage.name));
        assert_eq!(files, rows.collect(), "{kind}");
    }
}

#[test]
fn an_action_changes_what_it_says_and_nothing_else_of_any_object() {
    let scripts = Scripts::of_kind("DatabricksRun");
    for stage in runs() {
        let object = stage.object();
        for action in scripts.defined() {
            let patch = timeless(scripts.patch(&action, &object));
            let is_so = match action.as_str() {
                "suspend" => object["spec"]["suspend"] == true,
                "resume" => object["spec"]["suspend"] == false,
                _ => false,
            };
            let expected = if is_so { json!({}) } else { change(&action) };
            assert_eq!(patch, expected, "{action} of {}", stage.name);
        }
    }
}

#[test]
fn ids_that_no_float_can_hold_stay_as_they_are() {
    const ID: i64 = (1 << 53) + 1;
    let mut object = Stage::named("DatabricksRun", "degraded_failed").object();
    object["spec"] = json!({
        "runNow": {"job_id": ID, "job_parameters": {}, "new": [[], [ID]]},
        "submit": {"tasks": [{"task_key": "a", "run_job_task": {"job_id": ID, "job_parameters": {}}, "libraries": []}]},
    });
    let scripts = Scripts::of_kind("DatabricksRun");
    let seen = run(&[Request { script: "return {id = obj.spec.runNow.job_id}".to_owned(), object: object.clone() }]);
    assert_eq!(seen[0].as_ref().unwrap()["id"], ID - 1, "Lua has floats only, which is what this test is about");
    for action in scripts.defined() {
        assert_eq!(timeless(scripts.patch(&action, &object)), change(&action), "{action}");
    }
}

#[test]
fn every_action_is_offered_somewhere_and_every_offer_is_defined() {
    let scripts = Scripts::of_kind("DatabricksRun");
    let offered: BTreeSet<String> = runs().flat_map(|stage| stage.actions).map(|name| (*name).to_owned()).collect();
    assert_eq!(offered, scripts.defined().into_iter().collect());
}

/// The object without each of its members in turn, at any depth.
fn without_each_member(object: &Value) -> Vec<Value> {
    let mut lacking = Vec::new();
    match object {
        Value::Object(members) => {
            for (name, member) in members {
                let mut less = members.clone();
                less.remove(name);
                lacking.push(Value::Object(less));
                for other in without_each_member(member) {
                    let mut changed = members.clone();
                    changed.insert(name.clone(), other);
                    lacking.push(Value::Object(changed));
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                for other in without_each_member(item) {
                    let mut changed = items.clone();
                    changed[index] = other;
                    lacking.push(Value::Array(changed));
                }
            }
        }
        _ => {}
    }
    lacking
}

#[test]
fn whatever_an_object_lacks_the_scripts_have_an_answer() {
    let mut requests = Vec::new();
    for stage in ALL {
        let scripts = Scripts::of_kind(stage.kind);
        for object in without_each_member(&stage.object()) {
            // What the API server never leaves out.
            if object["metadata"].is_null() || object["spec"].is_null() || object["apiVersion"].is_null() {
                continue;
            }
            let kind = object["status"]["conditions"].as_array().into_iter().flatten();
            if kind.into_iter().any(|condition| condition["type"].is_null()) {
                continue;
            }
            requests.push(Request { script: scripts.read("health.lua"), object: object.clone() });
            if stage.kind == "DatabricksRun" {
                requests.push(Request { script: scripts.read("actions/discovery.lua"), object });
            }
        }
    }
    assert!(requests.len() > 1000, "{}", requests.len());
    for (request, answer) in requests.iter().zip(run(&requests)) {
        assert!(answer.is_ok(), "{answer:?}\n{:#}", request.object);
    }
}

#[test]
fn the_machine_is_as_bare_as_argo_cd_s() {
    let has = |what: &str| Request { script: format!("return {{has = {what} ~= nil}}"), object: json!({}) };
    let asked = ["ipairs", "table.concat", "require('os').date", "require('os').time"];
    let refused = ["string", "math", "io", "os", "debug", "require('os').exit", "require('os').getenv"];
    for (what, expected) in asked.map(|it| (it, true)).into_iter().chain(refused.map(|it| (it, false))) {
        assert_eq!(run(&[has(what)])[0], Ok(json!({"has": expected})), "{what}");
    }
    let endless = Request { script: "while true do end".to_owned(), object: json!({}) };
    assert!(run(&[endless])[0].as_ref().is_err_and(|error| error.contains("deadline")));
}

#[test]
fn a_workspace_of_the_cluster_has_the_script_of_one_in_a_namespace() {
    let read = |kind| Scripts::of_kind(kind).read("health.lua");
    assert_eq!(read("ClusterDatabricksWorkspace"), read("DatabricksWorkspace"));
}

#[test]
fn an_object_without_a_status_is_current_to_kstatus_which_is_why_ours_have_one_from_the_start() {
    let mut object = Stage::named("DatabricksRun", "progressing_unseen").object();
    assert_eq!(kstatus::compute(&object), kstatus::Status::InProgress);
    object.as_object_mut().unwrap().remove("status");
    assert_eq!(kstatus::compute(&object), kstatus::Status::Current);
}

/// `health_test.yaml` and `action_test.yaml`, with which Argo CD's own tests hold the scripts to the same contract.
#[test]
fn the_tests_for_argo_cd_say_what_the_contract_says() {
    for kind in ["DatabricksRun", "DatabricksWorkspace", "ClusterDatabricksWorkspace"] {
        let scripts = Scripts::of_kind(kind);
        let mut tests = Vec::new();
        for stage in ALL.iter().filter(|stage| stage.kind == kind) {
            let script = scripts.read("health.lua");
            // The script alone: Argo CD's tests do not ask whether the object is being deleted.
            let health = run(&[Request { script, object: stage.object() }]).remove(0).unwrap();
            tests.push(json!({"inputPath": stage.path(), "healthStatus": health}));
        }
        hold(&scripts.folder.join("health_test.yaml"), &yaml(&json!({"tests": tests})), COMMAND);
    }
    let scripts = Scripts::of_kind("DatabricksRun");
    let mut discovery = Vec::new();
    for stage in runs() {
        let shown = scripts.actions(&stage.object()).into_iter().map(|(name, mut action)| {
            action["name"] = json!(name);
            action
        });
        discovery.push(json!({"inputPath": format!("../{}", stage.path()), "result": shown.collect::<Vec<_>>()}));
    }
    let mut actions = Vec::new();
    for (action, on) in [
        ("cancel", "progressing_running"),
        ("repair", "degraded_failed"),
        ("rerun", "healthy"),
        ("resume", "suspended"),
        ("suspend", "progressing_running"),
    ] {
        let stage = Stage::named("DatabricksRun", on);
        let mut object = stage.object();
        let patch = timeless(scripts.patch(action, &object));
        merge(&mut object, &patch);
        let output = format!("testdata/{action}.yaml");
        hold(&scripts.folder.join("actions").join(&output), &yaml(&object), COMMAND);
        let input = format!("../{}", stage.path());
        actions.push(json!({"action": action, "inputPath": input, "expectedOutputPath": output}));
    }
    let tests = json!({"discoveryTests": discovery, "actionTests": actions});
    hold(&scripts.folder.join("actions/action_test.yaml"), &yaml(&tests), COMMAND);
}
