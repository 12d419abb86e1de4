//! The errors of the real service, in its words and shapes. Clients are known to read the words.

use serde_json::{Value, json};

/// An error as the API answers it.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) body: ErrorBody,
    pub(super) retry_after: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) enum ErrorBody {
    /// `error_code`, `message`, and the request id among the details.
    Api {
        code: String,
        message: String,
    },
    /// Any other JSON, as gateways and the token endpoint answer.
    Json(Value),
    Empty,
}

impl ApiError {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, body: ErrorBody::Api { code: code.to_owned(), message: message.into() }, retry_after: None }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "INVALID_PARAMETER_VALUE", message)
    }

    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(400, "MALFORMED_REQUEST", message)
    }

    /// Not a 404: that is how the Jobs API says it.
    pub(super) fn no_run(id: i64) -> Self {
        Self::invalid(format!("Run {id} does not exist"))
    }

    pub(super) fn no_job(id: i64) -> Self {
        Self::invalid(format!("Job {id} does not exist."))
    }

    pub(super) fn unauthenticated(message: &str) -> Self {
        Self::new(401, "UNAUTHENTICATED", message)
    }

    pub(super) fn not_allowed(principal: &str, job_id: i64) -> Self {
        Self::new(
            403,
            "PERMISSION_DENIED",
            format!("{principal} does not have View or Admin or Manage Run or Owner permissions on job {job_id}"),
        )
    }

    pub(super) fn may_only_view(principal: &str, job_id: i64) -> Self {
        Self::new(
            403,
            "PERMISSION_DENIED",
            format!("{principal} does not have Manage Run or Owner or Admin permissions on job {job_id}"),
        )
    }

    /// No such address: what a workspace says of an API version it lacks. The body is not that of an API error.
    pub(super) fn bad_target(path: &str) -> Self {
        Self {
            status: 404,
            body: ErrorBody::Json(json!({ "error": format!("Bad Target: {path}") })),
            retry_after: None,
        }
    }

    pub(super) fn too_many_active_runs(active: usize, limit: usize) -> Self {
        Self::new(429, "REQUEST_LIMIT_EXCEEDED", format!("There are already {active} active runs (limit: {limit})."))
    }

    pub(super) fn rate_limited(retry_after: Option<String>) -> Self {
        Self {
            retry_after,
            ..Self::new(429, "REQUEST_LIMIT_EXCEEDED", "Too many requests. Please wait a moment and try again.")
        }
    }

    pub(super) fn oauth(status: u16, error: &str, description: &str) -> Self {
        Self {
            status,
            body: ErrorBody::Json(json!({ "error": error, "error_description": description })),
            retry_after: None,
        }
    }

    /// The body as it goes over the wire, with its content type.
    pub(super) fn render(&self, request_id: &str) -> (Vec<u8>, Option<&'static str>) {
        const JSON: &str = "application/json";
        match &self.body {
            ErrorBody::Api { code, message } => {
                let body = json!({
                    "error_code": code,
                    "message": message,
                    "details": [{
                        "@type": "type.googleapis.com/google.rpc.RequestInfo",
                        "request_id": request_id,
                        "serving_data": "",
                    }],
                });
                (body.to_string().into_bytes(), Some(JSON))
            }
            ErrorBody::Json(body) => (body.to_string().into_bytes(), Some(JSON)),
            ErrorBody::Empty => (Vec::new(), None),
        }
    }
}

/// The page a person would log in with: what an API client gets when its request was not routed to a workspace.
pub(super) const LOGIN_PAGE: &str = "<!doctype html><html><head><title>Sign in</title></head>\
    <body><h1>Sign in to Databricks</h1><form action=\"/login.html\" method=\"post\"></form></body></html>";
