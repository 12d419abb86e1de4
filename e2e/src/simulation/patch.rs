//! JSON merge patches (RFC 7386) and the JSON patch operations (RFC 6902) that an operator uses.

use serde_json::{Map, Value};

/// Applies a merge patch.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// Applies operations one after the other; an error where the API server says 422.
pub(super) fn operate(target: &mut Value, operations: &Value) -> Result<(), String> {
    for operation in operations.as_array().map(Vec::as_slice).unwrap_or_default() {
        let text = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default();
        let (op, path) = (text("op"), text("path"));
        let value = || operation.get("value").cloned().unwrap_or_default();
        one(target, op, path, value).ok_or_else(|| format!("cannot {op} {path}"))?;
    }
    Ok(())
}

fn one(target: &mut Value, op: &str, path: &str, value: impl FnOnce() -> Value) -> Option<()> {
    let (parent, last) = path.rsplit_once('/')?;
    let name = last.replace("~1", "/").replace("~0", "~");
    match (op, target.pointer_mut(parent)?) {
        ("add", Value::Array(items)) if name == "-" => items.push(value()),
        ("add", Value::Object(members)) => drop(members.insert(name, value())),
        ("replace", Value::Object(members)) => *members.get_mut(&name)? = value(),
        ("remove", Value::Object(members)) => drop(members.remove(&name)?),
        ("remove", Value::Array(items)) => {
            let index = name.parse::<usize>().ok().filter(|index| *index < items.len())?;
            items.remove(index);
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_replaces_adds_and_removes() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(&mut target, &json!({"a": {"b": null, "e": {"f": null, "g": 1}}, "d": [2]}));
        assert_eq!(target, json!({"a": {"c": 2, "e": {"g": 1}}, "d": [2]}));
    }

    #[test]
    fn operations_that_do_not_fit_are_refused() {
        let mut target = json!({"metadata": {"finalizers": ["a", "b"]}});
        operate(&mut target, &json!([{"op": "remove", "path": "/metadata/finalizers/0"}])).unwrap();
        assert_eq!(target, json!({"metadata": {"finalizers": ["b"]}}));
        assert!(operate(&mut target, &json!([{"op": "remove", "path": "/metadata/finalizers/1"}])).is_err());
        let add = json!([{"op": "add", "path": "/metadata/annotations/dbrun.dev~1start", "value": "x"}]);
        assert!(operate(&mut target, &add).is_err());
    }
}
