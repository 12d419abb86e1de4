//! The shapes in which Databricks, its gateways and its token endpoint describe an error, brought into one. What is not
//! a code, a message or a request id does not leave this file, and those are cleaned and bounded.

use std::time::Duration;

use serde_json::Value;

use super::error::MAX_MESSAGE;

/// The longest `error_code` and request id that are believed.
const MAX_WORD: usize = 128;

/// What kind of text an answer's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Empty,
    /// A JSON object with a code, or a text in Databricks' own `CODE: message` form.
    Coded,
    /// A JSON object without a code that is text.
    Json,
    /// A web page.
    Html,
    /// Anything else.
    Other,
}

/// An error body, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ErrorBody {
    pub(super) kind: Kind,
    pub(super) code: Option<String>,
    /// What a JSON body says. Cleaned and bounded; may be shown.
    pub(super) message: String,
    /// What a text body says. For the rules alone, never shown.
    pub(super) hidden_message: String,
    pub(super) request_id: Option<String>,
    pub(super) retry_delay: Option<Duration>,
}

impl ErrorBody {
    pub(super) fn of_kind(kind: Kind) -> Self {
        Self {
            kind,
            code: None,
            message: String::new(),
            hidden_message: String::new(),
            request_id: None,
            retry_delay: None,
        }
    }

    /// Reads any bytes. Never fails: what makes no sense is [`Kind::Other`].
    pub(super) fn read(content_type: Option<&str>, body: &[u8]) -> Self {
        let body = body.trim_ascii();
        if body.is_empty() {
            return Self::of_kind(Kind::Empty);
        }
        if let Ok(Value::Object(fields)) = serde_json::from_slice(body) {
            return Self::of_json(&Value::Object(fields));
        }
        if body.starts_with(b"<") || content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("html")) {
            return Self::of_kind(Kind::Html);
        }
        Self::of_text(&String::from_utf8_lossy(body)).unwrap_or_else(|| Self::of_kind(Kind::Other))
    }

    fn of_json(body: &Value) -> Self {
        let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        // `{"error": …}` is OAuth's code where a description follows or it looks like one, else it is the message.
        let error = text("error");
        let oauth = error.filter(|error| text("error_description").is_some() || is_oauth_code(error));
        let code = text("error_code").or_else(|| text("errorCode")).or(oauth).and_then(word);
        let message = ["message", "error_description", "errorSummary", "detail"]
            .into_iter()
            .find_map(text)
            .or_else(|| error.filter(|_| oauth.is_none()))
            .map(|text| clean(lasting(text)))
            .unwrap_or_default();
        let detail = |name: &str| {
            let details = body.get("details").and_then(Value::as_array);
            details.into_iter().flatten().find_map(|detail| detail.get(name).and_then(Value::as_str))
        };
        let kind = if code.is_some() { Kind::Coded } else { Kind::Json };
        Self {
            code,
            message,
            request_id: detail("request_id").or_else(|| text("trace_id")).and_then(word),
            retry_delay: detail("retry_delay").and_then(protobuf_duration),
            ..Self::of_kind(kind)
        }
    }

    /// `CODE: message`, as older services write it.
    fn of_text(text: &str) -> Option<Self> {
        let (code, message) = text.split_once(": ")?;
        let shouted = code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        let code = word(code).filter(|code| shouted && code.len() > 2)?;
        Some(Self { code: Some(code), hidden_message: clean(message), ..Self::of_kind(Kind::Coded) })
    }

    /// What the rules look at.
    pub(super) fn says(&self) -> &str {
        if self.message.is_empty() { &self.hidden_message } else { &self.message }
    }
}

fn is_oauth_code(text: &str) -> bool {
    text.contains('_') && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// A code or an id: what does not look like one is not believed.
pub(super) fn word(text: &str) -> Option<String> {
    let plain =
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b':'));
    (plain && !text.is_empty() && text.len() <= MAX_WORD).then(|| text.to_owned())
}

/// Cuts at [`MAX_MESSAGE`] bytes, makes one line of it and removes what could disturb a terminal or turn text around.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::new();
    for c in text.trim().chars() {
        let c = if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c };
        let turns_text = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns_text {
            continue;
        }
        if clean.len() + c.len_utf8() > MAX_MESSAGE {
            break;
        }
        clean.push(c);
    }
    clean.truncate(clean.trim_end().len());
    clean
}

