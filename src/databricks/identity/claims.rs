//! What an assertion says of itself: issuer, subject and audience, which are what the other side compares with what was
//! written down there. They are names, not secrets; the signature, which makes the assertion one, is never looked at.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::databricks::error_body::clean;

/// Bytes of a claim that are shown.
const LONGEST: usize = 256;

/// The names in an assertion.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// Reads a JWT without checking anything. `None` for what is none.
    pub(super) fn of(assertion: &SecretString) -> Option<Self> {
        let payload = assertion.expose_secret().split('.').nth(1)?;
        serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?).ok()
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audience = match &self.aud {
            Audience::One(audience) => audience.clone(),
            Audience::Several(audiences) => audiences.join("`, `"),
        };
        write!(f, "issuer `{}`, subject `{}` and audience `{}`", short(&self.iss), short(&self.sub), short(&audience))
    }
}

fn short(text: &str) -> String {
    let mut text = clean(text);
    while text.len() > LONGEST {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> SecretString {
        format!("eyJh.{}.c2ln", BASE64URL_NOPAD.encode(payload.as_bytes())).into()
    }

    #[test]
    fn the_names_in_a_token_are_told_in_one_bounded_line() {
        for (payload, told) in [
            (
                r#"{"iss":"https://i.example","sub":"system:serviceaccount:etl:runner","aud":["a","b"],"exp":1}"#,
                "issuer `https://i.example`, subject `system:serviceaccount:etl:runner` and audience `a`, `b`",
            ),
            (r#"{"iss":"i\n\u001b[31m","sub":"s","aud":"a"}"#, "issuer `i [31m`, subject `s` and audience `a`"),
        ] {
            assert_eq!(Claims::of(&jwt(payload)).unwrap().to_string(), told);
        }
        let long = format!(r#"{{"iss":"{0}","sub":"{0}","aud":"{0}"}}"#, "é".repeat(5000));
        assert!(Claims::of(&jwt(&long)).unwrap().to_string().len() < 4 * LONGEST);
    }

    #[test]
    fn what_is_no_token_has_no_names() {
        for text in ["", "a.b.c", "a..c", "opaque", "a.bnVsbA.c"] {
            assert_eq!(Claims::of(&text.into()), None, "{text}");
        }
        assert_eq!(Claims::of(&jwt(r#"{"sub":"s"}"#)), None);
    }
}
