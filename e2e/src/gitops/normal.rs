//! Objects as they are committed: what is another one in every run of the tests (ids, times, names of the place) is made the
//! same, and everything else is as the operator wrote it.

use std::collections::HashMap;

use regex::{Captures, Regex};
use serde_json::{Value, json};

/// The host of the workspace in testdata.
const HOST: &str = "https://adb-1234567890123456.7.azuredatabricks.net";

/// Every time but the one that stands for never.
const TIME: &str = "2026-11-23T06:00:00Z";

/// The object without what chance and place have put into it. `namespaces` are replaced by `data-platform`.
#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "fixed patterns, and JSON that came from an object")]
#[must_use]
pub fn normal(object: &Value, namespaces: &[&str], host: &str) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        // As `kubectl get` shows it.
        metadata.remove("managedFields");
        metadata.insert("resourceVersion".to_owned(), json!("48151"));
    }
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    durations(&mut object);
    let mut text = serde_json::to_string(&object).expect("an object is JSON");
    for namespace in namespaces {
        text = text.replace(namespace, "data-platform");
    }
    text = text.replace(&uid, "6f1c9d5e-2b7a-4c3e-9f01-8a5d7e4b2c10").replace(host, HOST);
    let patterns: [(&str, Name); 6] = [
        // Ids of Databricks: all of them pass 2^53.
        (r"\b8\d{18}\b", |n| format!("{}", 8_646_911_284_551_353_001_u64 + n as u64)),
        (r"v1:[0-9a-f]{40}", |n| format!("v1:{:040x}", 0x6c1e_0000 + n)),
        (r"test_[0-9a-f]{16}", |n| format!("databricks-run-operator-{n}")),
        (r"\b[0-9a-f]{32}\b", |n| format!("{:032x}", 0x5ec1 + n)),
        (r"\b\d\d:\d\d:\d\d UTC", |_| "06:00:10 UTC".to_owned()),
        (r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", |_| TIME.to_owned()),
    ];
    for (pattern, name) in patterns {
        text = renamed(&text, &Regex::new(pattern).expect("a pattern"), name);
    }
    serde_json::from_str(&text).expect("names and numbers were replaced by names and numbers")
}

/// What the text that was found first, second and so on is called.
type Name = fn(usize) -> String;

/// Replaces each different text that matches by a name of its own, in the order in which they appear.
fn renamed(text: &str, pattern: &Regex, name: Name) -> String {
    let mut known: HashMap<String, String> = HashMap::new();
    let replace = |found: &Captures<'_>| {
        let next = known.len();
        known.entry(found[0].to_owned()).or_insert_with(|| name(next)).clone()
    };
    pattern.replace_all(text, replace).into_owned()
}

/// How long anything took, which of a run's parts took any time included.
fn durations(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(durations),
        Value::Object(members) => {
            for (name, member) in members {
                match name.as_str() {
                    "duration" => *member = json!("4m12s"),
                    "durations" => *member = json!({"executionMillis": 252_000, "totalMillis": 252_000}),
                    _ => durations(member),
                }
            }
        }
        _ => {}
    }
}
