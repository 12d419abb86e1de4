//! What a real API server says to good and bad manifests: the table that `tests/admission` judges by the rules alone,
//! the samples, and what users see of an object before any operator has.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use databricks_run_operator::api::cluster_workspace::ClusterDatabricksWorkspace;
use databricks_run_operator::api::crd::crds_yaml;
use databricks_run_operator::api::run::{DatabricksRun, RunObject};
use databricks_run_operator::api::workspace::DatabricksWorkspace;
use e2e::cluster::{self, Cluster, TestNamespace};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, Resource};
use serde_json::{Value, json};

/// A namespace in which both kinds are known.
async fn namespace() -> (&'static Cluster, TestNamespace) {
    let cluster = cluster::shared().await;
    cluster.install_crds(&[&crds_yaml()]).await.unwrap();
    (cluster, cluster.namespace("admission").await.unwrap())
}

async fn objects<K: Resource<DynamicType = ()>>(cluster: &Cluster, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<K>(&());
    let client = cluster.client().await.unwrap();
    if K::plural(&()).starts_with("cluster") {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, namespace, &resource)
    }
}

fn object<K: Resource<DynamicType = ()>>(name: &str, spec: &Value) -> DynamicObject {
    let mut object = DynamicObject::new(name, &ApiResource::erase::<K>(&()));
    object.data = json!({"spec": spec});
    object
}

fn try_only() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

/// What the API server says to a row of the table; empty when it accepts.
async fn answer<K: Resource<DynamicType = ()>>(api: &Api<DynamicObject>, row: &Value) -> String {
    let mut wanted = object::<K>("bad", &row["spec"]);
    let answered = match row.get("was") {
        None => api.create(&try_only(), &wanted).await,
        Some(was) => {
            let before = api.create(&PostParams::default(), &object::<K>("before", was)).await.unwrap();
            wanted.metadata = before.metadata;
            let changed = api.replace("before", &try_only(), &wanted).await;
            api.delete("before", &DeleteParams::default()).await.unwrap();
            changed
        }
    };
    match answered {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

async fn refuses_every_row<K: Resource<DynamicType = ()>>(rows: &str) {
    let (cluster, namespace) = namespace().await;
    let api = objects::<K>(cluster, &namespace).await;
    let table: Value = serde_saphyr::from_str(include_str!("../../tests/admission/refused.yaml")).unwrap();
    for row in table[rows].as_array().unwrap() {
        let said = answer::<K>(&api, row).await;
        assert!(said.contains(row["says"].as_str().unwrap()), "{}: said {said:?}", row["name"]);
    }
}

#[tokio::test]
async fn every_bad_run_is_refused_with_its_message() {
    refuses_every_row::<DatabricksRun>("runs").await;
}

#[tokio::test]
async fn every_bad_workspace_is_refused_with_its_message() {
    refuses_every_row::<DatabricksWorkspace>("workspaces").await;
}

#[tokio::test]
async fn every_bad_workspace_of_the_cluster_is_refused_with_its_message() {
    refuses_every_row::<ClusterDatabricksWorkspace>("clusterWorkspaces").await;
}

#[tokio::test]
async fn oversized_fields_are_refused_by_name() {
    let (cluster, namespace) = namespace().await;
    let api = objects::<DatabricksRun>(cluster, &namespace).await;
    let tasks: Vec<Value> = (0..1001).map(|n| json!({"task_key": format!("t{n}")})).collect();
    for (spec, says) in [
        (json!({"workspaceRef": {"name": "a"}, "runNow": {}, "jobName": "x".repeat(4097)}), "spec.jobName: Too long"),
        (
            json!({"workspaceRef": {"name": "x".repeat(254)}, "runNow": {"job_id": 1}}),
            "spec.workspaceRef.name: Too long",
        ),
        (json!({"workspaceRef": {"name": "a"}, "runNow": {"job_id": "1".repeat(20)}}), "spec.runNow.job_id: Too long"),
        (json!({"workspaceRef": {"name": "a"}, "submit": {"tasks": tasks}}), "spec.submit.tasks: Too many: 1001"),
    ] {
        let said = answer::<DatabricksRun>(&api, &json!({"spec": spec})).await;
        assert!(said.contains(says), "wanted {says:?}, said {said:?}");
    }
}

#[tokio::test]
async fn a_thousand_tasks_with_parameters_are_within_the_servers_budget() {
    let (cluster, namespace) = namespace().await;
    let api = objects::<DatabricksRun>(cluster, &namespace).await;
    let task = |n: usize| {
        json!({
            "task_key": format!("task-{n}"),
            "depends_on": (n > 0).then(|| json!([{"task_key": format!("task-{}", n - 1)}])),
            "notebook_task": {"notebook_path": "/Shared/etl", "base_parameters": {"day": "2026-11-23"}},
        })
    };
    let tasks: Vec<Value> = (0..1000).map(task).collect();
    let run = object::<DatabricksRun>("many", &json!({"workspaceRef": {"name": "a"}, "submit": {"tasks": tasks}}));
    let kept = api.create(&PostParams::default(), &run).await.unwrap();
    assert_eq!(kept.data["spec"]["submit"]["tasks"].as_array().unwrap().len(), 1000);
}

#[tokio::test]
async fn a_body_is_kept_as_it_was_written() {
    let (cluster, namespace) = namespace().await;
    let api = objects::<DatabricksRun>(cluster, &namespace).await;
    for (name, spec) in [
        (
            "beyond",
            json!({"workspaceRef": {"name": "a"}, "runNow": {"job_id": 9_007_199_254_740_993_i64, "tomorrow": {"a": 1.5}}}),
        ),
        ("largest", json!({"workspaceRef": {"name": "a"}, "runNow": {"job_id": i64::MAX, "only": []}})),
        (
            "text",
            json!({"workspaceRef": {"name": "a"}, "runNow": {"job_id": "9007199254740993", "job_parameters": {"y": "1"}}}),
        ),
        (
            "tomorrow",
            json!({"workspaceRef": {"name": "a"}, "submit": {"new": {"a": [1, null]}, "tasks": [
                {"task_key": "a", "quantum_task": {"qubits": 7}, "new_cluster": {"any": {"thing": true}}},
                {"task_key": "b", "notebook_task": {"notebook_path": "/x", "colour": "red"}, "libraries": [{"jar": "x"}]},
            ]}}),
        ),
    ] {
        let kept = api.create(&PostParams::default(), &object::<DatabricksRun>(name, &spec)).await.unwrap();
        assert_eq!(kept.data["spec"], spec, "{name}");
    }
}

#[tokio::test]
async fn every_sample_is_accepted_and_kept_as_it_was_written() {
    let (cluster, namespace) = namespace().await;
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples");
    let applied =
        cluster.kubectl_command(["apply", "--namespace", &namespace, "--filename"]).arg(&samples).output().await;
    let applied = applied.unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));

    let api = objects::<DatabricksRun>(cluster, &namespace).await;
    for entry in std::fs::read_dir(&samples).unwrap() {
        let path = entry.unwrap().path();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for document in documents.iter().filter(|document| document["kind"] == "DatabricksRun") {
            let kept = api.get(document["metadata"]["name"].as_str().unwrap()).await.unwrap();
            assert_eq!(kept.data["spec"], document["spec"], "{}", path.display());
        }
    }
}

