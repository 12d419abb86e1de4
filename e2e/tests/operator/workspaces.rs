//! Workspaces of the whole cluster: whom they admit, where their credentials are. And of every kind: an outage is one story,
//! and whoever waited goes on when the workspace can be used.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use databricks_run_operator::api::workspace::WorkspaceObject;
use e2e::cluster::rights::Mode;
use e2e::stage::{Stage, WORKSPACE};
use e2e::wait::eventually;
use e2e::workspace::{Fault, Kind, OWNER, Operation, RetryAfter};
use futures::StreamExt;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::watcher::watch_object;
use serde_json::{Value, json};

use crate::run_now;

/// A stage with a control plane of its own, and nothing connected but a namespaced workspace of the same name.
async fn stage(prefix: &str) -> Stage {
    Stage::in_mode(Mode::ClusterWide, prefix).await
}

/// Changes whom the workspace admits.
async fn admit(stage: &Stage, allowed: &Value) {
    stage.apply(&stage.cluster_workspace_object(allowed)).await;
}

/// Sets the labels of the stage's namespace.
async fn label(stage: &Stage, labels: Value) {
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(stage.client.clone());
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    namespaces.patch(&stage.namespace, &PatchParams::default(), &patch).await.unwrap();
}

/// Asks for a run and waits until it is told that its namespace is not admitted.
async fn not_admitted(stage: &Stage, name: &str, job: i64) {
    stage.apply(&stage.run_on_cluster_workspace(name, run_now(job))).await;
    let run = stage.until_reason(name, "Reconciling", "WorkspaceNotAllowed").await;
    let message = run.message("Reconciling");
    for word in ["ClusterDatabricksWorkspace `prod`", &*stage.namespace, "spec.allowedNamespaces"] {
        assert!(message.contains(word), "{word} is not in: {message}");
    }
}

async fn succeeds(stage: &Stage, name: &str) {
    let run = stage.finished(name).await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    assert_eq!(run.status()["workspace"]["kind"], "ClusterDatabricksWorkspace");
}

