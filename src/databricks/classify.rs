//! What an answer that is no success means: one ordered table, the first rule that fits wins. A new error of Databricks
//! becomes a new row here and an example in the tests below, and nothing else.
//!
//! `error_code` wins over the HTTP status, because Databricks' services and gateways disagree about statuses. Messages
//! are looked at only where nothing else tells the cases apart.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{ApiError, Error};
use super::error_body::{ErrorBody, Kind, word};
use super::retry_after::LONGEST;

/// What an answer consists of, as far as rules look at it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Evidence<'a> {
    pub(super) status: u16,
    pub(super) content_type: Option<&'a str>,
    pub(super) location: Option<&'a str>,
    pub(super) request_id: Option<&'a str>,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: &'a [u8],
}

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) error: Error,
    /// How long Databricks asked to wait, whatever the error.
    pub(super) retry_after: Option<Duration>,
    /// The rule that fitted.
    pub(super) rule: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Class {
    NotFound,
    NoSuchRoute,
    Rejected,
    Unauthenticated,
    Forbidden,
    Throttled,
    Quota,
    Unavailable,
    Redirect,
    WebPage,
    NoDatabricksAnswer,
}

/// What the message must say for a rule to fit.
#[derive(Debug, Clone, Copy)]
enum Says {
    Anything,
    /// Any of these, regardless of case.
    AnyOf(&'static [&'static str]),
    /// All of these, regardless of case.
    AllOf(&'static [&'static str]),
    /// That a run or a job, given by its number, does not exist.
    ThatItDoesNotExist,
}

struct Rule {
    name: &'static str,
    /// Statuses; empty means any but 2xx.
    status: &'static [RangeInclusive<u16>],
    /// Codes; empty means any or none.
    codes: &'static [&'static str],
    says: Says,
    /// Kinds of body; empty means any.
    kinds: &'static [Kind],
    class: Class,
}

impl Rule {
    const fn new(name: &'static str, class: Class) -> Self {
        Self { name, status: &[], codes: &[], says: Says::Anything, kinds: &[], class }
    }

    const fn status(self, status: &'static [RangeInclusive<u16>]) -> Self {
        Self { status, ..self }
    }

    const fn codes(self, codes: &'static [&'static str]) -> Self {
        Self { codes, ..self }
    }

    const fn says(self, says: Says) -> Self {
        Self { says, ..self }
    }

    const fn kinds(self, kinds: &'static [Kind]) -> Self {
        Self { kinds, ..self }
    }

    fn fits(&self, status: u16, body: &ErrorBody) -> bool {
        let is_success = (200..300).contains(&status);
        let status_fits = match self.status {
            [] => !is_success,
            ranges => ranges.iter().any(|range| range.contains(&status)),
        };
        let code_fits = self.codes.is_empty() || body.code.as_deref().is_some_and(|code| self.codes.contains(&code));
        let kind_fits = self.kinds.is_empty() || self.kinds.contains(&body.kind);
        status_fits && code_fits && kind_fits && self.says.fits(body.says())
    }
}

impl Says {
    fn fits(self, message: &str) -> bool {
        let says = |phrase: &&str| message.to_ascii_lowercase().contains(&phrase.to_ascii_lowercase());
        match self {
            Self::Anything => true,
            Self::AnyOf(phrases) => phrases.iter().any(says),
            Self::AllOf(phrases) => phrases.iter().all(says),
            Self::ThatItDoesNotExist => does_not_exist(message),
        }
    }
}

/// "Run 1 does not exist", "Run: 1 in job: 2 doesn't exist", "Job 1 does not exist." The number matters: "Run as user x
/// does not exist" is about something else.
fn does_not_exist(message: &str) -> bool {
    let numbered = |rest: &str| rest.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let subject = ["Run:", "Run ", "Job:", "Job "].iter().any(|word| message.strip_prefix(word).is_some_and(numbered));
    subject && (message.contains("does not exist") || message.contains("doesn't exist"))
}