#[tokio::test]
async fn an_object_that_nobody_has_seen_says_so_and_can_be_read() {
    let (cluster, namespace) = namespace().await;
    let api = objects::<DatabricksRun>(cluster, &namespace).await;
    let spec = json!({"workspaceRef": {"name": "a"}, "runNow": {"job_id": 1}});
    let created = api.create(&PostParams::default(), &object::<DatabricksRun>("fresh", &spec)).await.unwrap();
    assert_eq!(created.data["status"]["observedGeneration"], -1);

    let typed: Api<RunObject> = Api::namespaced(cluster.client().await.unwrap(), &namespace);
    let fresh = typed.get("fresh").await.unwrap();
    assert!(fresh.spec().is_ok());
    let status = fresh.status.unwrap();
    assert_eq!(status.observed_generation, Some(-1));
    let said: Vec<_> = status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect();
    assert_eq!(said, ["Ready=Unknown Pending", "Succeeded=Unknown Pending", "Finished=Unknown Pending"]);
}

async fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = cluster.kubectl_command(arguments).output().await.unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn kubectl_get_shows_the_columns_and_selects_by_state_and_workspace() {
    let (cluster, namespace) = namespace().await;
    let api = objects::<DatabricksRun>(cluster, &namespace).await;
    let spec = json!({"workspaceRef": {"name": "prod"}, "runNow": {"job_id": 1}});
    api.create(&PostParams::default(), &object::<DatabricksRun>("nightly", &spec)).await.unwrap();
    let status = json!({"status": {
        "displayName": "etl", "state": "Succeeded", "resultState": "SUCCESS", "runId": "77", "attempt": 1,
        "duration": "4m12s", "runPageUrl": "https://workspace.test/run/77",
    }});
    api.patch_status("nightly", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();

    let shown = kubectl(cluster, &["get", "dbrun", "--namespace", &namespace, "--output", "wide"]).await;
    let (head, row) = shown.split_once('\n').unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(head).join(" "), "NAME JOB STATE RESULT RUN ID ATTEMPT DURATION AGE URL MESSAGE");
    assert_eq!(words(row)[..7].join(" "), "nightly etl Succeeded SUCCESS 77 1 4m12s");
    assert!(row.contains("https://workspace.test/run/77") && row.contains("Waiting for the operator"), "{row}");

    for (selector, count) in [
        ("status.state=Succeeded,spec.workspaceRef.name=prod", 1),
        ("status.state=Failed", 0),
        ("spec.workspaceRef.name=other", 0),
    ] {
        let selected = api.list(&ListParams::default().fields(selector)).await.unwrap();
        assert_eq!(selected.items.len(), count, "{selector}");
    }
}

#[tokio::test]
async fn kubectl_explain_teaches() {
    let (cluster, _namespace) = namespace().await;
    for (field, teaches) in [
        ("databricksrun.spec.submit.tasks.notebook_task", "notebook_path <string> -required- Path of the notebook"),
        ("databricksrun.spec.runNow.job_id", "Leave it out when `spec.jobName` is given"),
        ("databricksrun.spec.polling", "Default: 60. Example: 300"),
        ("databricksworkspace.spec.host", "Example: `https://adb-"),
        ("databricksworkspace.spec.auth.tokenFederation.audience", "never the Kubernetes API server's"),
        ("clusterdatabricksworkspace.spec.allowedNamespaces", "With neither, none may"),
        ("clusterdatabricksworkspace.spec.auth", "exactly one way"),
    ] {
        let said = kubectl(cluster, &["explain", field]).await.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(teaches), "{field} does not teach {teaches:?}: {said}");
    }
}
