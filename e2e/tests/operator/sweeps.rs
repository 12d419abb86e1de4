//! Many runs of one workspace are looked at in lists, and what happens to one of them is seen all the same.

use e2e::stage::Stage;
use e2e::workspace::{Operation, Script};
use serde_json::json;

use crate::run_now;

/// Enough that a page costs less than the gets it saves, whatever the waits of their schedules have become.
const RUNS: usize = 40;

#[tokio::test]
async fn of_many_runs_that_are_looked_at_in_lists_the_one_that_ends_is_seen() {
    let stage = Stage::set("sweeps").await;
    let script = Script::new().failing("ValueError: no rows", "line 3").running_forever();
    let job = stage.databricks.job("nightly").script(script).id();
    let operator = stage.operator().await;
    let names: Vec<String> = (0..RUNS).map(|number| format!("run-{number}")).collect();
    for name in &names {
        let mut object = stage.run(name, run_now(job));
        object["spec"]["polling"] = json!({});
        stage.apply(&object).await;
    }
    for name in &names {
        stage.until(name, "running", |run| run.text("state") == "Running").await;
    }

    let databricks = &stage.databricks;
    let swept = |number: usize| {
        databricks.wait_for_request(Operation::ListRuns, move |entry| {
            entry.number > number && entry.query.contains("expand_tasks=true") && entry.status == Some(200)
        })
    };
    // Two whole sweeps, two pages each: from the second on a row that looks as before saves its run a get.
    let mut last = 0;
    for _ in 0..4 {
        last = swept(last).await.unwrap().number;
    }
    let id: i64 = stage.until(&names[7], "there", |_| true).await.text("runId").parse().unwrap();
    databricks.finish(id);
    let ended = stage.until(&names[7], "finished", |run| run.condition("Finished") == "True").await;
    assert_eq!(ended.text("state"), "Failed");
    assert!(ended.message("Succeeded").contains("ValueError: no rows"), "{:#}", ended.status());

    let metrics = operator.metrics.encode();
    let saved = r#"databricks_operator_sweep_rows_total{outcome="same"} "#;
    let count = metrics.lines().find_map(|line| line.strip_prefix(saved)).unwrap();
    assert_ne!(count, "0", "{metrics}");
    let others = names.iter().enumerate().filter(|(number, _)| *number != 7).map(|(_, name)| name);
    for name in others {
        assert_eq!(stage.until(name, "there", |_| true).await.text("state"), "Running", "{name}");
    }
    stage.assert_started_once_each(RUNS);
}
