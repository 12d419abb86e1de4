//! Whole lives of runs that the installed operator serves.

use e2e::stage::{Stage, WORKSPACE};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::kit::Installed;

fn run_now(job_id: i64) -> Value {
    json!({"runNow": {"job_id": job_id}})
}

/// A notebook task. The last part of the path says what it does.
fn notebook(key: &str, path: &str) -> Value {
    json!({"task_key": key, "notebook_task": {"notebook_path": path}})
}

#[tokio::test]
async fn a_run_that_succeeds_is_told_with_its_result() {
    let Some(installed) = Installed::find().await else { return };
    let stage = installed.stage("succeeds").await;
    let job = stage.databricks.job("nightly").notebook_result("42 rows").id();
    stage.apply(&stage.run("good", run_now(job))).await;
    let run = stage.finished("good").await;
    assert_eq!((run.text("state"), run.text("resultState")), ("Succeeded".into(), "SUCCESS".into()));
    assert_eq!(run.status()["outputs"][0]["result"], "42 rows", "{}", stage.story(&run));
    stage.event("good", "Succeeded").await;
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_run_that_fails_is_told_in_words_with_its_cause() {
    let Some(installed) = Installed::find().await else { return };
    let stage = installed.stage("fails").await;
    let job = stage.databricks.job("nightly").failing("ValueError: no rows for the day", "Traceback: line 3").id();
    stage.apply(&stage.run("bad", run_now(job))).await;
    let run = stage.finished("bad").await;
    assert_eq!((run.text("state"), run.reason("Stalled")), ("Failed".into(), "RunFailed".into()));
    assert!(run.message("Stalled").contains("ValueError: no rows for the day"), "{}", stage.story(&run));
    assert_eq!(run.status()["outputs"][0]["errorTrace"], "Traceback: line 3", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn of_several_submitted_tasks_the_one_that_failed_is_the_cause() {
    let Some(installed) = Installed::find().await else { return };
    let stage = installed.stage("several").await;
    let submit = |tasks: Value| json!({"submit": {"run_name": "etl", "tasks": tasks}});
    let after = |key: &str, mut task: Value| {
        task["depends_on"] = json!([{"task_key": key}]);
        task
    };
    let extract = || notebook("extract", "/Shared/extract");
    let good = submit(json!([extract(), after("extract", notebook("load", "/Shared/load"))]));
    let bad = submit(json!([extract(), after("extract", notebook("load", "/Shared/fail"))]));
    stage.apply(&stage.run("good", good)).await;
    stage.apply(&stage.run("bad", bad)).await;
    let run = stage.finished("good").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    let run = stage.finished("bad").await;
    assert_eq!((run.text("state"), run.reason("Succeeded")), ("Failed".into(), "RunFailed".into()));
    let message = run.message("Succeeded");
    assert!(message.contains("load") && message.contains("ValueError"), "{}", stage.story(&run));
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn a_run_whose_object_is_deleted_is_cancelled_before_the_object_goes() {
    let Some(installed) = Installed::find().await else { return };
    let stage = installed.stage("deleted").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.apply(&stage.run("live", run_now(job))).await;
    stage.running("live").await;
    stage.delete("live").await;
    stage.gone("live").await;
    let runs = stage.databricks.runs();
    assert!(runs[0].cancelled && !runs[0].active, "{runs:#?}");
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_run_is_cancelled_by_its_suspension_and_another_starts_when_it_is_resumed() {
    let Some(installed) = Installed::find().await else { return };
    let stage = installed.stage("suspended").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.apply(&stage.run("live", run_now(job))).await;
    let first = stage.running("live").await.text("runId");
    stage.edit("live", json!({"suspend": true})).await;
    let run = stage.suspended("live").await;
    assert_eq!(run.last(), [first.as_str(), "Canceled", "Resumption"], "{}", stage.story(&run));
    assert!(!stage.databricks.runs()[0].active, "{}", stage.story(&run));
    stage.edit("live", json!({"suspend": false})).await;
    stage.running_anew("live", &first).await;
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("live").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(2);
}

/// Renames what is for the whole cluster, or in the operator's own namespace, after the test's namespace: others may be there.
fn own(stage: &Stage, mut object: Value) -> Value {
    let name = |old: &Value| json!(format!("{}-{}", old.as_str().unwrap_or_default(), stage.namespace));
    object["metadata"]["name"] = name(&object["metadata"]["name"]);
    for path in ["/spec/auth/pat/secretRef/name", "/spec/caBundle/configMapRef/name"] {
        if let Some(reference) = object.pointer_mut(path) {
            *reference = name(reference);
        }
    }
    object
}

#[tokio::test]
async fn a_workspace_of_the_whole_cluster_serves_the_namespace_that_it_admits() {
    let Some(installed) = Installed::find().await else { return };
    let stage = installed.stage("cluster").await;
    let job = stage.databricks.job("nightly").id();
    let mut kept = Vec::new();
    for object in [stage.secret(), stage.authority()] {
        let mut object = own(&stage, object);
        object["metadata"]["namespace"] = json!(stage.rights.home());
        stage.apply(&object).await;
        let kind = object["kind"].as_str().unwrap().to_lowercase();
        kept.push(format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap()));
    }
    let workspace = own(&stage, stage.cluster_workspace_object(&json!({"names": [*stage.namespace]})));
    stage.apply(&workspace).await;
    let mut run = stage.run_on_cluster_workspace("nightly", run_now(job));
    run["spec"]["workspaceRef"]["name"] = workspace["metadata"]["name"].clone();
    stage.apply(&run).await;
    let run = stage.finished("nightly").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    assert_eq!(run.status()["workspace"]["kind"], "ClusterDatabricksWorkspace", "{}", stage.story(&run));
    stage.assert_started_once_each(1);

    let delete: Vec<&str> = ["delete"].into_iter().chain(kept.iter().map(String::as_str)).collect();
    installed.kubectl(&stage, &delete).await;
    let name = format!("{WORKSPACE}-{}", stage.namespace);
    stage.cluster_workspaces().delete(&name, &DeleteParams::default()).await.unwrap();
}
