//! What starts a run, what starts another, and what does not.

use e2e::stage::Stage;
use e2e::workspace::Operation;
use serde_json::json;

use crate::{run_now, run_now_with};

#[tokio::test]
async fn a_body_that_comes_back_to_an_older_one_is_a_run_of_its_own() {
    let stage = Stage::set("a-b-a").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    for (generation, body) in
        [run_now(job), run_now_with(job, "fake_error", "no disk"), run_now(job)].into_iter().enumerate()
    {
        stage.apply(&stage.run("edited", body)).await;
        let seen = i64::try_from(generation).unwrap() + 1;
        let ended = format!("finished in generation {seen}");
        let run = stage.until("edited", &ended, |run| {
            run.status()["observedGeneration"] == seen && run.condition("Finished") == "True" && !run.0.is_held()
        });
        assert_eq!(run.await.condition("Succeeded"), if seen == 2 { "False" } else { "True" });
    }
    let run = stage.now("edited").await;
    stage.assert_started_once_each(3);
    let past = run.status()["attempts"].clone();
    assert_eq!((&past[0]["state"], &past[1]["state"]), (&json!("Failed"), &json!("Succeeded")), "{past:#}");
    let mut ids = vec![run.text("runId")];
    ids.extend([0, 1].map(|past| run.status()["attempts"][past]["runId"].as_str().unwrap_or_default().to_owned()));
    let started: Vec<String> = stage.databricks.runs().iter().map(|run| run.id.to_string()).collect();
    assert_eq!(ids, started, "newest first, in the status as in the workspace");
}

