//! Alerts and dashboard ask for metrics that there are, and every alert is explained and tested.

use std::collections::BTreeSet;

use databricks_run_operator::telemetry::Metrics;
use serde_json::Value;

use crate::{json, none, read, yaml};

const ALERTS: &str = "config/prometheus/alerts.yaml";
const DASHBOARD: &str = "config/grafana/databricks-run-operator.json";

/// Not the operator's: measured by the kubelet.
const FOREIGN: [&str; 1] = ["container_memory_working_set_bytes"];

/// What the format adds to a name.
const SUFFIXES: [&str; 5] = ["_total", "_info", "_bucket", "_sum", "_count"];

/// Words of a query that name metrics: those with an underscore that are followed by nothing, a selector or a range.
fn metrics_in(query: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    let mut names = BTreeSet::new();
    let (mut rest, mut in_braces, mut in_quotes) = (query, false, false);
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        if end == 0 {
            match c {
                '"' => in_quotes = !in_quotes,
                '{' if !in_quotes => in_braces = true,
                '}' if !in_quotes => in_braces = false,
                _ => {}
            }
            rest = &rest[c.len_utf8()..];
            continue;
        }
        rest = &rest[end..];
        if ["by", "without", "on", "ignoring"].contains(&word) {
            rest = rest.split_once(')').map_or("", |(_, behind)| behind);
            continue;
        }
        let is_function = rest.starts_with('(');
        if !in_braces && !in_quotes && !is_function && word.contains('_') && !word.starts_with('$') {
            names.insert(word.to_owned());
        }
    }
    names
}

fn rules() -> Vec<Value> {
    let alerts = yaml(ALERTS);
    let groups = alerts["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect()
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("no {path} in {value}"))
}

/// Every query of the dashboard, with where it stands.
fn queries(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| queries(one, found)),
        Value::Object(fields) => {
            let title = fields.get("title").and_then(Value::as_str);
            for target in fields.get("targets").and_then(Value::as_array).into_iter().flatten() {
                found.push((title.unwrap_or_default().to_owned(), text(target, "/expr").to_owned()));
            }
            if let Some(definition) = fields.get("definition").and_then(Value::as_str) {
                let query = definition.trim_start_matches("label_values(").split(',').next().unwrap();
                found.push((text(value, "/name").to_owned(), query.to_owned()));
            }
            fields.values().for_each(|field| queries(field, found));
        }
        _ => {}
    }
}

#[test]
fn every_metric_in_alerts_and_dashboard_is_one_of_the_operator_s() {
    let metrics = Metrics::new();
    let known = |name: &String| {
        let bare = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        metrics.names().iter().any(|known| known == bare || known == name) || FOREIGN.contains(&name.as_str())
    };
    let mut asked: Vec<_> =
        rules().iter().map(|rule| (text(rule, "/alert").to_owned(), text(rule, "/expr").to_owned())).collect();
    queries(&json(DASHBOARD), &mut asked);
    assert!(asked.len() > 30, "only {} queries were found", asked.len());
    let mut wrong = Vec::new();
    for (place, query) in &asked {
        let names = metrics_in(query);
        if names.is_empty() {
            wrong.push(format!("{place}: no metric in {query}"));
        }
        wrong
            .extend(names.iter().filter(|name| !known(name)).map(|name| format!("{place}: there is no metric {name}")));
    }
    none(&wrong);
}

#[test]
fn every_alert_is_explained_tested_and_leads_to_its_explanation() {
    let (page, tests) = (read("docs/operations.md"), read("config/prometheus/alerts-test.yaml"));
    let mut wrong = Vec::new();
    for rule in rules() {
        let name = text(&rule, "/alert");
        let link = format!("/docs/operations.md#{}", name.to_lowercase());
        if !text(&rule, "/annotations/runbook_url").ends_with(&link) {
            wrong.push(format!("{name}: its runbook_url must end with {link}"));
        }
        if !page.contains(&format!("\n### {name}\n\n**Meaning.** ")) {
            wrong.push(format!("{name}: docs/operations.md does not explain it"));
        }
        let fires = format!("alertname=\"{name}\",alertstate=\"firing\"");
        if !tests.contains(&fires) && !tests.contains(&format!("alertname: {name}\n")) {
            wrong.push(format!("{name}: alerts-test.yaml does not let it fire"));
        }
        for part in ["/labels/severity", "/annotations/summary", "/annotations/description"] {
            assert!(!text(&rule, part).is_empty(), "{name}");
        }
    }
    none(&wrong);
    let explained = page.lines().filter(|line| line.starts_with("### ")).count();
    assert_eq!(explained, rules().len(), "docs/operations.md explains alerts that there are not");
}

#[test]
fn names_of_metrics_are_found_in_queries() {
    let query = r#"sum by (le, a_label) (rate(x_total{b_c="d_e",f!~"g_h|i"}[$__rate_interval])) / y_z - (k_l offset 1h or k_l * 0)"#;
    let found = metrics_in(query);
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), ["k_l", "x_total", "y_z"]);
}
