//! Answers that go wrong and carry marks wherever an answer can carry one. Of each, only a code, the begin of the message of a
//! JSON error and the id of the request may be told.

use e2e::workspace::Kind;

use super::marks::Marks;

/// What stands in every message, and may be told.
pub(super) const TOLD: &str = "words that may be told";

/// More than is ever kept of a message.
const BEYOND_EVERY_MESSAGE: usize = 2000;

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// The ways in which an answer can go wrong, none of which ends a run.
pub(super) fn passing(marks: &mut Marks) -> Vec<Kind> {
    let page = marks.mark("a page in HTML");
    let page = format!("<!doctype html><title>{page}</title><p>{{authorization}} {{body}}</p>");
    let text = marks.mark("a body of text");
    let place = marks.mark("the place of a redirect");
    let unfit = marks.mark("a body of the wrong shape");
    let broken = marks.mark("a broken body");
    let location = vec![("location".to_owned(), format!("https://elsewhere.example/{place}?token={place}"))];
    vec![
        error(401, "UNAUTHENTICATED", marks),
        answer(500, HTML, page.clone()),
        error(403, "PERMISSION_DENIED", marks),
        error(500, "INTERNAL_ERROR", marks),
        answer(400, "text/plain", format!("upstream said {text}")),
        error(429, "REQUEST_LIMIT_EXCEEDED", marks),
        answer(200, HTML, page),
        Kind::Answer { status: 302, content_type: HTML.to_owned(), body: String::new(), headers: location },
        answer(200, JSON, format!(r#"{{"run_id": {{"{unfit}": "{unfit}"}}, "tasks": "{unfit}"}}"#)),
        answer(200, JSON, format!(r#"{{"run_id": 1, "{broken}": "{broken}" {{authorization}}"#)),
        Kind::Truncate,
        Kind::Reset,
        Kind::LoseAnswer,
        Kind::Endless,
    ]
}

/// What Databricks says of a request that it will never do.
pub(super) fn refusal(marks: &mut Marks) -> Kind {
    error(400, "INVALID_PARAMETER_VALUE", marks)
}

/// What a token endpoint says, repeating what was sent.
pub(super) fn no_token(marks: &mut Marks) -> Kind {
    let beside = marks.mark("a field beside the error of a token endpoint");
    let body = format!(
        r#"{{"error": "invalid_client", "error_description": "{TOLD}: {{authorization}}, {{proof}}, {{body}}", "hint": "{beside}",
            "error_uri": "https://login.example/{beside}"}}"#
    );
    answer(401, JSON, body)
}

/// What Entra says, repeating what was sent.
pub(super) fn no_login(marks: &mut Marks) -> Kind {
    let beside = marks.mark("a field beside the error of Entra");
    let body = format!(
        r#"{{"error": "invalid_client", "error_description": "AADSTS7000215: {TOLD}: {{body}} Trace ID: {beside}",
            "error_codes": [7000215], "claims": "{beside}", "suberror": "{beside}"}}"#
    );
    answer(401, JSON, body)
}

/// A JSON error of the API that repeats the credential, with marks beyond the length that is kept and beside the message.
fn error(status: u16, code: &str, marks: &mut Marks) -> Kind {
    let beside = marks.mark(&format!("a field beside the message of a {status}"));
    let beyond = marks.mark(&format!("the end of the message of a {status}"));
    let filling = " and so on".repeat(BEYOND_EVERY_MESSAGE / 10);
    let body = format!(
        r#"{{"error_code": "{code}", "message": "{TOLD}: {{authorization}}{filling}{beyond}", "stack_trace": "{beside}",
            "details": [{{"@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": "r-1", "serving_data": "{beside}"}},
                        {{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "metadata": {{"{beside}": "{beside}"}}}}]}}"#
    );
    answer(status, JSON, body)
}

fn answer(status: u16, content_type: &str, body: String) -> Kind {
    Kind::Answer { status, content_type: content_type.to_owned(), body, headers: Vec::new() }
}