/// What Microsoft Entra says without what differs each time (ids of the request, the time), which would be news each time.
fn lasting(text: &str) -> &str {
    if !text.starts_with("AADSTS") {
        return text;
    }
    let ends = ["Trace ID:", "Correlation ID:", "Timestamp:", "Current time:"];
    ends.iter().filter_map(|end| text.find(end)).min().map_or(text, |end| &text[..end])
}

/// `"30s"` or `"1.5s"`.
fn protobuf_duration(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_gives_its_code_and_message() {
        for (body, kind, code, message) in [
            ("", Kind::Empty, None, ""),
            ("  \n", Kind::Empty, None, ""),
            (r#"{"error_code":"INVALID_STATE","message":"m"}"#, Kind::Coded, Some("INVALID_STATE"), "m"),
            (r#"{"error_code":400,"message":"m"}"#, Kind::Json, None, "m"),
            (r#"{"message":"m"}"#, Kind::Json, None, "m"),
            (r#"{"error":"Bad Target: /api/2.2/x"}"#, Kind::Json, None, "Bad Target: /api/2.2/x"),
            (r#"{"error":"invalid_client"}"#, Kind::Coded, Some("invalid_client"), ""),
            (r#"{"error":"invalid_client","error_description":"d"}"#, Kind::Coded, Some("invalid_client"), "d"),
            (r#"{"errorCode":"E0000004","errorSummary":"s"}"#, Kind::Coded, Some("E0000004"), "s"),
            (r#"{"detail":"d","status":"404","scimType":"x"}"#, Kind::Json, None, "d"),
            (r#"{"error":{"message":"nested"}}"#, Kind::Json, None, ""),
            ("INVALID_PARAMETER_VALUE: secret words", Kind::Coded, Some("INVALID_PARAMETER_VALUE"), ""),
            ("upstream connect error: refused", Kind::Other, None, ""),
            ("<html><pre>BAD</pre></html>", Kind::Html, None, ""),
            ("[1]", Kind::Other, None, ""),
            ("\u{0}\u{1}", Kind::Other, None, ""),
        ] {
            let read = ErrorBody::read(None, body.as_bytes());
            assert_eq!((read.kind, read.code.as_deref(), read.message.as_str()), (kind, code, message), "{body}");
        }
    }

    #[test]
    fn a_message_becomes_one_harmless_bounded_line() {
        assert_eq!(clean("a\r\n\tb\u{1b}[31mc\u{0}\u{202e}d\n"), "a   b[31mcd");
        let long = "ä".repeat(MAX_MESSAGE);
        assert_eq!(clean(&long).len(), MAX_MESSAGE);
        let odd = format!("x{long}");
        assert_eq!(clean(&odd).len(), MAX_MESSAGE - 1, "cut between characters");
    }

    #[test]
    fn details_give_the_request_id_and_the_delay() {
        let body = br#"{"error_code":"X","details":[
            {"@type":"type.googleapis.com/google.rpc.RequestInfo","request_id":"abc-1"},
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retry_delay":"1.5s"}]}"#;
        let read = ErrorBody::read(Some("application/json"), body);
        assert_eq!(read.request_id.as_deref(), Some("abc-1"));
        assert_eq!(read.retry_delay, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn what_entra_says_is_told_without_what_differs_each_time() {
        let body =
            br#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided. Ensure
            it is the value.\r\nTrace ID: 7d1f\r\nCorrelation ID: 9c2e\r\nTimestamp: 2026-01-02 03:04:05Z",
            "error_codes":[7000215],"timestamp":"2026-01-02 03:04:05Z","trace_id":"7d1f","correlation_id":"9c2e"}"#;
        let body = String::from_utf8_lossy(body).replace('\n', "");
        let read = ErrorBody::read(Some("application/json"), body.as_bytes());
        assert_eq!((read.code.as_deref(), read.request_id.as_deref()), (Some("invalid_client"), Some("7d1f")));
        assert!(read.message.starts_with("AADSTS7000215: Invalid client secret provided."), "{}", read.message);
        assert!(read.message.ends_with("it is the value."), "{}", read.message);
    }

    #[test]
    fn a_code_that_looks_like_no_code_is_not_believed() {
        for code in ["a b", "<script>", "ä", ""] {
            assert_eq!(word(code), None, "{code}");
        }
    }
}
