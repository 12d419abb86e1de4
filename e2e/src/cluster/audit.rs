//! The API server's own account of what was asked of it: what tests count writes with.
//!
//! Only our API group, Events, and whatever a service account asks are recorded: operators are service accounts. An entry is written when its answer has been sent, so it may be missing from the
//! log for a moment after the client has the answer.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::error::Error;

/// How much is recorded of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditLevel {
    /// Who asked what of which object, and the answer's code.
    #[default]
    Metadata,
    /// Also the bodies of request and answer; of what service accounts ask about other groups, of the request alone.
    RequestResponse,
}

impl AuditLevel {
    /// The policy file that tells the API server.
    pub(super) fn policy(self) -> String {
        let of_service_accounts = match self {
            Self::Metadata => "Metadata",
            Self::RequestResponse => "Request",
        };
        format!(
            "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
  - level: {self:?}
    resources:
      - group: dbrun.dev
      - group: events.k8s.io
      - group: \"\"
        resources: [events]
  # That a Secret was asked for, never what it holds.
  - level: {of_service_accounts}
    userGroups: [\"system:serviceaccounts\"]
  - level: None
"
        )
    }
}

/// One request that was answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// "get", "list", "watch", "create", "update", "patch", "delete", …
    pub verb: String,
    /// When it has been answered there is nothing more to come; a watch is also recorded when it starts.
    stage: String,
    /// Who asked.
    pub user: AuditUser,
    /// With which program.
    #[serde(default)]
    pub user_agent: String,
    /// About what.
    #[serde(default)]
    pub object_ref: AuditObject,
    /// The answer.
    #[serde(default)]
    pub response_status: AuditAnswer,
    /// What the API server adds, such as why it allowed the request.
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// The request's body at [`AuditLevel::RequestResponse`].
    pub request_object: Option<Value>,
    /// The answer's body at [`AuditLevel::RequestResponse`].
    pub response_object: Option<Value>,
}

/// Who asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AuditUser {
    /// "admin", or "system:serviceaccount:NAMESPACE:NAME"; empty where the request ended before that was known.
    pub username: String,
}

/// What a request was about; empty where it does not apply.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditObject {
    /// The API group; empty for the core.
    pub api_group: String,
    /// The plural name, as in "databricksruns".
    pub resource: String,
    /// As in "status".
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

/// How a request was answered.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct AuditAnswer {
    /// The HTTP status.
    #[serde(default)]
    pub code: u16,
}

impl AuditEntry {
    /// Whether it asked for a change.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether it was refused for want of a right. Other refusals have the same code: nothing is created in a namespace that
    /// is being deleted, whoever asks.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        self.annotations.get("authorization.k8s.io/decision").is_some_and(|decision| decision == "forbid")
    }
}

/// The requests answered so far whose lines hold this text, oldest first.
pub(super) fn read(log: &Path, holding: &str) -> Result<Vec<AuditEntry>, Error> {
    let text = match fs::read_to_string(log) {
        // Nothing has been recorded yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(Error::system("read", log))?,
    };
    // The last line may be half written.
    let whole_lines = text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines();
    let mut entries = Vec::new();
    for line in whole_lines.filter(|line| line.contains(holding)) {
        let entry: AuditEntry =
            serde_json::from_str(line).map_err(|error| Error::system("understand", log)(error.into()))?;
        if entry.stage == "ResponseComplete" {
            entries.push(entry);
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_being_written_is_left_for_later() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let whole = r#"{"stage":"ResponseComplete","verb":"patch","user":{"username":"admin"},"objectRef":{"resource":"databricksruns","namespace":"a","name":"b","subresource":"status"},"responseStatus":{"code":200}}"#;
        fs::write(log.path(), format!("{whole}\n{{\"stage\":\"Resp")).unwrap();
        let entries = read(log.path(), "").unwrap();
        let [entry] = &entries[..] else { panic!("{entries:?}") };
        assert!(entry.is_write());
        assert_eq!((entry.object_ref.subresource.as_str(), entry.response_status.code), ("status", 200));
    }
}
