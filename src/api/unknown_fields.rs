//! Fields of a body that nobody knows: they are sent all the same (Databricks may know them), and a Warning event names
//! them with the nearest known field. What is known comes from the schema of the body and from nowhere else.

use serde_json::{Map, Value};

use super::body;
use super::status::Endpoint;

/// Fields that are reported of one body, at most.
const MAX_REPORTED: usize = 10;
/// Likeness from which a known field is offered; `job_paramters` and `job_parameters` have 0.93.
const ALIKE: f64 = 0.7;

/// A field that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// Where it stands, as `submit.tasks[0].notebok_task`.
    pub path: String,
    /// The known field at that place which is most like it.
    pub nearest: Option<&'static str>,
}

impl std::fmt::Display for UnknownField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.path)?;
        match self.nearest {
            Some(nearest) => write!(f, " (did you mean `{nearest}`?)"),
            None => Ok(()),
        }
    }
}

/// The first unknown fields of a body, in the order of the body's own.
#[must_use]
pub fn unknown_fields(endpoint: Endpoint, body: &Map<String, Value>) -> Vec<UnknownField> {
    let mut found = Vec::new();
    let root = match endpoint {
        Endpoint::RunNow => "runNow",
        Endpoint::Submit => "submit",
    };
    walk_object(body, body::schema(endpoint), root, &mut found);
    found.truncate(MAX_REPORTED);
    found
}

fn walk(value: &Value, schema: &'static Value, path: &str, found: &mut Vec<UnknownField>) {
    match value {
        Value::Object(fields) => walk_object(fields, schema, path, found),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &schema["items"], &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// Objects without declared fields are passed through, or are maps of the user's own keys.
fn walk_object(fields: &Map<String, Value>, schema: &'static Value, path: &str, found: &mut Vec<UnknownField>) {
    let Some(known) = schema["properties"].as_object() else { return };
    for (name, value) in fields {
        let path = format!("{path}.{name}");
        match known.get(name) {
            // The one place where a body nests itself; its schema is left open to keep the CRD small.
            Some(_) if path.ends_with(".for_each_task.task") => walk(value, body::task_schema(), &path, found),
            Some(schema) => walk(value, schema, &path, found),
            None => found.push(UnknownField { path, nearest: nearest(name, known.keys()) }),
        }
    }
}

fn nearest(name: &str, known: impl Iterator<Item = &'static String>) -> Option<&'static str> {
    let name = snake_case(name);
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(&name, known), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known.as_str())
}

/// `jobParameters` is a frequent slip in a Kubernetes manifest.
fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unknown(endpoint: Endpoint, body: &Value) -> Vec<String> {
        unknown_fields(endpoint, body.as_object().unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_misspelt_field_is_named_with_the_nearest_known_one() {
        assert_eq!(
            unknown(Endpoint::RunNow, &json!({"job_id": 1, "job_paramters": {"any": "1"}, "notebookParams": {}})),
            [
                "`runNow.job_paramters` (did you mean `job_parameters`?)",
                "`runNow.notebookParams` (did you mean `notebook_params`?)"
            ]
        );
    }

    #[test]
    fn tasks_and_their_kinds_are_looked_into() {
        let body = json!({"tasks": [
            {"task_key": "a", "notebok_task": {}},
            {"task_key": "b", "sql_task": {"warehouse": "1"}},
            {"task_key": "c", "for_each_task": {"inputs": "[]", "task": {"task_kei": "d"}}},
        ]});
        assert_eq!(
            unknown(Endpoint::Submit, &body),
            [
                "`submit.tasks[0].notebok_task` (did you mean `notebook_task`?)",
                "`submit.tasks[1].sql_task.warehouse` (did you mean `warehouse_id`?)",
                "`submit.tasks[2].for_each_task.task.task_kei` (did you mean `task_key`?)",
            ]
        );
    }

    #[test]
    fn a_field_like_no_other_is_named_without_advice() {
        assert_eq!(unknown(Endpoint::RunNow, &json!({"xyz": 1})), ["`runNow.xyz`"]);
    }

    #[test]
    fn free_form_objects_and_parameters_are_the_users_own() {
        let body = json!({"run_name": "x", "tasks": [{
            "task_key": "a",
            "new_cluster": {"anything": {"goes": 1}},
            "libraries": [{"pypi": {"package": "x"}}],
            "notebook_task": {"notebook_path": "/x", "base_parameters": {"whatever": "1"}},
        }]});
        assert_eq!(unknown(Endpoint::Submit, &body), Vec::<String>::new());
    }

    #[test]
    fn no_more_than_ten_are_reported() {
        let body: Map<String, Value> = (0..50).map(|n| (format!("zz{n}"), Value::Null)).collect();
        assert_eq!(unknown_fields(Endpoint::RunNow, &body).len(), 10);
    }
}
