//! Runs end as Databricks says they ended, and the status tells why.

use e2e::stage::Stage;
use serde_json::json;

#[tokio::test]
async fn a_run_that_succeeds_is_told_with_its_result() {
    let stage = Stage::set("succeeds").await;
    let job = stage.databricks.job("nightly").notebook_result("42 rows").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("good", json!({"runNow": {"job_id": job}}))).await;
    let run = stage.finished("good").await;
    assert_eq!(
        (run.condition("Ready"), run.condition("Succeeded")),
        ("True".into(), "True".into()),
        "{:#}",
        run.status()
    );
    assert_eq!((run.text("state"), run.text("resultState")), ("Succeeded".into(), "SUCCESS".into()));
    assert_eq!(run.status()["outputs"][0]["result"], "42 rows", "{:#}", run.status());
    assert_eq!(run.condition("Stalled"), "");
    assert_eq!(stage.databricks.runs_started(), 1);
    assert_eq!(run.text("runId"), stage.databricks.runs()[0].id.to_string());
}
