//! The request bodies of Databricks' Jobs API as schema: what `kubectl explain` teaches and admission checks. No value
//! of these structs is ever made: bodies are sent and hashed as the user wrote them. Fields that nobody knows pass
//! through everywhere, and words stay plain strings, so that what Databricks adds tomorrow works today. Nothing here
//! has a default: an absent field means what Databricks says it means.

pub mod common;
pub mod run_now;
pub mod submit;
pub mod tasks;

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::status::Endpoint;

/// The JSON schema of the body of a call, with everything in place and no references.
#[must_use]
pub fn schema(endpoint: Endpoint) -> &'static Value {
    static RUN_NOW: LazyLock<Value> = LazyLock::new(inlined::<run_now::RunNow>);
    static SUBMIT: LazyLock<Value> = LazyLock::new(inlined::<submit::Submit>);
    match endpoint {
        Endpoint::RunNow => &RUN_NOW,
        Endpoint::Submit => &SUBMIT,
    }
}

/// The JSON schema of one task of runs/submit.
#[must_use]
pub fn task_schema() -> &'static Value {
    &schema(Endpoint::Submit)["properties"]["tasks"]["items"]
}

fn inlined<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}
