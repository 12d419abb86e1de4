//! What an operator logs for machines to read.

use e2e::stage::Stage;
use serde_json::{Value, json};

use crate::run_now;

#[tokio::test]
async fn each_line_about_a_run_says_whose_it_is_and_which_run_and_attempt() {
    let stage = Stage::set("logs").await;
    let job = stage.databricks.job("nightly").notebook_result("42").id();
    let operator = stage.process(env!("CARGO_BIN_EXE_operator"), &["--log-format=json", "--log-level=debug"]);
    stage.apply(&stage.run("nightly", run_now(job))).await;
    let run = stage.finished("nightly").await;
    operator.logs("\"message\":\"finished\"").await;

    let log = operator.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let about = |line: &&Value| line["target"].as_str().unwrap().ends_with("::controller::reconcile");
    let whose = json!([stage.namespace.name(), "nightly", run.0.metadata.uid]);
    let of = |line: &Value| json!([line["namespace"], line["name"], line["uid"]]);
    for line in lines.iter().filter(about) {
        assert_eq!(of(line), whose, "{line}");
    }
    let finished = lines.iter().find(|line| line["message"] == "finished").unwrap();
    let which = json!([run.text("runId"), 1]);
    assert_eq!(json!([finished["run_id"], finished["attempt"]]), which, "{finished}");
    assert_eq!(finished["reason"], "RunSucceeded", "{finished}");

    let calls = |operation: &str| lines.iter().filter(|line| line["operation"] == operation).collect::<Vec<_>>();
    let start = calls("run-now");
    assert!(start.iter().all(|line| of(line) == whose) && start.len() == 1, "{start:?}");
    let outputs = calls("get-output");
    let is_about_it = |line: &&Value| of(line) == whose && json!([line["run_id"], line["attempt"]]) == which;
    assert!(outputs.iter().all(is_about_it) && !outputs.is_empty(), "{outputs:?}");
    let polls = calls("get-run");
    assert!(polls.iter().all(|line| line["run_id"] == which[0]) && !polls.is_empty(), "{polls:?}");
}
