//! Schemas that Rust types cannot say: free-form objects, parameter maps, ids beyond 2^53, condition lists. The marker
//! types stand in the fields of the body structs; no value of them is ever made.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::admission;

/// Names a marker type and gives its schema.
macro_rules! marker {
    ($(#[$doc:meta])* $name:ident, $schema:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

marker!(
    /// A JSON object that is passed on as it is.
    PassThrough,
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
);

marker!(
    /// Parameters by name. YAML 1.1 turns keys such as `y` and `on` into booleans before anyone sees them; a rule asks
    /// for quotes instead of sending a parameter named "true".
    Params,
    json_schema!({
        "type": "object",
        "maxProperties": 1000,
        "additionalProperties": {"type": "string", "maxLength": 65536},
        "x-kubernetes-validations": admission::PARAMETERS,
    })
);

marker!(
    /// A job's id: an integer, or a string of digits, because ids pass 2^53, where JSON numbers lose their last digits
    /// in many tools. Ids above 2^63 pass here and are refused by `body_check`.
    JobId,
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "pattern": "^[1-9][0-9]*$",
        "maxLength": 19,
        "minimum": 1,
    })
);

/// The schema of `status.conditions`: a map by type, or server-side apply would treat the list as one value.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the object's state.",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "description": "Which aspect. Example: `Finished`."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "description": "Why, in one word of a fixed list. Example: `RunSucceeded`.",
                },
                "message": {"type": "string", "maxLength": 32768, "description": "Why, and what to do, for people."},
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When `status` last changed. Example: `2026-11-23T04:00:00Z`.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The generation of the spec that this condition speaks of.",
                },
            },
        },
    })
}
