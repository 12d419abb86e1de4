//! Answers that are errors: what may be shown of them, and what they may bring about.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::life::Life;
use super::{SECRET, check, tells_the_secret};
use crate::databricks::error::{ApiError, Error, Executed, MAX_MESSAGE};
use crate::databricks::fuzzing::{HttpAnswer, Judged, refused_token};

const ROUNDS: usize = 12;

/// An answer of HTTP to who has sent a secret. Nothing of a body is shown but a code, a bounded message of a JSON error and
/// the id of the request, each without the secret; no error ends a run that is under way, and only a refusal, or a start
/// that may have been executed, ends one that is to be started.
pub fn error_answer(bytes: &[u8]) {
    let answer = HttpAnswer::read(bytes);
    let Judged { error, retry_after, .. } = answer.judged(&[SECRET], SystemTime::UNIX_EPOCH);
    assert!(retry_after.is_none_or(|wait| wait <= Duration::from_mins(5)), "{retry_after:?}");
    let Some(error) = error else {
        assert!((200..300).contains(&answer.status()), "no error: {}", answer.status());
        return;
    };
    if let Some(api) = error.api() {
        bounded(api);
        let is_json = serde_json::from_slice::<Value>(answer.body()).is_ok_and(|body| body.is_object());
        assert!(is_json || api.message.is_empty(), "told of what is no JSON: {}", api.message);
        assert_eq!(api.http_status, answer.status());
    }
    let as_of_a_token = refused_token(error.clone());
    assert_eq!(as_of_a_token.executed(), Executed::No, "{as_of_a_token:?}");
    for error in [&error, &as_of_a_token] {
        shown(&error.to_string());
        shown(&error.told());
        lives_with(error);
    }
}

fn bounded(api: &ApiError) {
    assert!(api.message.len() <= MAX_MESSAGE, "{} bytes of a message", api.message.len());
    for word in api.error_code.iter().chain(&api.request_id) {
        assert!(word.len() <= 128 && word.bytes().all(|byte| byte.is_ascii_graphic()), "no word: {word}");
    }
}

fn shown(text: &str) {
    check::one_line(text);
    assert!(!tells_the_secret(text), "tells a secret: {text}");
}

/// Every call for an object fails like this.
fn lives_with(error: &Error) {
    let mut starting = Life::of(json!({"workspaceRef": {"name": "prod"}, "runNow": {"job_id": 5}}));
    starting.error = Some(error.clone());
    starting.goes_on(ROUNDS);
    let refused = matches!(error, Error::Rejected(_) | Error::NotFound(_));
    assert_eq!(starting.has_ended(), refused, "{error}: {:?}", starting.status);

    let mut live = Life::of(json!({"workspaceRef": {"name": "prod"}, "runNow": {"job_id": 5}}));
    live.goes_on(2);
    live.asked = [None, Some("now".to_owned()), None];
    live.error = Some(error.clone());
    live.goes_on(ROUNDS);
    assert!(!live.has_ended(), "{error}: {:?}", live.status);
    for life in [starting, live] {
        let text = serde_json::to_string(&life.status).unwrap_or_default();
        assert!(!tells_the_secret(&text), "tells a secret: {text}");
    }
}