#[tokio::test]
async fn a_hundred_applies_are_one_run_and_a_parameter_is_one_more() {
    let stage = Stage::set("again").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    let mut object = stage.run("same", run_now_with(job, "day", "1"));
    stage.apply(&object).await;
    stage.finished("same").await;
    for round in 0..100 {
        object["metadata"]["labels"] = json!({"round": round.to_string()});
        // What is no part of the request: seen, but no reason to run.
        match round {
            20 => object["spec"]["startingDeadlineSeconds"] = json!(1),
            30 => object["spec"]["activeDeadlineSeconds"] = json!(1),
            40 => object["spec"]["ttlSecondsAfterFinished"] = json!(3600),
            50 => object["spec"]["output"] = json!({"maxBytes": 100}),
            60 => object["spec"]["polling"] = json!({"initialSeconds": 1, "maxSeconds": 2}),
            70 => object["spec"]["backoffLimit"] = json!(3),
            80 => object["spec"]["onSpecChange"] = json!("Replace"),
            _ => {}
        }
        stage.apply(&object).await;
    }
    let run = stage.seen("same", 8).await;
    assert_eq!(run.condition("Ready"), "True", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
    for field in ["startingDeadlineSeconds", "activeDeadlineSeconds"] {
        object["spec"].as_object_mut().unwrap().remove(field);
    }
    object["spec"]["runNow"]["job_parameters"]["day"] = json!("2");
    stage.apply(&object).await;
    let run = stage.finished_in("same", 9).await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn an_edit_while_a_run_is_live_waits_for_its_end() {
    let stage = Stage::set("edit-live").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    let history = stage.history("edited");
    stage.apply(&stage.run("edited", run_now(job))).await;
    let first = stage.running("edited").await.text("runId");
    stage.apply(&stage.run("edited", run_now_with(job, "day", "2"))).await;
    let told = |message: String| message.contains("the newer request starts when it has ended");
    let run = stage.until("edited", "aware of the edit", |run| told(run.message("Ready"))).await;
    assert_eq!(run.text("runId"), first, "{}", stage.story(&run));
    stage.assert_started_once_each(1);
    stage.databricks.finish(stage.databricks.runs()[0].id);
    stage.running_anew("edited", &first).await;
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("edited").await;
    assert_eq!(run.status()["attempts"][0]["runId"], first.as_str(), "{}", stage.story(&run));
    stage.assert_started_once_each(2);
    let runs = stage.databricks.runs();
    assert!(runs[1].ended.unwrap() <= runs[0].started, "{runs:#?}");
    let greens = history.so_far().iter().filter(|run| run.condition("Finished") == "True").count();
    let last =
        history.so_far().iter().filter(|run| run.text("runId") != first && run.condition("Finished") == "True").count();
    assert_eq!(greens, last, "the end of a request that is not the newest is never shown as an end");
}

#[tokio::test]
async fn an_edit_that_is_taken_back_before_the_run_has_ended_starts_nothing() {
    let stage = Stage::set("taken-back").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("edited", run_now(job))).await;
    stage.running("edited").await;
    for (generation, body) in [(2, run_now_with(job, "day", "2")), (3, run_now(job))] {
        stage.apply(&stage.run("edited", body)).await;
        stage.until("edited", "seen", |run| run.status()["observedGeneration"] == generation).await;
    }
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("edited").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_rerun_token_that_is_there_at_creation_belongs_to_the_first_run() {
    let stage = Stage::set("rerun-first").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    let mut object = stage.run("first", run_now(job));
    object["metadata"]["annotations"] = json!({"dbrun.dev/rerun-requested-at": "monday"});
    stage.apply(&object).await;
    let run = stage.finished("first").await;
    assert_eq!(run.text("lastHandledRerun"), "monday", "{}", stage.story(&run));
    // Removing it asks for nothing, and neither does what is seen together with its removal.
    object["metadata"]["annotations"] = json!({});
    object["spec"]["output"] = json!({"maxBytes": 100});
    stage.apply(&object).await;
    stage.until("first", "seen again", |run| run.status()["observedGeneration"] == 2).await;
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_rerun_token_is_honoured_once() {
    let stage = Stage::set("rerun").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("again", run_now(job))).await;
    let first = stage.finished("again").await.text("runId");
    stage.annotate("again", "dbrun.dev/rerun-requested-at", "monday").await;
    stage.until("again", "told of the token", |run| run.text("lastHandledRerun") == "monday").await;
    let run = stage.finished("again").await;
    assert_ne!(run.text("runId"), first, "{}", stage.story(&run));
    assert_eq!(run.status()["attempts"][0]["runId"], first.as_str(), "{}", stage.story(&run));
    // The same token once more, together with a change that is seen for sure.
    stage.annotate("again", "dbrun.dev/rerun-requested-at", "monday").await;
    let mut object = stage.run("again", run_now(job));
    object["spec"]["output"] = json!({"maxBytes": 100});
    stage.apply(&object).await;
    stage.until("again", "seen again", |run| run.status()["observedGeneration"] == 2).await;
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn a_job_is_found_by_its_name() {
    let stage = Stage::set("by-name").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("named", json!({"runNow": {}, "jobName": "nightly"}))).await;
    let run = stage.finished("named").await;
    assert_eq!((run.text("state"), run.text("jobId")), ("Succeeded".into(), job.to_string()));
    assert_eq!(run.text("displayName"), "nightly");
}

#[tokio::test]
async fn a_name_that_no_job_has_is_told() {
    let stage = Stage::set("no-job").await;
    let _ = stage.databricks.job("Nightly");
    let _operator = stage.operator().await;
    stage.apply(&stage.run("named", json!({"runNow": {}, "jobName": "nightly"}))).await;
    let run = stage.finished("named").await;
    assert_eq!((run.text("state"), run.reason("Stalled")), ("Rejected".into(), "JobNotFound".into()));
    assert!(run.message("Stalled").contains("case-sensitive"), "{}", stage.story(&run));
    assert_eq!(stage.databricks.count(Operation::RunNow), 0);
}

#[tokio::test]
async fn a_name_that_two_jobs_have_starts_neither() {
    let stage = Stage::set("two-jobs").await;
    let (_, _) = (stage.databricks.job("nightly"), stage.databricks.another_job("nightly"));
    let _operator = stage.operator().await;
    stage.apply(&stage.run("named", json!({"runNow": {}, "jobName": "nightly"}))).await;
    let run = stage.finished("named").await;
    assert_eq!(run.reason("Stalled"), "JobNameAmbiguous", "{}", stage.story(&run));
    assert!(run.message("Stalled").contains("runNow.job_id"), "{}", stage.story(&run));
    assert_eq!(stage.databricks.count(Operation::RunNow), 0);
}
