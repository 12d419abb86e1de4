//! What holds of every text that is shown and of every status that is written.

use serde_json::Value;

use crate::api::conditions::{FINISHED, READY, RECONCILING, RUN_TYPES, STALLED, SUCCEEDED};
use crate::api::status::{DatabricksRunStatus, RepairRecord};

/// Bytes of a status, requests that are written ahead apart.
pub(super) fn size(status: &DatabricksRunStatus) -> usize {
    let repair = status.repair.as_ref().map(|repair| RepairRecord { body: String::new(), ..repair.clone() });
    let shown = DatabricksRunStatus { intent: None, repair, ..status.clone() };
    serde_json::to_string(&shown).map_or(usize::MAX, |text| text.len())
}

/// The contract of the conditions with whoever waits for them: what of it is broken.
pub(super) fn broken(status: &DatabricksRunStatus) -> Option<&'static str> {
    let said = |kind: &str| status.conditions.iter().find(|it| it.type_ == kind).map(|it| it.status.as_str());
    let ended = status.completion_time.is_some();
    let mut ours = status.conditions.iter().filter(|it| RUN_TYPES.contains(&it.type_.as_str()));
    let breaks = [
        ([READY, SUCCEEDED, FINISHED].into_iter().any(|kind| said(kind).is_none()), "a condition is missing"),
        (said(RECONCILING).is_some() && said(STALLED).is_some(), "both going on and stalled"),
        ((said(SUCCEEDED) != Some("Unknown")) != ended, "completionTime and Succeeded disagree"),
        ((said(FINISHED) == Some("True")) != ended, "completionTime and Finished disagree"),
        (
            ours.any(|it| it.message.len() > 1024 || it.observed_generation != status.observed_generation),
            "a long message, or one of another generation",
        ),
    ];
    breaks.into_iter().find_map(|(broken, what)| broken.then_some(what))
}

/// The bounds of a status that only this operator has written.
pub(super) fn bounds(status: &DatabricksRunStatus) {
    assert!(status.tasks.len() <= 100, "{} tasks", status.tasks.len());
    assert!(status.outputs.len() <= 10, "{} outputs", status.outputs.len());
    assert!(status.attempts.len() <= 10, "{} attempts", status.attempts.len());
    let shown = DatabricksRunStatus { intent: None, repair: None, outputs: Vec::new(), ..status.clone() };
    texts(&serde_json::to_value(shown).unwrap_or_default(), one_line);
    texts(&serde_json::to_value(&status.outputs).unwrap_or_default(), harmless);
}

fn texts(value: &Value, holds: fn(&str)) {
    match value {
        Value::String(text) => holds(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, holds)),
        Value::Object(members) => members.values().for_each(|member| texts(member, holds)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text that disturbs no terminal and reads in the direction it is written in.
pub(super) fn harmless(text: &str) {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let harmful = text.chars().find(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || turns(*c));
    assert_eq!(harmful, None, "in {text:?}");
}

/// The same, of one line.
pub(super) fn one_line(text: &str) {
    harmless(text);
    assert!(!text.contains(['\n', '\t']), "more than one line: {text:?}");
}
