//! Repairs: what failed of a run once more under the same run id, by rule or by annotation, and never twice.

use e2e::stage::Stage;
use e2e::workspace::{Fault, Kind, Operation, Script};
use serde_json::{Value, json};

use crate::{notebook, run_now, run_now_with, submit};

const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");

const TOKEN: &str = "dbrun.dev/repair-requested-at";

/// A notebook task that runs after another.
fn after(ahead: &str, key: &str, path: &str) -> Value {
    let mut task = notebook(key, path);
    task["depends_on"] = json!([{"task_key": ahead}]);
    task
}

/// A stage on which the run `broken` has failed, whose repair would succeed; and its run id.
async fn failed(stage: &Stage) -> i64 {
    let job = stage.databricks.job("flaky").id();
    stage.apply(&stage.run("broken", run_now(job))).await;
    let run = stage.finished("broken").await;
    assert_eq!(run.text("state"), "Failed", "{}", stage.story(&run));
    stage.databricks.runs()[0].id
}

#[tokio::test]
async fn a_rule_repairs_what_failed_and_nothing_that_succeeded_runs_again() {
    let stage = Stage::set("repair").await;
    let tasks = vec![notebook("a", "/Shared/a"), after("a", "b", "/Shared/flaky"), after("b", "c", "/Shared/c")];
    let job = stage.databricks.job("etl").tasks(tasks).id();
    let _operator = stage.operator().await;
    let history = stage.history("etl");
    let mut object = stage.run("etl", run_now_with(job, "day", "2026-11-23"));
    object["spec"]["backoffLimit"] = json!(1);
    let rule = json!({"action": "Repair", "onTermination": {"operator": "In", "codes": ["RUN_EXECUTION_ERROR"]}});
    object["spec"]["failurePolicy"] = json!({"rules": [rule]});
    stage.apply(&object).await;
    let run = stage.finished("etl").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
    let record = &stage.databricks.runs()[0];
    assert_eq!((record.id.to_string(), record.repairs), (run.text("runId"), 1), "{}", stage.story(&run));
    let attempts = |key: &str| record.tasks.iter().filter(|task| task.key == key).count();
    assert_eq!((attempts("a"), attempts("b")), (1, 2), "{:#?}", record.tasks);
    let past = run.past(0);
    let told = [&past["runId"], &past["attempt"], &past["state"], &past["followedBy"]];
    assert_eq!(told, [&json!(run.text("runId")), &json!(1), &json!("Failed"), &json!("Repair")], "{past:#}");
    assert!(past["message"].as_str().unwrap_or_default().contains("no rows for the day"), "{past:#}");
    assert_eq!((&run.status()["attempt"], &run.status()["retries"]), (&json!(2), &json!(1)), "{}", stage.story(&run));
    // A repair does not inherit the parameters of the run: `c`, which ran in the repair alone, returns what it was given.
    let outputs = run.status()["outputs"].clone();
    let of_c = outputs.as_array().into_iter().flatten().find(|output| output["taskKey"] == "c").cloned();
    assert!(of_c.unwrap_or_default()["result"].to_string().contains("2026-11-23"), "{outputs:#}");
    for version in history.so_far() {
        assert!(!version.shows_an_end() || version.text("state") == "Succeeded", "{:#}", version.status());
    }
}

