//! What an operator counts is what docs/metrics.md says it counts.

use std::collections::BTreeSet;

use e2e::stage::Stage;
use e2e::wait::eventually;
use e2e::workspace::{Fault, Kind, Operation, RetryAfter};
use serde_json::json;

use crate::run_now;

/// Name and type of each metric of the documentation.
fn documented() -> BTreeSet<(String, String)> {
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), rest.split_once(" |")?.0.to_owned()))
    };
    include_str!("../../../docs/metrics.md").lines().filter_map(row).collect()
}

/// The same of each metric of a scrape.
fn told(scrape: &str) -> BTreeSet<(String, String)> {
    let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let named = types.map(|(name, kind)| {
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        (format!("{name}{suffix}"), kind.to_owned())
    });
    named.collect()
}

/// The metrics that have a value.
fn values(scrape: &str) -> BTreeSet<&str> {
    let samples = scrape.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(|name| name.trim_end_matches("_count")).collect()
}

/// What the life below leads to.
const SERIES: [&str; 9] = [
    r#"leader_election_master_status{name="databricks-run-operator"} 1"#,
    r#"databricks_operator_workspaces{state="Ready"} 1"#,
    "databricks_operator_breakers_open 0",
    r#"databricks_operator_stored_objects{kind="DatabricksRun"} 7"#,
    r#"databricks_operator_watch_lists_total{kind="DatabricksRun"} 1"#,
    "databricks_operator_orphaned_runs_total 1",
    r#"databricks_operator_api_calls_total{operation="get-run",outcome="Throttled",code="429"} 1"#,
    r#"rest_client_requests_total{code="201",method="POST"}"#,
    r#"rest_client_requests_total{code="200",method="PATCH"}"#,
];

#[tokio::test]
async fn a_scrape_has_a_value_of_every_documented_metric_and_tells_of_no_other() {
    let stage = Stage::bare("metrics").await;
    stage.connect_by_oauth().await;
    let databricks = &stage.databricks;
    let job = databricks.job("nightly").running_forever().id();
    let throttled = Kind::throttled(Some(RetryAfter::Seconds(1)));
    databricks.fault(Fault::on(Operation::GetRun, throttled).once());
    // More starts than the operator may send at once.
    let names: Vec<_> = (0..8).map(|number| format!("run-{number}")).collect();
    for name in &names {
        let mut run = stage.run(name, run_now(job));
        run["spec"]["deletionPolicy"] = json!("Orphan");
        stage.apply(&run).await;
    }
    let election = format!("--leader-elect-namespace={}", stage.rights.home());
    let flags = ["--leader-elect=true", &election, "--requests-per-second=4"];
    let operator = stage.process(env!("CARGO_BIN_EXE_operator"), &flags);
    for name in &names {
        stage.running(name).await;
    }
    let (orphaned, finished) = (&names[0], &names[1]);
    let run_id = stage.now(finished).await.text("runId");
    databricks.finish(run_id.parse().unwrap());
    stage.finished(finished).await;
    stage.delete(orphaned).await;
    stage.gone(orphaned).await;

    let documented = documented();
    assert!(documented.len() > 30, "{documented:?}");
    let scrape = eventually("each documented metric to have its value", async || {
        let scrape = operator.scrape().await;
        let values = values(&scrape);
        let silent = documented.iter().map(|(name, _)| &**name).filter(|name| !values.contains(name));
        let missing: Vec<_> = silent.chain(SERIES.into_iter().filter(|series| !scrape.contains(series))).collect();
        if missing.is_empty() { Ok(scrape) } else { Err(format!("{missing:?} are not in\n{scrape}")) }
    })
    .await;
    assert_eq!(told(&scrape), documented);
    for name in &names {
        assert!(!scrape.contains(name.as_str()), "the name of an object is a label:\n{scrape}");
    }
}
