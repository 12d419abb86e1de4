//! What a token endpoint answers when it gives a token: read leniently where services differ, and bounded.

use std::time::Duration;

use serde::Deserialize;

use crate::databricks::error::{Error, TransportError};
use crate::databricks::transport::Answer;

/// Bytes of an answer that gives a token. Real ones have a few thousand.
pub(super) const TOKEN_BODY: usize = 256 << 10;
/// Bytes of a token: it must stand in a header, and servers refuse longer ones.
const LONGEST_TOKEN: usize = 32 << 10;

/// A token and how long it lives, if that was told.
pub(super) struct TokenAnswer {
    pub(super) access_token: String,
    pub(super) expires_in: Option<Duration>,
}

impl TokenAnswer {
    /// Reads an answer. Errors say what is wrong and nothing of what stood there.
    pub(super) fn read(answer: &Answer) -> Result<Self, Error> {
        answer.json::<Written>()?.checked().map_err(|why| {
            Error::Transport(TransportError::UnreadableAnswer(format!("it gives no token that can be used: {why}")))
        })
    }
}

#[derive(Deserialize)]
struct Written {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<ExpiresIn>,
}

impl Written {
    fn checked(self) -> Result<TokenAnswer, &'static str> {
        if self.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err("its token_type is not Bearer");
        }
        if self.access_token.is_empty() {
            return Err("its access_token is empty");
        }
        if self.access_token.len() > LONGEST_TOKEN {
            return Err("its access_token is longer than a header can be");
        }
        if !self.access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("its access_token cannot stand in a header");
        }
        Ok(TokenAnswer {
            access_token: self.access_token,
            expires_in: self.expires_in.map(|ExpiresIn(seconds)| Duration::from_secs(seconds)),
        })
    }
}

/// Seconds, as a number or, from some gateways, as a string.
struct ExpiresIn(u64);

impl<'de> Deserialize<'de> for ExpiresIn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(f64),
            Text(String),
        }
        let seconds = match Either::deserialize(deserializer)? {
            Either::Number(seconds) => Some(seconds),
            Either::Text(text) => text.trim().parse().ok(),
        };
        let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        seconds.map(|time| Self(time.as_secs())).ok_or_else(|| serde::de::Error::custom("expires_in is no number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expires_in_is_read_as_number_and_as_text() {
        for (text, seconds) in
            [("3600", Some(3600)), ("\"3600\"", Some(3600)), ("\" 60 \"", Some(60)), ("59.9", Some(59)), ("null", None)]
        {
            let answer: Written =
                serde_json::from_str(&format!("{{\"access_token\":\"t\",\"expires_in\":{text}}}")).unwrap();
            assert_eq!(answer.checked().unwrap().expires_in, seconds.map(Duration::from_secs), "{text}");
        }
        for text in ["-1", "\"soon\"", "true", "1e300", "[1]"] {
            let answer = format!("{{\"access_token\":\"t\",\"expires_in\":{text}}}");
            assert!(serde_json::from_str::<Written>(&answer).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_that_cannot_be_used_is_refused_with_a_reason_that_does_not_tell_it() {
        let written = |token: &str, kind: &str| Written {
            access_token: token.to_owned(),
            token_type: Some(kind.to_owned()),
            expires_in: None,
        };
        let longest = "s3".repeat(LONGEST_TOKEN / 2);
        for (answer, reason) in [
            (written("", "Bearer"), "is empty"),
            (written(&format!("{longest}s"), "Bearer"), "longer"),
            (written("s3 cret", "Bearer"), "header"),
            (written("s3\r\nX-Evil: 1", "Bearer"), "header"),
            (written("s3ä", "Bearer"), "header"),
            (written("s3", "mac"), "not Bearer"),
        ] {
            let error = answer.checked().err().unwrap();
            assert!(error.contains(reason) && !error.contains("s3"), "{error}");
        }
        for token in ["t", &longest] {
            assert_eq!(written(token, "bearer").checked().unwrap().access_token, token);
        }
    }
}
