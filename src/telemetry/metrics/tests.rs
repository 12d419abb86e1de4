use std::collections::BTreeSet;

use super::*;

/// Metrics of which each has been used once.
fn used() -> (Metrics, Underway) {
    let metrics = Metrics::new();
    let underway = metrics.reconcile_begins("databricksrun");
    let second = Duration::from_secs(1);
    for result in [ReconcileResult::Success, ReconcileResult::RequeueAfter, ReconcileResult::Error] {
        metrics.reconciled("databricksrun", result, second);
    }
    metrics.reconcile_panicked("databricksrun");
    metrics.api_called("get-run", "Throttled", Some(429), Some(second));
    metrics.api_called("get-run", "RateLimited", None, None);
    metrics.limiter_waits("poll", second);
    metrics.polled("same");
    metrics.poll_late_by(second);
    metrics.swept("page", [1, 1, 1]);
    metrics.end_seen_after(second);
    metrics.set_runs([("Running", 3), ("Failed", 1)]);
    metrics.set_polling(Some(Polling { unread: 2, overdue: 1 }));
    metrics.run_finished("RunSucceeded");
    for write in [StatusWrite::Written, StatusWrite::Suppressed, StatusWrite::Conflict, StatusWrite::Failed] {
        metrics.status_write(write);
    }
    metrics.event_published("Normal");
    metrics.token_refreshed("Ok");
    metrics.run_orphaned();
    metrics.undecodable("DatabricksRun");
    metrics.set_leading("databricks-run-operator", true);
    metrics.set_workspaces([("Ready", 1)], 1);
    metrics.kubernetes_called("GET", Some(200));
    metrics.kubernetes_waited(second);
    metrics.watch_begins("DatabricksRun");
    metrics.listed("DatabricksRun");
    metrics.watch_interrupted("DatabricksRun");
    metrics.set_stored("DatabricksRun", 4);
    (metrics, underway)
}

/// Whether this system tells it; what a process uses is told on Linux alone.
fn is_told(name: &str) -> bool {
    cfg!(target_os = "linux") || !resources::NAMES.iter().any(|resource| name.starts_with(resource))
}

/// `name type` of all that a scrape shows.
fn scraped(metrics: &Metrics) -> BTreeSet<String> {
    metrics
        .encode()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            match kind {
                "counter" => format!("{name}_total counter"),
                "info" => format!("{name}_info info"),
                _ => line.to_owned(),
            }
        })
        .collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let page = include_str!("../../../docs/metrics.md");
    let documented: BTreeSet<_> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            let name = cells.next()?.trim_end_matches('`');
            let kind = cells.next()?;
            Some(format!("{name} {kind}"))
        })
        .collect();
    let ours = |names: BTreeSet<String>| names.into_iter().filter(|name| is_told(name)).collect::<BTreeSet<_>>();
    assert_eq!(ours(scraped(&used().0)), ours(documented));
}

#[test]
fn every_registered_metric_has_a_method_that_feeds_it() {
    let (metrics, _underway) = used();
    let names: Vec<_> = metrics.names().iter().filter(|name| is_told(name)).collect();
    assert_eq!(scraped(&metrics).iter().filter(|name| is_told(name)).count(), names.len());
    let text = metrics.encode();
    for name in names {
        let is_fed = text.lines().any(|line| line.starts_with(name.as_str()) && !line.ends_with(" 0"));
        assert!(is_fed, "{name} was never fed:\n{text}");
    }
}

#[test]
fn names_are_in_base_units_with_our_prefix_or_that_of_a_metric_people_know() {
    // The last ones are client-go's and Prometheus' own.
    let prefixes =
        ["databricks_operator_", "controller_runtime_", "leader_election_", "process_", "rest_client_", "workqueue_"];
    for name in Metrics::new().names() {
        assert!(prefixes.iter().any(|prefix| name.starts_with(prefix)), "{name}");
        assert!(!name.ends_with("_total") && !name.contains("milli"), "{name}");
    }
}

