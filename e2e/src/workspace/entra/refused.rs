//! Entra's refusals: numbered, told at length, the same number in three places. The numbers are those of its documentation
//! (AADSTS error codes) and of what people paste into issues; the words are about theirs.

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::jwt::Wrong;
use crate::workspace::clock::Millis;
use crate::workspace::errors::{ApiError, ErrorBody};
use crate::workspace::federation::Fault;

/// Why there is no token, as Entra numbers it.
pub(super) enum Refused {
    Tenant(String),
    Missing(&'static str),
    Grant(String),
    Application(String, String),
    Scope(String),
    NoProof,
    Secret(String),
    NoCredential,
    Assertion(Fault, i64),
}

impl Refused {
    /// HTTP status, OAuth error, number and words.
    fn told(&self) -> (u16, &'static str, u32, String) {
        const CHECK: &str = "Check your federated identity credential Subject, Audience and Issuer against the presented \
                             assertion.";
        let unmatched =
            |what: &str| format!("No matching federated identity record found for presented assertion {what}. {CHECK}");
        match self {
            Self::Tenant(tenant) => {
                let told = format!(
                    "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into \
                     the correct cloud."
                );
                (400, "invalid_request", 90002, told)
            }
            Self::Missing(name) => {
                let told = format!("The request body must contain the following parameter: '{name}'.");
                (400, "invalid_request", 900_144, told)
            }
            Self::Grant(grant) => {
                let told = format!("The app requested an unsupported grant type '{grant}'.");
                (400, "unsupported_grant_type", 70003, told)
            }
            Self::Application(client_id, tenant) => {
                let told = format!(
                    "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen \
                     if the application has not been installed by the administrator of the tenant."
                );
                (400, "unauthorized_client", 700_016, told)
            }
            Self::Scope(scope) => {
                let told = format!(
                    "The provided value for the input parameter 'scope' is not valid. The scope {scope} does not exist."
                );
                (400, "invalid_scope", 70011, told)
            }
            Self::NoProof => {
                let told =
                    "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
                (401, "invalid_client", 7_000_218, told.to_owned())
            }
            Self::Secret(client_id) => {
                let told = format!(
                    "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                     value, not the client secret ID, for a secret added to app '{client_id}'."
                );
                (401, "invalid_client", 7_000_215, told)
            }
            Self::NoCredential => {
                let told = "No matching federated identity record found for presented assertion. ".to_owned() + CHECK;
                (401, "invalid_client", 70021, told)
            }
            Self::Assertion(fault, now) => {
                let (number, told) = match fault {
                    Fault::Token(Wrong::Malformed | Wrong::Algorithm) => {
                        return (400, "invalid_request", 50027, "JWT token is invalid or malformed.".to_owned());
                    }
                    Fault::Token(Wrong::UnknownKey) => (
                        700_027,
                        "Client assertion contains an invalid signature. [Reason - The key was not found.]".to_owned(),
                    ),
                    Fault::Token(Wrong::Signature) => {
                        (700_027, "Client assertion contains an invalid signature.".to_owned())
                    }
                    Fault::Issuer(issuer) => (700_211, unmatched(&format!("issuer '{issuer}'"))),
                    Fault::Audience(audiences) => (700_212, unmatched(&format!("audience '{}'", audiences.join(",")))),
                    Fault::Subject(subject) => (700_213, unmatched(&format!("subject '{subject}'"))),
                    Fault::NotYet(at) | Fault::Expired(at) => {
                        let [now, at] = [*now, *at].map(|second| time(second * 1000));
                        let told = format!(
                            "Client assertion is not within its valid time range. Current time: {now}, bound of the \
                             assertion: {at}."
                        );
                        (700_024, told)
                    }
                };
                (401, "invalid_client", number, told)
            }
        }
    }

    /// As it goes over the wire. `trace` is what support would be asked with.
    pub(super) fn error(&self, trace: &str, now: Millis) -> ApiError {
        let (status, error, number, told) = self.told();
        let timestamp = time(now);
        let body = json!({
            "error": error,
            "error_description":
                format!("AADSTS{number}: {told} Trace ID: {trace} Correlation ID: {trace} Timestamp: {timestamp}"),
            "error_codes": [number],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": trace,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        });
        ApiError { status, body: ErrorBody::Json(body), retry_after: None }
    }
}

/// As Entra writes it.
fn time(at: Millis) -> String {
    Timestamp::from_millisecond(at).map(|at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()).unwrap_or_default()
}
