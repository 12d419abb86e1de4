//! A workspace that does not answer while many runs are live: one condition, and nothing on any run.
//!
//! `E2E_OUTAGE_RUNS=1000 E2E_OUTAGE_SECONDS=60 E2E_DEADLINE_SECONDS=120` is the size that is promised: a thousand runs, a
//! minute, and every state read again within two minutes of the return.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use databricks_run_operator::api::workspace::WorkspaceObject;
use e2e::stage::{Stage, versions_of_running};
use e2e::wait::eventually;
use e2e::workspace::{Fault, Kind, Operation, RetryAfter};
use futures::StreamExt;
use kube::Api;
use kube::runtime::watcher::watch_object;
use serde_json::json;

use crate::run_now;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What `Ready` of the workspace object said, each time it said something else.
fn told(workspaces: Api<WorkspaceObject>, name: String) -> Arc<Mutex<Vec<String>>> {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&told);
    tokio::spawn(async move {
        let mut versions = std::pin::pin!(watch_object(workspaces, &name));
        while let Some(version) = versions.next().await {
            let Ok(Some(object)) = version else { continue };
            let status = object.status.unwrap_or_default();
            let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
            let says = ready.map(|ready| format!("{} {}: {}", ready.status, ready.reason, ready.message));
            let mut kept = kept.lock().unwrap();
            if says.as_ref().is_some_and(|says| kept.last() != Some(says)) {
                kept.extend(says);
            }
        }
    });
    told
}

#[tokio::test]
async fn an_outage_is_one_condition_and_its_end_another_and_no_live_run_is_written() {
    let count = usize::try_from(from_environment("E2E_OUTAGE_RUNS", 60)).unwrap();
    let outage = Duration::from_secs(from_environment("E2E_OUTAGE_SECONDS", 20));
    let stage = Stage::set("outage-scale").await;
    let job = stage.databricks.job("hourly").running_forever().id();
    let _operator = stage.operator_with(|options| options.requests_per_second = 15.0).await;
    for number in 0..count {
        let mut run = stage.run(&format!("run-{number}"), run_now(job));
        run["spec"]["polling"] = json!({});
        stage.apply(&run).await;
    }
    let before = eventually("all runs to be live", async || versions_of_running(&stage, count).await).await;
    let object = stage.workspace_ready("True", "WorkspaceReady").await;
    let told = told(stage.workspaces(), object.metadata.name.unwrap());

    for fault in [
        Fault::everywhere(Kind::unavailable()).per_mille(400),
        Fault::everywhere(Kind::throttled(Some(RetryAfter::Seconds(1)))).per_mille(400),
        Fault::everywhere(Kind::Reset).per_mille(500),
        Fault::everywhere(Kind::Delay { before_ms: 600_000, after_ms: 0 }),
    ] {
        stage.databricks.fault(fault);
    }
    stage.workspace_ready("False", "Unreachable").await;
    // Not to synchronise: time without an answer is what this test is about.
    tokio::time::sleep(outage).await;
    let asked = stage.databricks.requests_so_far();
    stage.databricks.clear_faults();

    let back = Instant::now();
    eventually("every state to be read again", async || {
        let mut read = BTreeSet::new();
        for entry in stage.databricks.requests_from(asked).into_iter().filter(|entry| entry.status == Some(200)) {
            // A row of the list of live runs tells the state as well as an answer of its own.
            read.extend(entry.listed);
            read.extend(entry.run_id.filter(|_| entry.operation == Operation::GetRun));
        }
        if read.len() == count { Ok(()) } else { Err(format!("{} of {count} have been read", read.len())) }
    })
    .await;
    println!("every state was read again {:.1} s after the return", back.elapsed().as_secs_f64());
    stage.workspace_ready("True", "WorkspaceReady").await;
    eventually("the end to be seen", async || {
        let told = told.lock().unwrap().clone();
        if told.len() == 3 { Ok(()) } else { Err(format!("{told:#?}")) }
    })
    .await;
    assert_eq!(versions_of_running(&stage, count).await.unwrap(), before, "no run's object has been written");
    stage.assert_started_once_each(count);
}
