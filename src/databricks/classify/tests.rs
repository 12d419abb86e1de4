use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::error::{Executed, MAX_MESSAGE};
use super::*;

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain";

/// An answer, the rule that must decide, what becomes of it, and whether a POST answered so may have been executed.
struct Example(u16, &'static str, &'static str, &'static str, &'static str, Executed);

use Executed::{Maybe, No};

#[rustfmt::skip]
static EXAMPLES: &[Example] = &[
    // Runs and jobs that are not there.
    Example(400, JSON, r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"Run 123 does not exist"}"#, "run or job missing", "NotFound", Maybe),
    Example(400, JSON, r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"Run: 1 in job: 2 doesn't exist"}"#, "run or job missing", "NotFound", Maybe),
    Example(400, JSON, r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"Job 5 does not exist."}"#, "run or job missing", "NotFound", Maybe),
    Example(404, JSON, r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Run 123 does not exist."}"#, "run or job missing", "NotFound", Maybe),
    Example(400, JSON, r#"{"error_code":400,"message":"Run 123 does not exist"}"#, "run or job missing", "NotFound", Maybe),
    Example(400, TEXT, "INVALID_PARAMETER_VALUE: Run 123 does not exist", "run or job missing", "NotFound", Maybe),
    Example(404, JSON, r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Warehouse w does not exist"}"#, "missing, by code", "NotFound", Maybe),
    Example(400, JSON, r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"No such thing"}"#, "missing, by code", "NotFound", Maybe),
    Example(404, JSON, r#"{"error_code":"NOT_FOUND","message":"gone"}"#, "missing, by code", "NotFound", Maybe),
    Example(404, JSON, r#"{"error_code":"SOMETHING_NEW","message":"gone"}"#, "missing, with a code of its own", "NotFound", Maybe),
    // Which is not the same as something that a run needs, or a sentence that begins alike.
    Example(400, JSON, r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"Cluster 1123-abc does not exist"}"#, "refused, by code", "Rejected", Maybe),
    Example(400, JSON, r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"Run as user ada does not exist"}"#, "refused, by code", "Rejected", Maybe),
    // Routes.
    Example(404, JSON, r#"{"error":"Bad Target: /api/2.2/jobs/run-now"}"#, "route missing, by message", "NoSuchRoute", No),
    Example(404, JSON, r#"{"error_code":"NOT_FOUND","message":"No API found for 'POST /jobs/run-now'"}"#, "route missing, by message", "NoSuchRoute", No),
    Example(404, JSON, r#"{"error_code":"ENDPOINT_NOT_FOUND","message":"No API found for 'GET /x'"}"#, "route missing, by code", "NoSuchRoute", No),
    Example(404, JSON, "", "route missing", "NoSuchRoute", No),
    Example(404, JSON, r#"{"detail":"not here","status":"404"}"#, "route missing", "NoSuchRoute", No),
    // Refusals.
    Example(400, JSON, r#"{"error_code":"MALFORMED_REQUEST","message":"Invalid token in JSON: token is expired"}"#, "refused, by code", "Rejected", Maybe),
    Example(400, JSON, r#"{"error_code":"INVALID_STATE","message":"Run is active"}"#, "refused, by code", "Rejected", Maybe),
    Example(400, JSON, r#"{"error_code":"FEATURE_DISABLED","message":"off"}"#, "refused, by code", "Rejected", Maybe),
    Example(409, JSON, r#"{"error_code":"RESOURCE_ALREADY_EXISTS","message":"there"}"#, "refused, by code", "Rejected", Maybe),
    Example(500, JSON, r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"the code wins over the status"}"#, "refused, by code", "Rejected", Maybe),
    Example(422, JSON, r#"{"error_code":"SOMETHING_NEW","message":"no"}"#, "refused", "Rejected", Maybe),
    Example(400, JSON, r#"{"message":"no code at all"}"#, "refused", "Rejected", Maybe),
    Example(400, JSON, "", "refused", "Rejected", Maybe),
    Example(413, HTML, "<html>413 Request Entity Too Large</html>", "too large", "Rejected", Maybe),
    // Who asks.
    Example(401, JSON, r#"{"error_code":"UNAUTHENTICATED","message":"Credential was not sent"}"#, "not authenticated, by code", "Unauthorized", No),
    Example(401, JSON, "", "not authenticated", "Unauthorized", No),
    Example(401, HTML, "<html>Error 401</html>", "not authenticated", "Unauthorized", No),
    Example(401, JSON, r#"{"error_code":401,"message":"no"}"#, "not authenticated", "Unauthorized", No),
    Example(403, JSON, r#"{"error_code":"403","message":"Invalid access token."}"#, "token refused, by message", "Unauthorized", No),
    Example(401, JSON, r#"{"error":"invalid_client","error_description":"Client authentication failed"}"#, "not authenticated, by code", "Unauthorized", No),
    Example(400, JSON, r#"{"error":"invalid_grant"}"#, "not authenticated, by code", "Unauthorized", No),
    Example(403, JSON, r#"{"error_code":"PERMISSION_DENIED","message":"ada does not have Manage Run permissions on job 5"}"#, "not allowed, by code", "Forbidden", No),
    Example(403, JSON, r#"{"error_code":"SOMETHING_NEW","message":"blocked by IP access list"}"#, "not allowed", "Forbidden", No),
    Example(403, HTML, "<html>Forbidden</html>", "not allowed", "Forbidden", No),
    // Too fast.
    Example(429, JSON, r#"{"error_code":"REQUEST_LIMIT_EXCEEDED","message":"Too many requests."}"#, "rate limit, by code", "Throttled", No),
    Example(429, JSON, r#"{"message":"Workspace 1 exceeded the concurrent limit of 20 requests"}"#, "rate limit, by message", "Throttled", No),
    Example(429, HTML, "<html>slow</html>", "too many requests", "Throttled", No),
    Example(429, JSON, "", "too many requests", "Throttled", No),
    Example(400, JSON, r#"{"error_code":"COULD_NOT_ACQUIRE_LOCK","message":"busy"}"#, "rate limit, by code", "Throttled", Maybe),
    Example(400, JSON, r#"{"error_code":"RESOURCE_EXHAUSTED","message":"busy"}"#, "rate limit, by code", "Throttled", Maybe),
    // Too many.
    Example(429, JSON, r#"{"error_code":"REQUEST_LIMIT_EXCEEDED","message":"There are already 5 active runs (limit: 5)."}"#, "too many active runs", "QuotaExceeded", No),
    Example(400, JSON, r#"{"error_code":"INVALID_STATE","message":"There were already 10000 jobs created in past 3600 seconds"}"#, "too many jobs created", "QuotaExceeded", Maybe),
    Example(400, JSON, r#"{"error_code":"QUOTA_EXCEEDED","message":"The quota for the number of jobs has been reached"}"#, "quota", "QuotaExceeded", Maybe),
    // Passing trouble.
    Example(503, JSON, r#"{"error_code":"TEMPORARILY_UNAVAILABLE","message":"later"}"#, "passing trouble, by code", "Unavailable", Maybe),
    Example(400, JSON, r#"{"error_code":"INVALID_STATE","message":"UnknownWorkerEnvironmentException: w"}"#, "passing trouble, by message", "Unavailable", Maybe),
    Example(500, JSON, r#"{"error_code":"INTERNAL_ERROR","message":"The service at /api/2.1/jobs/runs/get is temporarily unavailable"}"#, "passing trouble, by message", "Unavailable", Maybe),
    Example(409, JSON, r#"{"error_code":"ABORTED","message":"again"}"#, "passing trouble, by code", "Unavailable", Maybe),
    Example(400, JSON, r#"{"error_code":"UNKNOWN","message":"who knows"}"#, "passing trouble, by code", "Unavailable", Maybe),
    Example(500, JSON, "", "server trouble", "Unavailable", Maybe),
    Example(502, HTML, "<html>Bad Gateway</html>", "server trouble", "Unavailable", Maybe),
    Example(504, TEXT, "upstream request timeout", "server trouble", "Unavailable", Maybe),
    Example(408, JSON, "", "server trouble", "Unavailable", Maybe),
    Example(499, JSON, "", "server trouble", "Unavailable", Maybe),
    Example(600, JSON, "", "no sense", "Unavailable", Maybe),
    // Whoever answers is not Databricks.
    Example(302, HTML, "<a href=/login.html>Found</a>", "redirect", "WrongHost", Maybe),
    Example(307, JSON, "", "redirect", "WrongHost", Maybe),
    Example(200, HTML, "<!doctype html><title>Sign in</title>", "web page instead of an answer", "WrongHost", Maybe),
    Example(200, "", " <html>", "web page instead of an answer", "WrongHost", Maybe),
    Example(404, HTML, "<html>Not Found</html>", "web page from a gateway", "WrongHost", Maybe),
    Example(400, HTML, "<html>The plain HTTP request was sent to HTTPS port</html>", "web page from a gateway", "WrongHost", Maybe),
    Example(400, TEXT, "Bad Request", "text from a gateway", "WrongHost", Maybe),
];

fn evidence<'a>(status: u16, content_type: &'a str, body: &'a [u8]) -> Evidence<'a> {
    let content_type = Some(content_type).filter(|text| !text.is_empty());
    Evidence { status, content_type, body, ..Evidence::default() }
}

#[test]
fn every_known_answer_is_decided_by_its_rule() {
    for Example(status, content_type, body, rule, reason, executed) in EXAMPLES {
        let verdict = classify(&evidence(*status, content_type, body.as_bytes())).unwrap();
        assert_eq!(verdict.rule, *rule, "{status} {body}");
        assert_eq!(verdict.error.reason(), *reason, "{status} {body}");
        assert_eq!(verdict.error.executed(), *executed, "{status} {body}");
    }
}

#[test]
fn every_rule_has_an_example_and_a_name_of_its_own() {
    let exemplified: BTreeSet<_> = EXAMPLES.iter().map(|example| example.3).collect();
    let names: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names, exemplified);
    assert_eq!(names.len(), RULES.len());
}

#[test]
fn a_success_is_no_error_with_or_without_a_body_or_a_content_type() {
    for (content_type, body) in [(JSON, "{}"), ("", ""), ("", "{}"), (HTML, r#"{"run_id":1}"#), (JSON, "nonsense")] {
        assert_eq!(classify(&evidence(200, content_type, body.as_bytes())), None, "{content_type} {body}");
    }
}

#[test]
fn an_error_keeps_code_message_and_request_id() {
    let body = br#"{"error_code":"INVALID_STATE","message":"a\nb","details":[{"request_id":"r-1"}],"secret":"s3cr3t"}"#;
    let error = classify(&evidence(400, JSON, body)).unwrap().error;
    assert_eq!(error.to_string(), "HTTP 400 INVALID_STATE: a b (request r-1)");
}

#[test]
fn the_request_id_of_the_header_serves_where_the_body_has_none() {
    let found = Evidence { request_id: Some("r-2"), ..evidence(503, JSON, b"") };
    assert_eq!(classify(&found).unwrap().error.api().unwrap().request_id.as_deref(), Some("r-2"));
    let odd = Evidence { request_id: Some("r 2\u{7f}"), ..found };
    assert_eq!(classify(&odd).unwrap().error.api().unwrap().request_id, None);
}

#[test]
fn the_wait_comes_from_the_header_else_from_the_body() {
    let body = br#"{"error_code":"RESOURCE_EXHAUSTED","details":[{"retry_delay":"7s"}]}"#;
    let seconds = |found: &Evidence<'_>| classify(found).unwrap().retry_after.map(|wait| wait.as_secs());
    let from_body = evidence(429, JSON, body);
    assert_eq!(seconds(&from_body), Some(7));
    assert_eq!(seconds(&Evidence { retry_after: Some(Duration::from_secs(3)), ..from_body }), Some(3));
    assert_eq!(seconds(&evidence(429, JSON, b"")), None);
}

#[test]
fn a_private_link_is_called_by_its_name() {
    let found =
        Evidence { location: Some("/login.html?error=private-link-validation-error:1"), ..evidence(302, "", b"") };
    assert!(classify(&found).unwrap().error.to_string().contains("Private Link"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_talk_too_much(
        status in 100_u16..700,
        html in any::<bool>(),
        body in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        if let Some(verdict) = classify(&evidence(status, if html { HTML } else { JSON }, &body)) {
            let text = verdict.error.to_string();
            prop_assert!(text.len() <= MAX_MESSAGE + 600);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }

    #[test]
    fn nothing_of_a_body_survives_but_code_message_and_request_id(
        status in prop::sample::select(vec![200_u16, 302, 400, 401, 403, 404, 408, 429, 500, 503]),
        shape in 0..5,
    ) {
        let body = match shape {
            0 => "<html><pre>s3cr3t</pre></html>".to_owned(),
            1 => "BAD_REQUEST: s3cr3t".to_owned(),
            2 => "s3cr3t".to_owned(),
            3 => r#"{"error_code":"X","message":"m","token":"s3cr3t","details":[{"metadata":"s3cr3t"}]}"#.to_owned(),
            _ => r#"{"error_code":"s3cr3t with spaces","message":"m","stack_trace":"s3cr3t"}"#.to_owned(),
        };
        if let Some(verdict) = classify(&evidence(status, "", body.as_bytes())) {
            prop_assert!(!format!("{verdict:?}").contains("s3cr3t"), "{verdict:?}");
        }
    }

    #[test]
    fn messages_of_any_length_are_cut_between_characters(message in "\\PC{0,2000}") {
        let body = serde_json::json!({ "error_code": "X", "message": message }).to_string();
        let verdict = classify(&evidence(400, JSON, body.as_bytes())).unwrap();
        if let Some(api) = verdict.error.api() {
            prop_assert!(api.message.len() <= MAX_MESSAGE);
            prop_assert!(message.trim().starts_with(api.message.as_str()) || !message.is_ascii());
        }
    }
}
