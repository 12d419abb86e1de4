//! An object as its JSON text, a third of what it takes as values: each text of a status is an allocation of its own.

use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::run::RunObject;
use crate::api::status::DatabricksRunStatus;

/// One that is packed. Its metadata is not, for it is asked for all the time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Packed {
    pub(super) metadata: ObjectMeta,
    /// Spec and status; nothing where they could not be written.
    body: Box<[u8]>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    spec: Value,
    status: Option<DatabricksRunStatus>,
}

impl Packed {
    /// Packs one. Who manages which field is left out.
    pub(super) fn of(mut object: RunObject) -> Self {
        object.metadata.managed_fields = None;
        let body = serde_json::to_vec(&Body { spec: object.spec, status: object.status });
        Self { metadata: object.metadata, body: body.unwrap_or_default().into_boxed_slice() }
    }

    /// The object as it was. None only if it could not be packed; then it is to be read anew.
    pub(super) fn unpack(&self) -> Option<RunObject> {
        let Body { spec, status } = serde_json::from_slice(&self.body).ok()?;
        Some(RunObject { metadata: self.metadata.clone(), spec, status })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn object(spec: Value, status: Value) -> RunObject {
        let metadata = json!({"name": "a", "namespace": "a", "uid": "u", "annotations": {"dbrun.dev/start": "u/1"}});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let condition = json!({
            "type": "Ready", "status": "True", "reason": "Running", "message": "ü\n\"", "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let status = json!({
            "observedGeneration": 1, "runId": "9007199254740993", "serial": 3, "conditions": [condition],
            "durations": {"setupMillis": 240_000}, "startTime": "2026-01-01T00:00:00Z",
            "intent": {"runKey": "k", "attempt": 1, "serial": 1, "endpoint": "Submit", "body": "{\"a\": 1.10}", "holder": "h"},
        });
        for status in [status, json!({}), Value::Null] {
            let object = object(json!({"runNow": {"job_id": u64::MAX}}), status);
            assert_eq!(Packed::of(object.clone()).unpack(), Some(object));
        }
    }

    proptest! {
        #[test]
        fn a_number_of_the_spec_stays_what_it_was(number: f64, integer: i64) {
            let object = object(json!({"a": number, "b": integer}), json!({}));
            prop_assert_eq!(Packed::of(object.clone()).unpack(), Some(object));
        }
    }
}
