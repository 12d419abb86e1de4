//! How often the API server is bothered, counted in its own audit log.

use e2e::cluster::{AuditEntry, ControlPlane};
use e2e::stage::Stage;
use e2e::wait::eventually;
use e2e::workspace::{Operation, Options};

use crate::run_now;

/// A stage whose requests are counted: the shared one, or one of its own where the shared one existed before us.
async fn audited(prefix: &str) -> (Stage, Option<ControlPlane>) {
    let shared = e2e::cluster::shared().await;
    if shared.audit_log().is_some() {
        return (Stage::set(prefix).await, None);
    }
    let own = ControlPlane::builder().start().await.unwrap();
    let stage = Stage::on(own.cluster(), prefix, Options::default().speed(5)).await;
    stage.connect().await;
    (stage, Some(own))
}

/// The requests about runs and events of the namespace that were answered by now. Watches say nothing of load.
async fn requests(stage: &Stage) -> Vec<AuditEntry> {
    // The log lags behind the answers: a request of our own, made now, comes after all that were answered before.
    let end = format!("end-{:x}", rand::random::<u32>());
    assert!(stage.runs().get_opt(&end).await.unwrap().is_none());
    eventually("our own request in the audit log", async || {
        let mut entries = stage.cluster.audit_entries().unwrap();
        entries.retain(|entry| entry.object_ref.namespace == *stage.namespace && entry.verb != "watch");
        match entries.iter().position(|entry| entry.object_ref.name == end) {
            Some(position) => {
                entries.truncate(position);
                entries.retain(|entry| !entry.object_ref.name.starts_with("end-"));
                Ok(entries)
            }
            None => Err(format!("{} entries", entries.len())),
        }
    })
    .await
}

/// A request in a few words.
fn told(entries: &[AuditEntry]) -> Vec<String> {
    let word = |entry: &AuditEntry| {
        let object = &entry.object_ref;
        format!(
            "{} {}/{} {} {}",
            entry.verb, object.resource, object.name, object.subresource, entry.response_status.code
        )
    };
    entries.iter().map(word).collect()
}

#[tokio::test]
async fn a_run_that_succeeds_takes_seven_writes_at_most_and_three_events() {
    let (stage, _own) = audited("writes").await;
    let job = stage.databricks.job("nightly").notebook_result("42").running_forever().id();
    let _operator = stage.operator().await;
    stage.workspace_ready("True", "WorkspaceReady").await;
    stage.apply(&stage.run("good", run_now(job))).await;
    stage.running("good").await;
    stage.databricks.finish(stage.databricks.runs()[0].id);
    stage.finished("good").await;
    let requests = requests(&stage).await;
    let all = told(&requests);
    let writes = |resource: &str| {
        let about_it = |name: &str| name == "good" || name.starts_with("good.");
        let of = |entry: &&AuditEntry| {
            entry.is_write() && entry.object_ref.resource == resource && about_it(&entry.object_ref.name)
        };
        requests.iter().filter(of).count()
    };
    // One is the test's own: the apply that made the object.
    assert!(writes("databricksruns") - 1 <= 7, "{all:#?}");
    assert_eq!(writes("events"), 3, "{all:#?}");
}

#[tokio::test]
async fn a_poll_that_finds_no_change_asks_nothing_of_the_api_server() {
    let (stage, _own) = audited("quiet-polls").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("live", run_now(job))).await;
    stage.running("live").await;
    stage.workspace_ready("True", "WorkspaceReady").await;
    // The event that tells of the start follows the write that we waited for.
    stage.event("live", "RunStarted").await;
    let polls = |stage: &Stage| stage.databricks.count(Operation::GetRun);
    let (before, polled) = (requests(&stage).await.len(), polls(&stage));
    eventually("four more polls", async || if polls(&stage) >= polled + 4 { Ok(()) } else { Err("fewer".to_owned()) })
        .await;
    let after = requests(&stage).await;
    assert_eq!(told(&after[before..]), Vec::<String>::new());
}

#[tokio::test]
async fn a_finished_object_is_left_alone() {
    let (stage, _own) = audited("idle").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("idle", run_now(job))).await;
    stage.finished("idle").await;
    let (before, asked) = (requests(&stage).await.len(), stage.databricks.requests().len());
    // The whole life of another run is the time in which nothing may happen to this one.
    stage.apply(&stage.run("busy", run_now(job))).await;
    let busy = stage.finished("busy").await;
    let mut after = requests(&stage).await.split_off(before);
    after.retain(|entry| !entry.object_ref.name.starts_with("busy"));
    assert_eq!(told(&after), Vec::<String>::new());
    let id = busy.text("runId").parse().ok();
    let mut asked = stage.databricks.requests().split_off(asked);
    asked.retain(|entry| entry.operation == Operation::GetRun && entry.run_id != id);
    assert!(asked.is_empty(), "{}", stage.databricks.story());
}
