//! Operators that share a cluster: each looks after the runs with its labels.

use e2e::stage::{Operator, Stage};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::run_now;

fn labelled(mut run: Value, team: &str) -> Value {
    run["metadata"]["labels"] = json!({"team": team});
    run
}

async fn serving(stage: &Stage, selector: &str) -> Operator {
    stage.operator_with(|options| options.selector = Some(selector.to_owned())).await
}

#[tokio::test]
async fn an_operator_serves_the_runs_with_its_labels_and_leaves_the_others_alone() {
    let stage = Stage::set("selector").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = serving(&stage, "team in (a, b)").await;
    for (name, team) in [("theirs", "c"), ("one", "a"), ("two", "b")] {
        stage.apply(&labelled(stage.run(name, run_now(job)), team)).await;
    }
    stage.finished("one").await;
    stage.finished("two").await;
    assert_eq!(stage.now("theirs").await.generation_seen(), -1);
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn a_run_whose_label_changes_is_followed_by_the_other_operator_and_not_started_again() {
    let stage = Stage::set("selectors").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let first = serving(&stage, "team=a").await;
    let _second = serving(&stage, "team!=a").await;
    stage.apply(&labelled(stage.run("moved", run_now(job)), "a")).await;
    stage.running("moved").await;
    let moved = Patch::Merge(json!({"metadata": {"labels": {"team": "b"}}}));
    stage.runs().patch("moved", &PatchParams::default(), &moved).await.unwrap();
    first.stop();
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("moved").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_selector_that_is_none_is_told_at_the_start() {
    let stage = Stage::set("no-selector").await;
    let operator = stage.process(env!("CARGO_BIN_EXE_operator"), &["--watch-selector", "team in a, b"]);
    operator.logs("--watch-selector `team in a, b`: ").await;
    operator.logs("write it as for `kubectl get -l`").await;
    assert!(!operator.ended_well());
}
