//! An object as its JSON text, deflated: a tenth of what it takes as values, for each text of a status is an allocation of its
//! own, a map of one annotation takes half a kilobyte, and field names and times come again and again.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::run::RunObject;
use crate::api::status::DatabricksRunStatus;

/// One that is packed, all but what is asked for all the time: see [`name_apart`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Packed {
    pub(super) metadata: ObjectMeta,
    /// All the rest; nothing where it could not be written.
    body: Box<[u8]>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    metadata: ObjectMeta,
    spec: Value,
    status: Option<DatabricksRunStatus>,
}

impl Packed {
    /// Packs one. Who manages which field is left out.
    pub(super) fn of(object: RunObject) -> Self {
        let RunObject { mut metadata, spec, status } = object;
        metadata.managed_fields = None;
        let name = name_apart(&mut metadata);
        let text = serde_json::to_vec(&Body { metadata, spec, status });
        let body = text.ok().and_then(|text| deflated(&text).ok());
        Self { metadata: name, body: body.unwrap_or_default().into_boxed_slice() }
    }

    /// The object as it was. None only if it could not be packed; then it is to be read anew.
    pub(super) fn unpack(&self) -> Option<RunObject> {
        let mut text = Vec::new();
        DeflateDecoder::new(&*self.body).read_to_end(&mut text).ok()?;
        let Body { metadata: others, spec, status } = serde_json::from_slice(&text).ok()?;
        let ObjectMeta { name, namespace, uid, resource_version, .. } = self.metadata.clone();
        Some(RunObject { metadata: ObjectMeta { name, namespace, uid, resource_version, ..others }, spec, status })
    }
}

fn deflated(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish()
}

/// Takes out of an object's metadata which object it is, and in which version.
pub(super) fn name_apart(metadata: &mut ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name.take(),
        namespace: metadata.namespace.take(),
        uid: metadata.uid.take(),
        resource_version: metadata.resource_version.take(),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn object(spec: Value, status: Value) -> RunObject {
        let metadata = json!({
            "name": "a", "namespace": "b", "uid": "u", "resourceVersion": "9", "generation": 4, "labels": {"a": "b"},
            "annotations": {"dbrun.dev/start": "u/1"}, "finalizers": ["dbrun.dev/run"],
            "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-01T00:00:01Z",
        });
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
