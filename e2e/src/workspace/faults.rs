//! Faults: which requests are disturbed, and how. Set in Rust or, as the same JSON, over the control door.
//!
//! A fault either replaces the answer (nothing happens in the workspace), or delays, or spoils the answer after the
//! effect has taken place. `disturbance` says what several of them make of one request.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::clock::millis;
use super::operations::Operation;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", rename_all_fields = "snake_case")]
pub enum Kind {
    /// Answer this error; no effect. Without a code the body is empty.
    Status {
        /// The HTTP status.
        status: u16,
        /// `error_code`.
        #[serde(default)]
        code: Option<String>,
        /// `message`.
        #[serde(default)]
        message: String,
        /// `Retry-After`, if any.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
    },
    /// Answer exactly this; no effect. In the body, `{authorization}` and `{body}` stand for the header and the body that
    /// were sent, and `{proof}` for what the header proves with, decoded; written as within a text of JSON.
    Answer {
        /// The HTTP status.
        status: u16,
        /// `Content-Type`.
        content_type: String,
        /// The body.
        body: String,
        /// Further headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// Answer 200 with the login page in HTML; no effect.
    LoginPage,
    /// Answer 302 to the login page; no effect.
    Redirect,
    /// Answer 200 with something that is not JSON; no effect.
    Garbage,
    /// Close the connection with a reset; no effect.
    Reset,
    /// Wait before the effect, after it, or both. The effect takes place even if the client has gone by then.
    Delay {
        /// Milliseconds before the effect.
        #[serde(default)]
        before_ms: u64,
        /// Milliseconds between effect and answer.
        #[serde(default)]
        after_ms: u64,
    },
    /// The effect waits until this fault is cleared.
    HoldEffect,
    /// The effect takes place; the answer waits until this fault is cleared.
    HoldAnswer,
    /// The effect takes place; the connection is closed without an answer.
    LoseAnswer,
    /// The effect takes place; the answer breaks off in the middle.
    Truncate,
    /// The effect takes place; the answer never ends.
    Endless,
    /// The effect takes place; the answer comes byte by byte, this many milliseconds apart.
    Drip {
        /// Milliseconds between bytes.
        every_ms: u64,
    },
}

/// How a `Retry-After` header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// As seconds.
    Seconds(u64),
    /// As the date that many seconds from now.
    DateIn(u64),
}

impl RetryAfter {
    pub(super) fn header(self, now: SystemTime) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::DateIn(seconds) => httpdate::fmt_http_date(now + Duration::from_secs(seconds)),
        }
    }
}

/// A fault with the requests it is meant for. Everything left out matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// These calls; all when empty.
    #[serde(default)]
    pub operations: Vec<Operation>,
    /// Only requests about this run.
    #[serde(default)]
    pub run_id: Option<i64>,
    /// Only requests with this idempotency token.
    #[serde(default)]
    pub idempotency_token: Option<String>,
    /// Let this many matching requests pass first.
    #[serde(default)]
    pub skip: u32,
    /// Disturb this many, then stop; without it, until cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// Disturb this many of a thousand matching requests, by the workspace's seed.
    #[serde(default)]
    pub per_mille: Option<u32>,
    /// Stop this many milliseconds after it was set.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// What goes wrong.
    pub kind: Kind,
}

impl Fault {
    /// A fault of one call.
    #[must_use]
    pub fn on(operation: Operation, kind: Kind) -> Self {
        Self { operations: vec![operation], ..Self::everywhere(kind) }
    }

    /// A fault of every call, the token endpoint included.
    #[must_use]
    pub fn everywhere(kind: Kind) -> Self {
        Self {
            operations: Vec::new(),
            run_id: None,
            idempotency_token: None,
            skip: 0,
            times: None,
            per_mille: None,
            for_ms: None,
            kind,
        }
    }

    /// Only the next matching request.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Only the next `count` matching requests.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.times = Some(count);
        self
    }

    /// Only from the `nth` matching request on, counted from 1.
    #[must_use]
    pub fn from_nth(mut self, nth: u32) -> Self {
        self.skip = nth.saturating_sub(1);
        self
    }

    /// Only about so many of a thousand.
    #[must_use]
    pub fn per_mille(mut self, share: u32) -> Self {
        self.per_mille = Some(share);
        self
    }

    /// Only for so long from now.
    #[must_use]
    pub fn lasting(mut self, span: Duration) -> Self {
        self.for_ms = u64::try_from(millis(span)).ok();
        self
    }

    /// Only requests about this run.
    #[must_use]
    pub fn about_run(mut self, run_id: i64) -> Self {
        self.run_id = Some(run_id);
        self
    }
}

impl Kind {
    /// An error with a JSON body of the API.
    #[must_use]
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Status { status, code: Some(code.to_owned()), message: message.to_owned(), retry_after: None }
    }

    /// 503, as during an outage.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::error(503, "TEMPORARILY_UNAVAILABLE", "The service is temporarily unavailable. Please try again later.")
    }

    /// 429 with or without `Retry-After`.
    #[must_use]
    pub fn throttled(retry_after: Option<RetryAfter>) -> Self {
        Self::Status {
            status: 429,
            code: Some("REQUEST_LIMIT_EXCEEDED".to_owned()),
            message: "Too many requests. Please wait a moment and try again.".to_owned(),
            retry_after,
        }
    }

    /// A status with an empty body.
    #[must_use]
    pub fn bare(status: u16) -> Self {
        Self::Status { status, code: None, message: String::new(), retry_after: None }
    }

    /// The effect waits, so that it lands after an impatient client gave up.
    #[must_use]
    pub fn late_effect(by: Duration) -> Self {
        Self::Delay { before_ms: u64::try_from(millis(by)).unwrap_or(0), after_ms: 0 }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Status { status, .. } => format!("status {status}"),
            Self::Answer { status, content_type, .. } => format!("answer {status} {content_type}"),
            Self::LoginPage => "login page".to_owned(),
            Self::Redirect => "redirect".to_owned(),
            Self::Garbage => "garbage".to_owned(),
            Self::Reset => "reset".to_owned(),
            Self::Delay { before_ms, after_ms } => format!("delay {before_ms}+{after_ms} ms"),
            Self::HoldEffect => "effect held".to_owned(),
            Self::HoldAnswer => "answer held".to_owned(),
            Self::LoseAnswer => "answer lost".to_owned(),
            Self::Truncate => "truncated".to_owned(),
            Self::Endless => "endless".to_owned(),
            Self::Drip { .. } => "drip".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_written_as_seconds_or_as_a_date() {
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(RetryAfter::Seconds(3).header(now), "3");
        assert_eq!(RetryAfter::DateIn(60).header(now), "Thu, 01 Jan 1970 00:01:00 GMT");
    }

    #[test]
    fn a_fault_reads_from_json_as_people_write_it() -> Result<(), serde_json::Error> {
        let fault: Fault = serde_json::from_str(
            r#"{"operations": ["run-now"], "times": 1, "kind": {"status": {"status": 429, "retry_after": {"seconds": 2}}}}"#,
        )?;
        assert_eq!(fault.operations, [Operation::RunNow]);
        let lost: Fault = serde_json::from_str(r#"{"kind": "lose_answer", "for_ms": 60000}"#)?;
        assert_eq!(lost.kind, Kind::LoseAnswer);
        Ok(())
    }
}
