//! JSON web tokens as token endpoints check them: is this token signed by one of these keys, and what does it claim.
//!
//! Whether the claims are good enough is for the endpoint to judge, by its own clock and in its own words; so nothing here
//! looks at a time, an issuer or an audience. [`Issuer`] makes tokens for tests that have no Kubernetes to ask for them.

mod issuer;
mod provider;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

pub use self::issuer::Issuer;

/// The algorithms Databricks and Entra take from an issuer that is not their own.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// What a token says, once its signature has been checked. Times are seconds since 1970.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Claims {
    /// Who signed it.
    #[serde(rename = "iss", default)]
    pub issuer: String,
    /// Whom it is about.
    #[serde(rename = "sub", default)]
    pub subject: String,
    /// Whom it is for.
    #[serde(rename = "aud", default, deserialize_with = "one_or_many")]
    pub audiences: Vec<String>,
    /// From when on it is good.
    #[serde(rename = "nbf")]
    pub not_before: Option<i64>,
    /// Until when it is good. Databricks and Entra take none without an end.
    #[serde(rename = "exp")]
    pub expires: i64,
}

/// Why a token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Not three parts of base64, or no JSON in them, or a claim of the wrong type.
    #[error("it is not a JSON web token")]
    Malformed,
    /// Signed in a way nobody takes, `none` included.
    #[error("its algorithm is neither RS256 nor ES256")]
    Algorithm,
    /// No key of the issuer has its key id.
    #[error("its key id is none of the issuer's")]
    UnknownKey,
    /// The key of that id did not make this signature.
    #[error("its signature is not the issuer's")]
    Signature,
}

/// The claims of `token`, if one of `keys` signed it.
pub fn verify(token: &str, keys: &JwkSet) -> Result<Claims, Wrong> {
    provider::install();
    let header = decode_header(token).map_err(|_| Wrong::Malformed)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Wrong::Algorithm);
    }
    let key = find(keys, header.kid.as_deref()).ok_or(Wrong::UnknownKey)?;
    let key = DecodingKey::from_jwk(key).map_err(|_| Wrong::UnknownKey)?;
    let mut signature_alone = Validation::new(header.alg);
    signature_alone.required_spec_claims.clear();
    signature_alone.validate_exp = false;
    signature_alone.validate_aud = false;
    decode(token, &key, &signature_alone).map(|token| token.claims).map_err(|error| {
        use jsonwebtoken::errors::ErrorKind;
        match error.kind() {
            ErrorKind::InvalidSignature | ErrorKind::InvalidKeyFormat => Wrong::Signature,
            _ => Wrong::Malformed,
        }
    })
}

/// A token that does not name its key can only mean the only one.
fn find<'a>(keys: &'a JwkSet, id: Option<&str>) -> Option<&'a Jwk> {
    match (id, keys.keys.as_slice()) {
        (Some(id), _) => keys.find(id),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(audience) => vec![audience],
        OneOrMany::Many(audiences) => audiences,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn keys(of: &Value) -> Result<JwkSet, serde_json::Error> {
        serde_json::from_value(json!({ "keys": [of] }))
    }

    /// The payload of RFC 7515's examples, whose end is in 2011.
    const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    fn is_joe(claims: &Claims) -> bool {
        claims.issuer == "joe" && claims.expires == 1_300_819_380 && claims.audiences.is_empty()
    }

    #[test]
    fn the_rs256_example_of_rfc_7515_is_signed_by_its_key_and_by_no_other() -> Result<(), Box<dyn std::error::Error>> {
        let key = json!({
            "kty": "RSA",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR\
                  T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB\
                  dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia\
                  GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
            "e": "AQAB",
        });
        let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9\
                         uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB\
                         _eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq\
                         Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{JOE}.{signature}");
        assert!(verify(&token, &keys(&key)?).is_ok_and(|claims| is_joe(&claims)));
        assert_eq!(verify(&token, &Issuer::new("joe").keys()), Err(Wrong::Signature));
        Ok(())
    }

    #[test]
    fn the_es256_example_of_rfc_7515_is_signed_by_its_key() -> Result<(), Box<dyn std::error::Error>> {
        let key = json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let token = format!("eyJhbGciOiJFUzI1NiJ9.{JOE}.{signature}");
        assert!(verify(&token, &keys(&key)?).is_ok_and(|claims| is_joe(&claims)));
        Ok(())
    }

    #[test]
    fn what_an_issuer_signs_is_its_own_until_a_letter_is_changed() {
        let issuer = Issuer::new("https://issuer.example");
        let claims = json!({ "iss": "https://issuer.example", "sub": "a", "aud": ["x", "y"], "exp": 10, "nbf": 5 });
        let token = issuer.sign(&claims);
        let claims = verify(&token, &issuer.keys());
        assert_eq!(claims.as_ref().map(|claims| claims.audiences.clone()), Ok(vec!["x".to_owned(), "y".to_owned()]));
        assert_eq!(claims.map(|claims| claims.not_before), Ok(Some(5)));
        let other = issuer.sign(&json!({ "iss": "https://issuer.example", "sub": "b", "exp": 10 }));
        let parts: Vec<&str> = token.split('.').collect();
        let body = other.split('.').nth(1).unwrap_or_default();
        let mixed = [parts[0], body, parts[2]].join(".");
        assert_eq!(verify(&mixed, &issuer.keys()), Err(Wrong::Signature));
    }

    #[test]
    fn a_token_signed_by_another_key_or_by_none_proves_nothing() {
        let (issuer, other) = (Issuer::new("one"), Issuer::new("two"));
        let token = other.sign(&json!({ "iss": "one", "exp": 10 }));
        assert_eq!(verify(&token, &issuer.keys()), Err(Wrong::UnknownKey));
        let encode = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
        let shared_secret = format!("{}.{}.AAAA", encode(r#"{"alg":"HS256"}"#), encode(r#"{"exp":10}"#));
        assert_eq!(verify(&shared_secret, &issuer.keys()), Err(Wrong::Algorithm));
        // Algorithms that nobody knows, `none` among them, do not even parse.
        let unsigned = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(r#"{"exp":10}"#));
        for token in [unsigned.as_str(), "", "a.b", "a.b.c", "dapi-not-a-jwt"] {
            assert_eq!(verify(token, &issuer.keys()), Err(Wrong::Malformed), "{token}");
        }
    }

    #[test]
    fn a_token_without_an_end_proves_nothing() {
        let issuer = Issuer::new("one");
        assert_eq!(verify(&issuer.sign(&json!({ "iss": "one" })), &issuer.keys()), Err(Wrong::Malformed));
    }
}
