//! The API reference as a page: every kind, its fields, what is refused, and the words of the status.

use std::fmt::Write as _;

use databricks_run_operator::api::conditions::{Reason, State};
use databricks_run_operator::api::run::{RERUN_ANNOTATION, START_ANNOTATION};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

const INTRODUCTION: &str = "\
<!-- Generated from src/api by `UPDATE=1 cargo test --test generated`. Do not edit. -->

# API reference

Three kinds in `dbrun.dev/v1alpha1`. The same text is in `kubectl explain databricksrun.spec --recursive`. Fields in *italics*
are required. Fields that are not listed in the bodies `runNow` and `submit` are sent to Databricks as they are written.
";

/// The whole page.
pub(crate) fn page(crds: &[CustomResourceDefinition]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for crd in crds {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let schema = &schema["openAPIV3Schema"];
        let _ =
            write!(page, "\n## {}\n\n{}\n", crd.spec.names.kind, schema["description"].as_str().unwrap_or_default());
        section(&mut page, "spec", &schema["properties"]["spec"]);
        section(&mut page, "status", &schema["properties"]["status"]);
    }
    let _ = write!(
        page,
        "\n## Annotations of a run\n\n\
         | annotation | who writes it | meaning |\n| --- | --- | --- |\n\
         | `{RERUN_ANNOTATION}` | you | Any new text asks for one more run; one that is there at creation belongs to the first run. |\n\
         | `{START_ANNOTATION}` | the operator | `<uid>/<serial>` of the object's last start. A copy that carries another object's uid starts nothing. |\n"
    );
    words(&mut page, "States", "`status.state`, for people.", State::ALL.iter().map(|s| (s.as_str(), s.meaning())));
    words(
        &mut page,
        "Reasons",
        "`reason` of the conditions. Words may be added, never renamed or removed.",
        Reason::ALL.iter().map(|reason| (reason.as_str(), reason.meaning())),
    );
    page
}

fn words<'a>(page: &mut String, title: &str, opening: &str, words: impl Iterator<Item = (&'a str, &'a str)>) {
    let _ = write!(page, "\n## {title}\n\n{opening}\n\n| word | meaning |\n| --- | --- |\n");
    for (word, meaning) in words {
        let _ = writeln!(page, "| `{word}` | {} |", cell(meaning));
    }
}

/// One object's fields, then a section for each object within.
fn section(page: &mut String, path: &str, schema: &Value) {
    let _ = write!(page, "\n### {path}\n\n{}\n", schema["description"].as_str().unwrap_or_default());
    page.push_str("\n| field | type | meaning |\n| --- | --- | --- |\n");
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (name, field) in properties.clone() {
        let required = schema["required"].as_array().is_some_and(|required| required.contains(&name.as_str().into()));
        let name = if required { format!("*`{name}`*") } else { format!("`{name}`") };
        let _ = writeln!(
            page,
            "| {name} | {} | {} |",
            kind(field),
            cell(field["description"].as_str().unwrap_or_default())
        );
    }
    let rules: Vec<_> = rules(schema).collect();
    if !rules.is_empty() {
        page.push_str("\nRefused at admission:\n\n");
        for rule in rules {
            let _ = writeln!(page, "- {rule}");
        }
    }
    for (name, field) in properties {
        let (within, mark) = if field["items"].is_object() { (&field["items"], "[]") } else { (field, "") };
        if within["properties"].is_object() {
            section(page, &format!("{path}.{name}{mark}"), within);
        }
    }
}

/// The rules of an object and of its plain fields.
fn rules(schema: &Value) -> impl Iterator<Item = String> {
    let messages = |schema: &Value| -> Vec<String> {
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        rules.filter_map(|rule| rule["message"].as_str().map(str::to_owned)).collect()
    };
    let fields = schema["properties"].as_object().into_iter().flatten();
    let plain = fields.filter(|(_, field)| field["type"] == "string").flat_map(move |(name, field)| {
        messages(field)
            .into_iter()
            .map(move |message| if message.starts_with('`') { message } else { format!("`{name}` {message}") })
    });
    messages(schema).into_iter().chain(plain.collect::<Vec<_>>())
}

fn kind(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        return words
            .iter()
            .map(|word| format!("`{}`", word.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", kind(&schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => "map of string".to_owned(),
        Some("string") if schema["format"] == "date-time" => "time".to_owned(),
        Some(plain) => plain.to_owned(),
        None => "integer or string".to_owned(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
