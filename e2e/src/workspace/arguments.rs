//! Reading what a request asks for, with the service's own complaints about what cannot be read.

use serde_json::{Map, Value};

use super::errors::ApiError;

/// The JSON object of a POST. An empty body is an empty object.
pub(super) fn body(bytes: &[u8]) -> Result<Value, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(Map::new()));
    }
    match serde_json::from_slice(bytes) {
        Ok(object @ Value::Object(_)) => Ok(object),
        _ => Err(ApiError::malformed("Invalid JSON given in the body of the request - failed to parse given JSON")),
    }
}

/// An int64, as a number or as a string of digits.
pub(super) fn integer(body: &Value, name: &str) -> Result<Option<i64>, ApiError> {
    let wrong = || ApiError::malformed(format!("Could not parse request object: Expected 'int64' for field '{name}'"));
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => number.as_i64().map(Some).ok_or_else(wrong),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong()),
        Some(_) => Err(wrong()),
    }
}

pub(super) fn required_integer(body: &Value, name: &str) -> Result<i64, ApiError> {
    integer(body, name)?.ok_or_else(|| ApiError::invalid(format!("Missing required field: {name}")))
}

pub(super) fn text<'a>(body: &'a Value, name: &str) -> Result<Option<&'a str>, ApiError> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(name, "string")),
    }
}

pub(super) fn flag(body: &Value, name: &str) -> Result<bool, ApiError> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(wrong_type(name, "bool")),
    }
}

pub(super) fn list<'a>(body: &'a Value, name: &str) -> Result<Option<&'a Vec<Value>>, ApiError> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(_) => Err(wrong_type(name, "array")),
    }
}

/// A map of strings. Numbers and booleans are not strings here either.
pub(super) fn strings(body: &Value, name: &str) -> Result<Vec<(String, String)>, ApiError> {
    let map = match body.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(wrong_type(name, "map")),
    };
    map.iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key.clone(), text.clone())),
            _ => Err(wrong_type(&format!("{name}.{key}"), "string")),
        })
        .collect()
}

fn wrong_type(name: &str, expected: &str) -> ApiError {
    ApiError::malformed(format!("Could not parse request object: Expected '{expected}' for field '{name}'"))
}

/// The query of a GET.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(pub(super) Vec<(String, String)>);

impl Query {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|_| ApiError::malformed(format!("Could not parse '{text}' as int64 for parameter '{name}'")))
    }

    pub(super) fn required_integer(&self, name: &str) -> Result<i64, ApiError> {
        self.integer(name)?.ok_or_else(|| ApiError::invalid(format!("Missing required field: {name}")))
    }

    /// The words `true` and `false` only.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => {
                Err(ApiError::malformed(format!("Could not parse '{other}' as bool for parameter '{name}'")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_id_reads_from_a_number_or_a_string_and_from_nothing_else() {
        let id = 9_007_199_254_740_993_i64;
        assert_eq!(integer(&json!({ "job_id": id }), "job_id").ok(), Some(Some(id)));
        assert_eq!(integer(&json!({ "job_id": id.to_string() }), "job_id").ok(), Some(Some(id)));
        assert_eq!(integer(&json!({}), "job_id").ok(), Some(None));
        for wrong in [json!(1.5), json!("x"), json!([1]), json!(9_223_372_036_854_775_808_u64)] {
            assert!(integer(&json!({ "job_id": wrong }), "job_id").is_err());
        }
    }

    #[test]
    fn parameters_are_maps_of_strings() {
        assert!(strings(&json!({ "p": { "day": "1" } }), "p").is_ok());
        assert!(strings(&json!({ "p": { "day": 1 } }), "p").is_err());
        assert!(strings(&json!({ "p": ["day"] }), "p").is_err());
    }
}
