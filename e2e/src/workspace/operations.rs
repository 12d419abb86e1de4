//! The calls the workspace knows, and how an address becomes one of them.

use serde::{Deserialize, Serialize};

/// A call. Its name in JSON is the last part of its address where that is unambiguous (`run-now`, `get-output`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// `POST jobs/run-now`
    RunNow,
    /// `POST jobs/runs/submit`
    Submit,
    /// `GET jobs/runs/get`
    GetRun,
    /// `GET jobs/runs/get-output`
    GetOutput,
    /// `GET jobs/runs/list`
    ListRuns,
    /// `POST jobs/runs/cancel`
    Cancel,
    /// `POST jobs/runs/cancel-all`
    CancelAll,
    /// `POST jobs/runs/delete`
    Delete,
    /// `POST jobs/runs/repair`
    Repair,
    /// `GET jobs/get`
    GetJob,
    /// `GET jobs/list`
    ListJobs,
    /// `GET preview/scim/v2/Me`, the cheapest call that needs a valid token
    Me,
    /// `POST oidc/v1/token`
    Token,
    /// The well-known documents of OAuth discovery
    Discovery,
    /// Anything else
    Unknown,
}

impl Operation {
    /// True for the two calls that start a run.
    #[must_use]
    pub fn starts_a_run(self) -> bool {
        matches!(self, Self::RunNow | Self::Submit)
    }

    /// True when the call needs no access token.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Token | Self::Discovery)
    }
}

/// An address understood.
pub(super) struct Route {
    pub(super) operation: Operation,
    /// `2.1` or `2.2`, where the address has one.
    pub(super) version: Option<String>,
}

/// What `method path` asks for.
pub(super) fn route(method: &str, path: &str) -> Route {
    let unversioned = |operation| Route { operation, version: None };
    match (method, path) {
        ("POST", "/oidc/v1/token") => return unversioned(Operation::Token),
        ("GET", "/.well-known/databricks-config" | "/oidc/.well-known/oauth-authorization-server") => {
            return unversioned(Operation::Discovery);
        }
        ("GET", "/api/2.0/preview/scim/v2/Me") => return unversioned(Operation::Me),
        _ => {}
    }
    let versioned = ["2.1", "2.2"].into_iter().find_map(|version| {
        let call = path.strip_prefix("/api/")?.strip_prefix(version)?.strip_prefix("/jobs/")?;
        Some((version, call))
    });
    let Some((version, call)) = versioned else {
        return unversioned(Operation::Unknown);
    };
    let operation = match (method, call) {
        ("POST", "run-now") => Operation::RunNow,
        ("POST", "runs/submit") => Operation::Submit,
        ("GET", "runs/get") => Operation::GetRun,
        ("GET", "runs/get-output") => Operation::GetOutput,
        ("GET", "runs/list") => Operation::ListRuns,
        ("POST", "runs/cancel") => Operation::Cancel,
        ("POST", "runs/cancel-all") => Operation::CancelAll,
        ("POST", "runs/delete") => Operation::Delete,
        ("POST", "runs/repair") => Operation::Repair,
        ("GET", "get") => Operation::GetJob,
        ("GET", "list") => Operation::ListJobs,
        _ => Operation::Unknown,
    };
    Route { operation, version: Some(version.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_a_path_are_the_same_call() {
        for version in ["2.1", "2.2"] {
            let route = route("POST", &format!("/api/{version}/jobs/run-now"));
            assert_eq!(route.operation, Operation::RunNow);
            assert_eq!(route.version.as_deref(), Some(version));
        }
    }

    #[test]
    fn older_versions_wrong_verbs_and_strange_paths_are_unknown() {
        for (method, path) in [
            ("POST", "/api/2.0/jobs/run-now"),
            ("GET", "/api/2.1/jobs/run-now"),
            ("GET", "/api/2.1/jobs/runs/get/"),
            ("GET", "/"),
        ] {
            assert_eq!(route(method, path).operation, Operation::Unknown, "{method} {path}");
        }
    }
}
