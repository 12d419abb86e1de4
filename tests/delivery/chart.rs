//! The chart against its own schema, the operator's flags and the version.

use std::collections::BTreeSet;
use std::process::Command;

use databricks_run_operator::api::crd::crds;
use serde_json::{Map, Value};

use crate::{json, none, read, yaml};

const CHART: &str = "charts/databricks-run-operator";

/// In the schema for those who use this chart inside of another, and never in the values.
const OF_AN_UMBRELLA: &str = "enabled";

fn object(value: &Value) -> Option<&Map<String, Value>> {
    value.as_object()
}

/// Compares the keys of values with the properties of a schema, as deep as the schema knows them.
fn compare(path: &str, values: &Map<String, Value>, schema: &Value, wrong: &mut Vec<String>) {
    let Some(properties) = object(&schema["properties"]) else { return };
    wrong.extend(
        values.keys().filter(|key| !properties.contains_key(*key)).map(|key| format!("{path}{key}: not in the schema")),
    );
    let unset = properties.keys().filter(|key| !values.contains_key(*key) && format!("{path}{key}") != OF_AN_UMBRELLA);
    // Kubernetes' own objects may be given in part.
    if path != "resources." {
        wrong.extend(unset.map(|key| format!("{path}{key}: not in values.yaml")));
    }
    for (key, value) in values {
        if let Some(below) = object(value) {
            compare(&format!("{path}{key}."), below, &properties[key], wrong);
        }
    }
}

/// Where a schema lets anything pass.
fn open_objects(path: &str, schema: &Value, open: &mut Vec<String>) {
    for (key, below) in object(&schema["properties"]).into_iter().flatten() {
        open_objects(&format!("{path}{key}."), below, open);
    }
    if object(&schema["properties"]).is_some() && schema["additionalProperties"] != Value::Bool(false) {
        open.push(path.to_owned());
    }
}

#[test]
fn the_schema_knows_every_value_and_no_others() {
    let (values, schema) = (yaml(&format!("{CHART}/values.yaml")), json(&format!("{CHART}/values.schema.json")));
    let mut wrong = Vec::new();
    compare("", object(&values).unwrap(), &schema, &mut wrong);
    none(&wrong);
    let mut open = Vec::new();
    open_objects("", &schema, &mut open);
    assert_eq!(open, ["global."], "a typo passes here");
}

#[test]
fn every_flag_of_the_chart_is_one_of_the_operator_s_and_none_is_forgotten() {
    let help = Command::new(env!("CARGO_BIN_EXE_databricks-run-operator")).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags_in = |text: &str| -> BTreeSet<String> {
        let words = text.split("--").skip(1).map(|rest| {
            let end = rest.find(|c: char| c != '-' && !c.is_ascii_lowercase()).unwrap_or(rest.len());
            rest[..end].to_owned()
        });
        words.filter(|word| word.contains('-') || word == "namespace").collect()
    };
    let known: BTreeSet<_> = help
        .lines()
        .filter(|line| line.trim_start().starts_with("--"))
        .flat_map(|line| flags_in(line.trim_start()))
        .collect();
    let template = read(&format!("{CHART}/templates/_args.tpl"));
    let used = flags_in(&template);
    let unknown: Vec<_> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "the operator knows no {unknown:?}");
    let by_environment =
        |flag: &&String| template.contains(&format!("DBRUN_{}", flag.to_uppercase().replace('-', "_")));
    let forgotten: Vec<_> = known.difference(&used).filter(|flag| !by_environment(flag)).collect();
    assert!(forgotten.is_empty(), "no value sets {forgotten:?}");
    let manager = flags_in(&read("config/manager/deployment.yaml"));
    assert!(manager.is_subset(&known), "{manager:?}");
}

#[test]
fn everything_that_is_delivered_has_the_version_of_the_operator() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = yaml(&format!("{CHART}/Chart.yaml"));
    assert_eq!((&chart["version"], &chart["appVersion"]), (&version.into(), &version.into()));
    let images = chart["annotations"]["artifacthub.io/images"].as_str().unwrap();
    let image = format!("ghcr.io/dbrun-dev/databricks-run-operator:{version}");
    assert!(images.contains(&format!("image: {image}\n")), "{images}");
    assert!(read("config/manager/deployment.yaml").contains(&format!("image: {image}\n")));
}

#[test]
fn artifact_hub_is_told_of_every_kind_and_shown_manifests_that_are_right() {
    let chart = yaml(&format!("{CHART}/Chart.yaml"));
    let annotation = |name: &str| -> Value {
        let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap();
        serde_saphyr::from_str(text).unwrap()
    };
    let told: BTreeSet<_> =
        annotation("crds").as_array().unwrap().iter().map(|crd| crd["name"].as_str().unwrap().to_owned()).collect();
    let there: BTreeSet<_> = crds().into_iter().map(|crd| crd.metadata.name.unwrap()).collect();
    assert_eq!(told, there);
    let examples = annotation("crdsExamples");
    let kinds: Vec<_> = examples.as_array().unwrap().iter().map(|example| example["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["DatabricksWorkspace", "DatabricksRun"]);
}

#[test]
fn every_value_is_described() {
    let page = read(&format!("{CHART}/README.md"));
    let (_, table) = page.split_once("\n## Values\n").unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 100, "{} rows", rows.len());
    let silent = rows.iter().filter(|row| row.ends_with("|  |") || row.ends_with("`` |"));
    none(&silent.map(|row| (*row).to_owned()).collect::<Vec<_>>());
}