#[test]
fn states_without_objects_disappear() {
    let (metrics, _underway) = used();
    metrics.set_runs([("Running", 2)]);
    let text = metrics.encode();
    assert!(text.contains(r#"databricks_operator_runs{state="Running"} 2"#), "{text}");
    assert!(!text.contains("Failed\"} 1"), "{text}");
}

#[test]
fn what_is_not_known_of_polling_is_not_told_as_nothing() {
    let metrics = Metrics::new();
    let told = |line: &str| metrics.encode().lines().any(|told| told == line);
    assert!(!metrics.encode().contains("\ndatabricks_operator_runs_unread"));
    metrics.set_polling(Some(Polling { unread: 0, overdue: 3 }));
    assert!(told("databricks_operator_runs_unread 0") && told("databricks_operator_polls_overdue 3"));
    metrics.set_polling(None);
    assert!(!metrics.encode().contains("\ndatabricks_operator_runs_unread"));
}

#[test]
fn an_error_counts_as_a_reconcile_and_as_an_error() {
    let text = used().0.encode();
    assert!(
        text.contains(r#"controller_runtime_reconcile_total{controller="databricksrun",result="error"} 1"#),
        "{text}"
    );
    assert!(text.contains(r#"controller_runtime_reconcile_errors_total{controller="databricksrun"} 1"#), "{text}");
}

#[test]
fn the_version_is_told() {
    let text = Metrics::new().encode();
    let line = format!(r#"databricks_operator_build_info{{version="{}"}} 1"#, env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&line), "{text}");
}

#[test]
fn a_call_that_was_held_back_has_no_time() {
    let text = used().0.encode();
    assert!(
        text.contains(
            r#"databricks_operator_api_calls_total{operation="get-run",outcome="RateLimited",code="none"} 1"#
        ),
        "{text}"
    );
    assert!(text.contains(r#"databricks_operator_api_call_seconds_count{operation="get-run"} 1"#), "{text}");
}

#[test]
fn what_is_under_way_is_told_with_the_age_of_the_oldest() {
    let metrics = Metrics::new();
    let value = |name: &str, label: &str, controller: &str| -> f64 {
        let series = format!(r#"{name}{{{label}="{controller}"}} "#);
        let text = metrics.encode();
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
    };
    let active = |controller| value("controller_runtime_active_workers", "controller", controller);
    let longest = |controller| value("workqueue_longest_running_processor_seconds", "name", controller);
    assert_eq!((active("databricksrun"), longest("databricksrun")), (0.0, 0.0));
    let first = metrics.reconcile_begins("databricksrun");
    let second = metrics.reconcile_begins("databricksrun");
    assert!((active("databricksrun") - 2.0).abs() < 0.1 && longest("databricksrun") > 0.0);
    assert_eq!((active("databricksworkspace"), longest("databricksworkspace")), (0.0, 0.0));
    drop(first);
    assert!((active("databricksrun") - 1.0).abs() < 0.1 && longest("databricksrun") > 0.0);
    drop(second);
    assert_eq!((active("databricksrun"), longest("databricksrun")), (0.0, 0.0));
}

#[test]
fn what_is_seldom_counted_is_there_from_the_begin() {
    let text = Metrics::new().encode();
    for series in [
        r#"controller_runtime_reconcile_panics_total{controller="databricksworkspace"} 0"#,
        "databricks_operator_orphaned_runs_total 0",
        r#"databricks_operator_undecodable_objects_total{kind="DatabricksRun"} 0"#,
    ] {
        assert!(text.contains(series), "{series} is not in\n{text}");
    }
}

#[test]
fn a_request_is_told_by_its_code_and_one_without_an_answer_by_client_go_s_word() {
    let metrics = Metrics::new();
    metrics.kubernetes_called("PATCH", Some(409));
    metrics.kubernetes_called("GET", None);
    let text = metrics.encode();
    assert!(text.contains(r#"rest_client_requests_total{code="409",method="PATCH"} 1"#), "{text}");
    assert!(text.contains(r#"rest_client_requests_total{code="<error>",method="GET"} 1"#), "{text}");
}