/// The table.
static RULES: &[Rule] = &[
    Rule::new("web page instead of an answer", Class::WebPage).status(&[200..=299]).kinds(&[Kind::Html]),
    Rule::new("redirect", Class::Redirect).status(&[300..=399]),
    // What the message alone tells.
    Rule::new("run or job missing", Class::NotFound).status(&[400..=400, 404..=404]).says(Says::ThatItDoesNotExist),
    Rule::new("route missing, by code", Class::NoSuchRoute).codes(&["ENDPOINT_NOT_FOUND"]),
    Rule::new("route missing, by message", Class::NoSuchRoute)
        .status(&[404..=404])
        .says(Says::AnyOf(&["Bad Target", "No API found"])),
    // Older workspaces answer 403, not 401, to a token they do not know.
    Rule::new("token refused, by message", Class::Unauthenticated).status(&[403..=403]).says(Says::AnyOf(&[
        "Invalid access token",
        "token is expired",
        "token has expired",
    ])),
    Rule::new("too many active runs", Class::Quota).says(Says::AllOf(&["There are already", "active runs"])),
    Rule::new("too many jobs created", Class::Quota).says(Says::AllOf(&["There were already", "jobs created"])),
    Rule::new("quota", Class::Quota).codes(&["QUOTA_EXCEEDED"]),
    Rule::new("rate limit, by message", Class::Throttled).says(Says::AnyOf(&[
        "exceeded the concurrent limit",
        "token bucket limit",
        "Rate limit exceeded",
    ])),
    // What the SDKs repeat whatever the status.
    Rule::new("passing trouble, by message", Class::Unavailable).says(Says::AnyOf(&[
        "UnknownWorkerEnvironmentException",
        "Unknown worker environment",
        "does not have any associated worker environments",
        "There is no worker environment with id",
        "ClusterNotReadyException",
        "Please try again later",
        "deadline exceeded",
        "is temporarily unavailable",
    ])),
    // What the code tells.
    Rule::new("rate limit, by code", Class::Throttled).codes(&[
        "COULD_NOT_ACQUIRE_LOCK",
        "REQUEST_LIMIT_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "TOO_MANY_REQUESTS",
        "slow_down",
    ]),
    Rule::new("passing trouble, by code", Class::Unavailable).codes(&[
        "ABORTED",
        "CANCELLED",
        "DATA_LOSS",
        "DEADLINE_EXCEEDED",
        "INTERNAL",
        "INTERNAL_ERROR",
        "TEMPORARILY_UNAVAILABLE",
        "UNAVAILABLE",
        "UNKNOWN",
        "server_error",
        "temporarily_unavailable",
    ]),
    Rule::new("not authenticated, by code", Class::Unauthenticated).codes(&[
        "CUSTOMER_UNAUTHORIZED",
        "UNAUTHENTICATED",
        "access_denied",
        "invalid_client",
        "invalid_grant",
        "invalid_token",
        "unauthorized_client",
    ]),
    Rule::new("not allowed, by code", Class::Forbidden).codes(&["PERMISSION_DENIED"]),
    Rule::new("missing, by code", Class::NotFound).codes(&["NOT_FOUND", "RESOURCE_DOES_NOT_EXIST"]),
    Rule::new("refused, by code", Class::Rejected).codes(&[
        "ALREADY_EXISTS",
        "BAD_REQUEST",
        "FAILED_PRECONDITION",
        "FEATURE_DISABLED",
        "INVALID_ARGUMENT",
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "MALFORMED_REQUEST",
        "OUT_OF_RANGE",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_CONFLICT",
    ]),
    // What only the status tells.
    Rule::new("not authenticated", Class::Unauthenticated).status(&[401..=401]),
    Rule::new("not allowed", Class::Forbidden).status(&[403..=403]),
    Rule::new("too many requests", Class::Throttled).status(&[429..=429]),
    Rule::new("server trouble", Class::Unavailable).status(&[408..=408, 499..=599]),
    Rule::new("too large", Class::Rejected).status(&[413..=413]),
    Rule::new("web page from a gateway", Class::WebPage).status(&[400..=499]).kinds(&[Kind::Html]),
    Rule::new("missing, with a code of its own", Class::NotFound).status(&[404..=404]).kinds(&[Kind::Coded]),
    Rule::new("route missing", Class::NoSuchRoute).status(&[404..=404]),
    Rule::new("text from a gateway", Class::NoDatabricksAnswer).status(&[400..=499]).kinds(&[Kind::Other]),
    Rule::new("refused", Class::Rejected).status(&[400..=499]),
    Rule::new("no sense", Class::Unavailable),
];

/// What an answer means; `None` when it is a success to be read.
pub(super) fn classify(evidence: &Evidence<'_>) -> Option<Verdict> {
    let success = (200..300).contains(&evidence.status);
    let body = if success { success_body(evidence) } else { ErrorBody::read(evidence.content_type, evidence.body) };
    let rule = RULES.iter().find(|rule| rule.fits(evidence.status, &body))?;
    let retry_after = evidence.retry_after.or(body.retry_delay).map(|wait| wait.min(LONGEST));
    let api = ApiError {
        http_status: evidence.status,
        error_code: body.code,
        message: body.message,
        request_id: body.request_id.or_else(|| evidence.request_id.and_then(word)),
    };
    let error = match rule.class {
        Class::NotFound => Error::NotFound(api),
        Class::NoSuchRoute => Error::NoSuchRoute(api),
        Class::Rejected => Error::Rejected(api),
        Class::Unauthenticated => Error::Unauthenticated(api),
        Class::Forbidden => Error::Forbidden(api),
        Class::Throttled => Error::Throttled { retry_after, api },
        Class::Quota => Error::QuotaExceeded(api),
        Class::Unavailable => Error::Unavailable(api),
        Class::Redirect => Error::WrongHost(redirect(evidence)),
        Class::WebPage => Error::WrongHost(format!(
            "the host answers with a web page (HTTP {}), not as the Databricks API does",
            evidence.status
        )),
        Class::NoDatabricksAnswer => Error::WrongHost(format!(
            "something before Databricks answers (HTTP {} without a Databricks error), perhaps a proxy",
            evidence.status
        )),
    };
    Some(Verdict { error, retry_after, rule: rule.name })
}

/// Of a success only one thing is of interest here, and its body may be megabytes: is it a web page?
fn success_body(evidence: &Evidence<'_>) -> ErrorBody {
    const ENOUGH: usize = 512;
    let body = evidence.body.trim_ascii_start();
    if body.starts_with(b"{") {
        return ErrorBody::of_kind(Kind::Json);
    }
    ErrorBody::read(evidence.content_type, &body[..body.len().min(ENOUGH)])
}

fn redirect(evidence: &Evidence<'_>) -> String {
    if evidence.location.is_some_and(|location| location.contains("private-link-validation-error")) {
        return "the workspace takes connections through its Private Link only".to_owned();
    }
    format!("the host answers with a redirect (HTTP {}), not as the Databricks API does", evidence.status)
}

#[cfg(test)]
mod tests;