#[tokio::test]
async fn a_repair_token_repairs_a_finished_run_once() {
    let stage = Stage::set("repair-token").await;
    let _operator = stage.operator().await;
    let id = failed(&stage).await;
    stage.annotate("broken", TOKEN, "monday").await;
    stage.until("broken", "a success", |run| run.text("state") == "Succeeded").await;
    let run = stage.finished("broken").await;
    assert_eq!((run.text("runId"), run.text("lastHandledRepair")), (id.to_string(), "monday".into()));
    assert_eq!(run.last(), [id.to_string().as_str(), "Failed", "Repair"]);
    // The same token once more, together with a change that is seen for sure.
    stage.annotate("broken", TOKEN, "monday").await;
    stage.edit("broken", json!({"output": {"maxBytes": 100}})).await;
    stage.seen("broken", 2).await;
    assert_eq!((stage.databricks.runs()[0].repairs, stage.databricks.count(Operation::Repair)), (1, 1));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_lost_answer_never_repairs_twice() {
    let stage = Stage::set("repair-lost").await;
    let _operator = stage.operator().await;
    let id = failed(&stage).await;
    stage.databricks.fault(Fault::on(Operation::Repair, Kind::LoseAnswer).once());
    stage.annotate("broken", TOKEN, "monday").await;
    stage.until("broken", "a success", |run| run.text("state") == "Succeeded").await;
    let run = stage.finished("broken").await;
    assert_eq!(run.text("runId"), id.to_string(), "{}", stage.story(&run));
    assert_eq!(stage.databricks.runs()[0].repairs, 1, "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_repair_that_lands_after_it_was_given_up_repairs_nothing_twice() {
    let stage = Stage::set("repair-late").await;
    let _operator = stage.operator().await;
    let id = failed(&stage).await;
    // The first request is given up and comes to nothing until a second one has repaired the run.
    stage.databricks.fault(Fault::on(Operation::Repair, Kind::HoldEffect).once());
    stage.annotate("broken", TOKEN, "monday").await;
    stage.until("broken", "a success", |run| run.text("state") == "Succeeded").await;
    stage.databricks.clear_faults();
    let given_up = stage.databricks.wait_for_request(Operation::Repair, |entry| entry.abandoned && entry.handled).await;
    given_up.unwrap();
    let run = stage.finished("broken").await;
    assert_eq!(run.text("runId"), id.to_string(), "{}", stage.story(&run));
    assert_eq!(stage.databricks.count(Operation::Repair), 2, "{}", stage.story(&run));
    assert_eq!(stage.databricks.runs()[0].repairs, 1, "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_repair_that_a_killed_operator_has_asked_for_is_found_by_the_next() {
    let stage = Stage::set("repair-killed").await;
    let operator = stage.process(OPERATOR, &[]);
    let id = failed(&stage).await;
    stage.databricks.fault(Fault::on(Operation::Repair, Kind::HoldAnswer).once());
    stage.annotate("broken", TOKEN, "monday").await;
    stage.databricks.wait_for_request(Operation::Repair, |entry| entry.handled).await.unwrap();
    operator.kill();
    stage.databricks.clear_faults();
    let _next = stage.process(OPERATOR, &[]);
    stage.until("broken", "a success", |run| run.text("state") == "Succeeded").await;
    let run = stage.finished("broken").await;
    assert_eq!(run.text("runId"), id.to_string(), "{}", stage.story(&run));
    assert_eq!((stage.databricks.runs()[0].repairs, stage.databricks.count(Operation::Repair)), (1, 1));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn two_operators_repair_a_run_once() {
    let stage = Stage::set("repair-two").await;
    let (_one, _other) = tokio::join!(stage.operator(), stage.operator());
    let id = failed(&stage).await;
    stage.annotate("broken", TOKEN, "monday").await;
    stage.until("broken", "a success", |run| run.text("state") == "Succeeded").await;
    let run = stage.finished("broken").await;
    assert_eq!(run.text("runId"), id.to_string(), "{}", stage.story(&run));
    assert_eq!(stage.databricks.runs()[0].repairs, 1, "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_repair_that_is_asked_for_in_good_time_follows_the_failure_at_once() {
    let stage = Stage::set("repair-early").await;
    // Fails when it is told to finish; what follows is the repair, which does not wait to be told.
    let job = stage.databricks.job("nightly").failing("ValueError: no rows", "line 3").running_forever().id();
    let _operator = stage.operator().await;
    let history = stage.history("broken");
    stage.apply(&stage.run("broken", run_now(job))).await;
    stage.running("broken").await;
    stage.annotate("broken", TOKEN, "monday").await;
    let _ = stage.databricks.job("nightly").script(Script::new());
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("broken").await;
    assert_eq!((run.text("state"), run.text("lastHandledRepair")), ("Succeeded".into(), "monday".into()));
    assert_eq!(run.last(), [run.text("runId").as_str(), "Failed", "Repair"], "{}", stage.story(&run));
    for version in history.so_far() {
        assert!(!version.shows_an_end() || version.text("state") == "Succeeded", "{:#}", version.status());
    }
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn an_object_that_is_deleted_while_its_repair_is_in_doubt_leaves_no_run_behind() {
    let stage = Stage::set("repair-deleted").await;
    let job = stage.databricks.job("nightly").failing("ValueError: no rows", "line 3").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("doomed", run_now(job))).await;
    stage.finished("doomed").await;
    let _ = stage.databricks.job("nightly").script(Script::new().running_forever());
    stage.databricks.fault(Fault::on(Operation::Repair, Kind::HoldAnswer).once());
    stage.annotate("doomed", TOKEN, "monday").await;
    stage.databricks.wait_for_request(Operation::Repair, |entry| entry.handled).await.unwrap();
    stage.delete("doomed").await;
    stage.gone("doomed").await;
    let record = &stage.databricks.runs()[0];
    assert!(record.cancelled && !record.active && record.repairs == 1, "{}", stage.databricks.story());
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn what_cannot_be_repaired_is_told_once_and_nothing_is_asked_for() {
    let stage = Stage::set("repair-refused").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("good", run_now(job))).await;
    stage.apply(&stage.run("one-off", submit("etl", json!([notebook("main", "/Shared/fail")])))).await;
    for (name, why) in [("good", "the run has succeeded"), ("one-off", "runs of saved jobs only")] {
        let before = stage.finished(name).await;
        stage.annotate(name, TOKEN, "monday").await;
        let run = stage.until(name, "aware of it", |run| run.text("lastHandledRepair") == "monday").await;
        assert_eq!(run.text("state"), before.text("state"), "{}", stage.story(&run));
        let told = stage.event(name, "RepairRefused").await;
        assert!(told.contains(why), "{told}");
    }
    assert_eq!(stage.databricks.count(Operation::Repair), 0, "{}", stage.databricks.story());
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn a_repair_token_that_is_there_at_creation_repairs_nothing() {
    let stage = Stage::set("repair-old").await;
    let job = stage.databricks.job("flaky").id();
    let _operator = stage.operator().await;
    let mut object = stage.run("broken", run_now(job));
    object["metadata"]["annotations"] = json!({TOKEN: "monday"});
    stage.apply(&object).await;
    let run = stage.finished("broken").await;
    assert_eq!((run.text("state"), run.text("lastHandledRepair")), ("Failed".into(), "monday".into()));
    assert_eq!(stage.databricks.count(Operation::Repair), 0, "{}", stage.story(&run));
}