#[tokio::test]
async fn a_namespace_is_admitted_by_its_name_and_one_that_is_not_waits_until_it_is() {
    let stage = stage("by-name").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator_of_the_cluster().await;
    stage.connect_cluster(&json!({"names": ["another-team"]})).await;
    stage.cluster_workspace_ready("True", "WorkspaceReady").await;
    not_admitted(&stage, "nightly", job).await;
    assert_eq!(stage.databricks.count(Operation::RunNow), 0, "{}", stage.databricks.story());
    admit(&stage, &json!({"names": ["another-team", *stage.namespace]})).await;
    succeeds(&stage, "nightly").await;
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_namespace_is_admitted_by_its_labels_as_soon_as_it_has_them() {
    let stage = stage("by-label").await;
    let job = stage.databricks.job("nightly").id();
    let condition = json!({"key": "stage", "operator": "NotIn", "values": ["sandbox"]});
    let selector = json!({"matchLabels": {"databricks": "prod"}, "matchExpressions": [condition]});
    stage.connect_cluster(&json!({"selector": selector})).await;
    label(&stage, json!({"databricks": "prod", "stage": "sandbox"})).await;
    let _operator = stage.operator_of_the_cluster().await;
    not_admitted(&stage, "nightly", job).await;
    label(&stage, json!({"stage": "live"})).await;
    succeeds(&stage, "nightly").await;
    label(&stage, json!({"databricks": "dev"})).await;
    not_admitted(&stage, "again", job).await;
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_workspace_that_names_nobody_admits_nobody() {
    let stage = stage("nobody").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator_of_the_cluster().await;
    stage.connect_cluster(&json!({})).await;
    stage.cluster_workspace_ready("True", "WorkspaceReady").await;
    not_admitted(&stage, "nightly", job).await;
    assert_eq!(stage.databricks.count(Operation::RunNow), 0, "{}", stage.databricks.story());
}

#[tokio::test]
async fn a_namespace_that_loses_its_admission_starts_nothing_new_and_its_runs_are_followed_and_cancelled() {
    let stage = stage("loses").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.connect_cluster(&json!({"names": [*stage.namespace]})).await;
    let _operator = stage.operator_of_the_cluster().await;
    for name in ["ends", "is-cancelled", "is-deleted"] {
        stage.apply(&stage.run_on_cluster_workspace(name, run_now(job))).await;
        stage.running(name).await;
    }
    admit(&stage, &json!({})).await;
    not_admitted(&stage, "new", job).await;
    let id = stage.now("ends").await.text("runId").parse().unwrap();
    stage.databricks.finish(id);
    succeeds(&stage, "ends").await;
    stage.edit("is-cancelled", json!({"cancel": true})).await;
    let canceled = stage.finished("is-cancelled").await;
    assert_eq!(canceled.text("state"), "Canceled", "{}", stage.story(&canceled));
    stage.delete("is-deleted").await;
    stage.gone("is-deleted").await;
    assert!(stage.databricks.runs().iter().all(|run| !run.active), "{}", stage.databricks.story());
    stage.assert_started_once_each(3);
}

#[tokio::test]
async fn its_credentials_are_read_in_the_operator_s_namespace_even_if_the_run_s_own_has_some_of_the_same_name() {
    let stage = stage("home").await;
    let job = stage.databricks.job("nightly").id();
    // The namespace's own Secret `databricks` is good, and with no workspace of its own it is nobody's business.
    stage.workspaces().delete(WORKSPACE, &DeleteParams::default()).await.unwrap();
    stage.apply(&stage.cluster_workspace_object(&json!({"names": [*stage.namespace]}))).await;
    let mut authority = stage.authority();
    authority["metadata"]["namespace"] = json!(stage.rights.home());
    stage.apply(&authority).await;
    let _operator = stage.operator_of_the_cluster().await;
    stage.apply(&stage.run_on_cluster_workspace("nightly", run_now(job))).await;
    let run = stage.until_reason("nightly", "Reconciling", "CredentialsNotFound").await;
    let message = run.message("Reconciling");
    assert!(message.contains(&format!("create it in namespace `{}`", stage.rights.home())), "{message}");
    stage.connect_cluster(&json!({"names": [*stage.namespace]})).await;
    succeeds(&stage, "nightly").await;
    let used = stage.cluster.audit_entries_that_say(&stage.rights.user()).unwrap();
    let read: Vec<_> = used.iter().filter(|entry| entry.object_ref.resource == "secrets").collect();
    assert!(
        !read.is_empty() && read.iter().all(|entry| entry.object_ref.namespace == stage.rights.home()),
        "{read:#?}"
    );
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn an_operator_that_does_not_know_its_namespace_says_so_at_workspaces_of_the_cluster() {
    let stage = stage("homeless").await;
    stage.connect_cluster(&json!({})).await;
    let _operator = stage.operator_with(|options| options.cluster_workspaces = true).await;
    let workspace = stage.cluster_workspace_ready("False", "CredentialsUnusable").await;
    let conditions = workspace.status.unwrap().conditions;
    let stalled = conditions.iter().find(|it| it.type_ == "Stalled").unwrap();
    assert!(stalled.message.contains("--operator-namespace"), "{}", stalled.message);
    // The namespaced ones are none the worse for it.
    stage.workspace_ready("True", "WorkspaceReady").await;
}

#[tokio::test]
async fn an_operator_that_serves_none_says_so_to_runs_that_name_one() {
    let stage = Stage::set("unserved").await;
    let _operator = stage.operator().await;
    stage.apply(&stage.run_on_cluster_workspace("nightly", run_now(1))).await;
    let run = stage.until_reason("nightly", "Reconciling", "WorkspaceNotFound").await;
    assert!(run.message("Reconciling").contains("--cluster-workspaces"), "{}", run.message("Reconciling"));
}

#[tokio::test]
async fn the_kind_of_the_workspace_is_part_of_the_request() {
    let stage = stage("kind").await;
    let job = stage.databricks.job("nightly").id();
    stage.connect_cluster(&json!({"names": [*stage.namespace]})).await;
    let _operator = stage.operator_of_the_cluster().await;
    stage.apply(&stage.run("nightly", run_now(job))).await;
    let first = stage.finished("nightly").await;
    assert_eq!(first.status()["workspace"]["kind"], "DatabricksWorkspace");
    stage.edit("nightly", json!({"workspaceRef": {"kind": "DatabricksWorkspace"}})).await;
    stage.finished_in("nightly", 2).await;
    stage.assert_started_once_each(1);
    stage.edit("nightly", json!({"workspaceRef": {"kind": "ClusterDatabricksWorkspace"}})).await;
    stage.finished_in("nightly", 3).await;
    succeeds(&stage, "nightly").await;
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn an_event_about_a_workspace_of_the_cluster_is_in_the_namespace_default() {
    let stage = stage("events").await;
    stage.connect_cluster(&json!({})).await;
    let _operator = stage.operator_of_the_cluster().await;
    stage.cluster_workspace_ready("True", "WorkspaceReady").await;
    let events: Api<Event> = Api::namespaced(stage.client.clone(), "default");
    let uid = stage.cluster_workspaces().get(WORKSPACE).await.unwrap().metadata.uid;
    eventually("the event that it is ready", async || {
        let told = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
        let about = |event: &Event| event.regarding.as_ref().is_some_and(|object| object.uid == uid);
        let reasons: Vec<_> = told.iter().filter(|event| about(event)).map(|event| event.reason.clone()).collect();
        if reasons == [Some("WorkspaceReady".to_owned())] { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await;
}

#[tokio::test]
async fn many_runs_that_wait_for_a_workspace_start_when_it_can_be_used() {
    let stage = Stage::bare("many-wait").await;
    let job = stage.databricks.job("nightly").id();
    stage.apply(&stage.authority()).await;
    stage.apply(&stage.workspace_object()).await;
    let _operator = stage.operator().await;
    let names: Vec<String> = (0..20).map(|number| format!("waits-{number}")).collect();
    for name in &names {
        stage.apply(&stage.run(name, run_now(job))).await;
    }
    for name in &names {
        stage.until_reason(name, "Reconciling", "CredentialsNotFound").await;
    }
    assert_eq!(stage.databricks.runs_started(), 0, "{}", stage.databricks.story());
    stage.apply(&stage.secret()).await;
    for name in &names {
        stage.finished(name).await;
    }
    stage.assert_started_once_each(names.len());
}

/// `Ready` of the workspace object, version by version, as `status reason`.
fn story_of_ready(stage: &Stage) -> Arc<Mutex<Vec<String>>> {
    let story = Arc::new(Mutex::new(Vec::new()));
    let (told, workspaces) = (Arc::clone(&story), stage.workspaces());
    tokio::spawn(async move {
        let mut versions = std::pin::pin!(watch_object(workspaces, WORKSPACE));
        while let Some(version) = versions.next().await {
            let Ok(Some(WorkspaceObject { status: Some(status), .. })) = version else { continue };
            let ready = status.conditions.iter().find(|it| it.type_ == "Ready").unwrap();
            let now = format!("{} {}: {}", ready.status, ready.reason, ready.message);
            let mut told = told.lock().unwrap();
            if told.last() != Some(&now) {
                told.push(now);
            }
        }
    });
    story
}

#[tokio::test]
async fn an_outage_of_many_kinds_of_errors_is_two_changes_and_two_events_and_no_write_to_a_live_run() {
    let stage = Stage::set("one-story").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("live", run_now(job))).await;
    stage.running("live").await;
    stage.workspace_ready("True", "WorkspaceReady").await;
    let story = story_of_ready(&stage);
    let before = stage.now("live").await.0.metadata.resource_version;
    let faults = [
        Fault::everywhere(Kind::unavailable()).per_mille(400),
        Fault::everywhere(Kind::throttled(Some(RetryAfter::Seconds(1)))).per_mille(300),
        Fault::everywhere(Kind::Reset),
    ]
    .map(|fault| stage.databricks.fault(fault));
    stage.workspace_ready("False", "Unreachable").await;
    eventually("each kind of error to be met", async || {
        let hits = faults.map(|fault| stage.databricks.fault_hits(fault));
        if hits.iter().all(|hits| *hits > 0) { Ok(()) } else { Err(format!("{hits:?}")) }
    })
    .await;
    // Not to synchronise: that nothing is told while time passes is what this test is about.
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(stage.now("live").await.0.metadata.resource_version, before, "a live run says nothing of an outage");
    stage.databricks.clear_faults();
    stage.workspace_ready("True", "WorkspaceReady").await;
    eventually("the end to be told", async || {
        let told = story.lock().unwrap().clone();
        if told.len() == 3 { Ok(()) } else { Err(format!("{told:#?}")) }
    })
    .await;
    let events = stage.events(WORKSPACE).await;
    let count = |reason: &str| events.iter().filter(|event| event.starts_with(&format!("{reason}: "))).count();
    assert_eq!((count("WorkspaceReady"), count("Unreachable"), events.len()), (2, 1, 3), "{events:#?}");
    stage.databricks.finish(stage.databricks.runs()[0].id);
    stage.finished("live").await;
}

#[tokio::test]
async fn a_start_that_is_refused_for_its_credentials_shows_in_the_workspace_before_its_next_check() {
    let stage = Stage::set("refused-start").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.workspace_ready("True", "WorkspaceReady").await;
    // No run is live: nobody but the start finds out, and the next check is five minutes away.
    stage.databricks.revoke_token(stage.databricks.token());
    stage.apply(&stage.run("nightly", run_now(job))).await;
    stage.workspace_ready("False", "Unauthorized").await;
    assert_eq!(stage.databricks.runs_started(), 0, "{}", stage.databricks.story());
    stage.databricks.accept_token(stage.databricks.token(), OWNER, None);
    let run = stage.finished("nightly").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.workspace_ready("True", "WorkspaceReady").await;
    stage.assert_started_once_each(1);
}
