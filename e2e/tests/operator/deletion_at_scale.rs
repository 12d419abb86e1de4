//! Fifty objects with live runs are deleted at once, as with a namespace or a Helm release.

use std::time::Duration;

use e2e::stage::{RunView, Stage};
use e2e::wait::eventually;
use e2e::workspace::{Fault, Kind, Operation};
use kube::api::{DeleteParams, ListParams};

use crate::run_now;

const OBJECTS: usize = 50;

/// The run ids of so many objects, once all runs are known and under way.
async fn all_live(stage: &Stage) -> Vec<String> {
    let job = stage.databricks.job("nightly").running_forever().id();
    for number in 0..OBJECTS {
        stage.apply(&stage.run(&format!("run-{number}"), run_now(job))).await;
    }
    eventually("all runs to be live", async || {
        let objects = stage.runs().list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let runs: Vec<RunView> = objects.items.into_iter().map(RunView).collect();
        let live = runs.iter().filter(|run| run.text("state") == "Running").count();
        let ids = runs.iter().map(|run| run.text("runId")).collect();
        if live == OBJECTS { Ok(ids) } else { Err(format!("{live}: {}", stage.databricks.story())) }
    })
    .await
}

async fn delete_all(stage: &Stage) {
    stage.runs().delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    eventually("all objects to be gone", async || {
        let left = stage.runs().list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let show = |run: &RunView| format!("{:#}", run.status());
        match left.items.into_iter().map(RunView).next() {
            None => Ok(()),
            Some(run) => Err(format!("one is\n{}\n{}", show(&run), stage.databricks.story())),
        }
    })
    .await;
}

#[tokio::test]
async fn fifty_live_runs_are_cancelled_and_their_objects_go() {
    let stage = Stage::set("fifty").await;
    let _operator = stage.operator().await;
    all_live(&stage).await;
    delete_all(&stage).await;
    let runs = stage.databricks.runs();
    let cancelled = runs.iter().filter(|run| run.cancelled && !run.active).count();
    assert_eq!((runs.len(), cancelled), (OBJECTS, OBJECTS), "{}", stage.databricks.story());
    assert_eq!(stage.databricks.violations(), 0, "one by one, never all runs of a job");
    stage.assert_started_once_each(OBJECTS);
}

#[tokio::test]
async fn fifty_runs_that_cannot_be_cancelled_are_named_and_hold_nothing_after_the_deadline() {
    let stage = Stage::set("fifty-stuck").await;
    let fault = stage.databricks.fault(Fault::on(Operation::Cancel, Kind::error(500, "INTERNAL_ERROR", "boom")));
    let _operator = stage.operator_with(|options| options.deletion_deadline = Duration::from_secs(8)).await;
    let ids = all_live(&stage).await;
    delete_all(&stage).await;
    for number in 0..OBJECTS {
        let told = stage.event(&format!("run-{number}"), "RunOrphaned").await;
        let named = ids.iter().any(|id| told.contains(&format!("run {id} could not be canceled")));
        assert!(named, "{told}");
    }
    assert!(stage.databricks.runs().iter().all(|run| run.active), "{}", stage.databricks.story());
    assert!(stage.databricks.fault_hits(fault) as usize >= 3 * OBJECTS, "three attempts for each");
    stage.assert_started_once_each(OBJECTS);
}
