//! The idempotency token: by it Databricks knows a request again, so that repeating it returns the run there is.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// At most 64 characters are allowed; ours has 52.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyToken(String);

impl IdempotencyToken {
    /// The token of an object's intent. The uid sets clusters and re-created objects apart, the serial the intents of
    /// one object: an edit that comes back to an older spec is a new serial, so never an old run.
    #[must_use]
    pub fn new(uid: &str, serial: i64) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"dbrun.dev/run/v1\0");
        hash.update(uid.as_bytes());
        hash.update(b"\0");
        hash.update(serial.to_string().as_bytes());
        Self(BASE32_NOPAD.encode(&hash.finalize()))
    }

    /// The text that is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token that changes between versions starts a second run after an upgrade in the middle of an intent.
    #[test]
    fn released_tokens_never_change() {
        let token = IdempotencyToken::new("6f1c2a9e-8f0b-4c0e-9d52-6f0d8f3c0a11", 1);
        assert_eq!(token.as_str(), "TBIHMWRYDL7LG6IAKASWBSUKISC44GJWO57CV7ZYNYTKJB7V7YGQ");
    }

    #[test]
    fn a_token_fits_and_differs_by_uid_and_serial() {
        let token = IdempotencyToken::new("uid", 1);
        assert!(token.as_str().len() <= 64);
        assert_ne!(token, IdempotencyToken::new("uid", 2));
        assert_ne!(token, IdempotencyToken::new("uid1", 1));
        assert_ne!(IdempotencyToken::new("uid1", 1), IdempotencyToken::new("uid", 11));
    }
}
