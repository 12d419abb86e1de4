//! Identifiers as Databricks gives them: 64-bit, random, unordered, often above 2^53. They are never held as floats.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(IdVisitor).map(Self)
            }
        }
    };
}

id! {
    /// A run, a task's run or a repaired task's run: Databricks numbers all of them alike.
    RunId
}
id! {
    /// A job. One-off runs have a hidden one, too.
    JobId
}
id! {
    /// A repair of a run.
    RepairId
}

/// What makes a repeated request return the first one's run. Databricks takes up to 64 characters and compares nothing
/// else: the same token always means the same run, whatever the body.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyToken(String);

/// A text that cannot be an idempotency token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency token has 1 to 64 characters out of A-Z, a-z, 0-9, '-' and '_'")]
pub struct InvalidIdempotencyToken;

impl IdempotencyToken {
    /// Characters that Databricks takes.
    pub const MAX_LENGTH: usize = 64;

    /// Checks length and characters: the token is written into a JSON text as it is.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidIdempotencyToken> {
        let text = text.into();
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if text.is_empty() || text.len() > Self::MAX_LENGTH || !plain {
            return Err(InvalidIdempotencyToken);
        }
        Ok(Self(text))
    }

    /// The token as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Accepts the integer and the string form: some gateways turn large integers into strings.
struct IdVisitor;

impl de::Visitor<'_> for IdVisitor {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a 64-bit id as an integer or a string of digits")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::custom(format!("id {value} is above 2^63")))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<i64, E> {
        value.parse().map_err(|_| E::custom("an id that is not a 64-bit integer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_above_2_to_the_53_survives_in_both_forms() {
        for text in ["8805518563412967921", "\"8805518563412967921\""] {
            assert_eq!(serde_json::from_str::<RunId>(text).unwrap(), RunId(8_805_518_563_412_967_921));
        }
    }

    #[test]
    fn a_token_that_would_need_escaping_or_is_too_long_is_refused() {
        assert!(IdempotencyToken::new("abc-DEF_123").is_ok());
        assert!(IdempotencyToken::new("a".repeat(64)).is_ok());
        for text in ["", "a\"b", "a b", "ä", &"a".repeat(65)] {
            assert_eq!(IdempotencyToken::new(text), Err(InvalidIdempotencyToken), "{text}");
        }
    }

    #[test]
    fn what_is_no_64_bit_integer_is_refused() {
        for text in ["9223372036854775808", "1.5", "\"12a\"", "null", "true"] {
            assert!(serde_json::from_str::<RunId>(text).is_err(), "{text}");
        }
    }
}
