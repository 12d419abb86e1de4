//! An issuer of tokens for tests that have no Kubernetes to ask: one P-256 key, made at start and never written anywhere.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::provider;

/// Signs whatever a test wants signed.
pub struct Issuer {
    name: String,
    key: EncodingKey,
    jwks: Value,
    key_id: String,
}

#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "an issuer that cannot sign fails the test")]
impl Issuer {
    /// An issuer with a key of its own. `name` is what its tokens should say in `iss`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        provider::install();
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key can be made");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("its own key can be read");
        // One byte that says the point is not compressed, then its two coordinates.
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let key_id = HEXLOWER.encode(&x[..8]);
        let [x, y] = [x, y].map(|coordinate| BASE64URL_NOPAD.encode(coordinate));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": key_id, "x": x, "y": y });
        Self {
            name: name.to_owned(),
            key: EncodingKey::from_ec_der(pkcs8.as_ref()),
            jwks: json!({ "keys": [jwk] }),
            key_id,
        }
    }

    /// What its tokens should say in `iss`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its public key, as issuers publish them.
    #[must_use]
    pub fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// The same, read.
    #[must_use]
    pub fn keys(&self) -> JwkSet {
        serde_json::from_value(self.jwks.clone()).expect("a key set")
    }

    /// A token with exactly these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.key).expect("claims can be signed")
    }

    /// A token of this issuer about `subject` for `audience`, good from `now` on for so many seconds. Times in seconds.
    #[must_use]
    pub fn token(&self, subject: &str, audience: &str, now: i64, seconds: i64) -> String {
        self.sign(&json!({
            "iss": self.name, "sub": subject, "aud": [audience], "iat": now, "nbf": now, "exp": now + seconds,
        }))
    }
}
