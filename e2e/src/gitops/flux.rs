//! `healthCheckExprs` of a Flux Kustomization, judged as Flux does (its RFC 9): a generation that was not observed is in
//! progress; then the expressions for in progress, failed and current, in this order; else in progress.

use std::collections::HashMap;

use cel::{Context, Program, Value as Cel};
use serde_json::Value;

use super::kstatus::Status;

/// Judges an object by one entry of `spec.healthCheckExprs`.
///
/// # Errors
/// Where an expression does not parse, or cannot be answered for this object: Flux goes on waiting then.
pub fn judge(expressions: &Value, object: &Value) -> Result<Status, String> {
    let seen = &object["status"]["observedGeneration"];
    if !seen.is_null() && *seen != object["metadata"]["generation"] {
        return Ok(Status::InProgress);
    }
    for (name, status) in [("inProgress", Status::InProgress), ("failed", Status::Failed), ("current", Status::Current)]
    {
        if let Some(expression) = expressions[name].as_str()
            && holds(expression, object)?
        {
            return Ok(status);
        }
    }
    Ok(Status::InProgress)
}

/// Whether an expression holds. Its variables are the fields of the object.
fn holds(expression: &str, object: &Value) -> Result<bool, String> {
    let program = Program::compile(expression).map_err(|error| format!("{expression}: {error}"))?;
    let mut context = Context::default();
    for (name, value) in object.as_object().into_iter().flatten() {
        context.add_variable_from_value(name, in_cel(value));
    }
    match program.execute(&context) {
        Ok(Cel::Bool(holds)) => Ok(holds),
        Ok(other) => Err(format!("{expression}: {other:?} is neither true nor false")),
        Err(error) => Err(format!("{expression}: {error}")),
    }
}

/// JSON as Flux hands it to CEL: whole numbers are signed.
fn in_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Cel::Float(number.as_f64().unwrap_or_default()), Cel::Int)
        }
        Value::String(text) => Cel::String(text.clone().into()),
        Value::Array(items) => Cel::List(items.iter().map(in_cel).collect::<Vec<_>>().into()),
        Value::Object(members) => {
            let members: HashMap<String, Cel> =
                members.iter().map(|(name, value)| (name.clone(), in_cel(value))).collect();
            Cel::Map(members.into())
        }
    }
}
