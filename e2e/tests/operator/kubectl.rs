//! What a person at a terminal sees.

use e2e::stage::Stage;

use crate::run_now;

/// Waits as a script would, ends the run meanwhile, and answers the outputs that are there when `kubectl wait` returns.
async fn outputs_after_wait(stage: &Stage, name: &str) -> String {
    stage.running(name).await;
    let arguments = ["wait", &format!("dbrun/{name}"), "--for=condition=Finished", "--timeout=60s"];
    let waiting = stage.kubectl(&arguments);
    stage.databricks.finish(stage.databricks.runs()[0].id);
    waiting.await;
    stage.kubectl(&["get", "dbrun", name, "-o", "jsonpath={.status.outputs}"]).await
}

#[tokio::test]
async fn kubectl_wait_returns_on_success_with_the_result_there() {
    let stage = Stage::set("wait-good").await;
    let job = stage.databricks.job("nightly").notebook_result("42 rows").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("good", run_now(job))).await;
    let outputs = outputs_after_wait(&stage, "good").await;
    assert!(outputs.contains("42 rows"), "{outputs}");
}

#[tokio::test]
async fn kubectl_wait_returns_on_failure_with_the_trace_there() {
    let stage = Stage::set("wait-bad").await;
    let job = stage.databricks.job("nightly").failing("ValueError: no rows", "line 3").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("bad", run_now(job))).await;
    let outputs = outputs_after_wait(&stage, "bad").await;
    assert!(outputs.contains("ValueError: no rows") && outputs.contains("line 3"), "{outputs}");
}

#[tokio::test]
async fn kubectl_get_shows_the_columns() {
    let stage = Stage::set("columns").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("good", run_now(job))).await;
    let run = stage.finished("good").await;
    let table = stage.kubectl(&["get", "dbrun"]).await;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "JOB", "STATE", "RESULT", "RUN", "ID", "ATTEMPT", "DURATION", "AGE"], "{table}");
    let (job, id, duration) = (run.text("displayName"), run.text("runId"), run.text("duration"));
    assert_eq!(lines[1][..7], ["good", &job, "Succeeded", "SUCCESS", &id, "1", &duration], "{table}");
}

#[tokio::test]
async fn kubectl_explain_teaches_a_task() {
    let stage = Stage::bare("explain").await;
    let taught = stage.kubectl(&["explain", "databricksrun.spec.submit.tasks.notebook_task"]).await;
    assert!(taught.contains("notebook_path") && taught.contains("base_parameters"), "{taught}");
    assert!(taught.contains("Example"), "{taught}");
}
