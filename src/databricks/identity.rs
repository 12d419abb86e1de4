//! The kinds of identity: where each gets its token. A further kind is a further [`Issuer`] here.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use futures::future::BoxFuture;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

use super::client::{Deadline, InvalidSettings};
use super::credentials::{KeptSecrets, SecretKey};
use super::error::{CredentialsError, Error};
use super::limiters::Limiter;
use super::observer::{Observer, Operation};
use super::settings::{Auth, ClientId, Settings};
use super::tokens::{Issued, Issuer, Lives};
use super::transport::{HttpRequest, Method, NORMAL_BODY, Transport};

/// How long a personal access token is used before its Secret is read again. A rotated one is needed at once only when
/// the old one is refused, and then it is read at once; until then this spares the cluster a reading per call.
const PAT_REREAD: Duration = Duration::from_secs(30);
/// The life of a token whose endpoint does not tell. Databricks' live for an hour.
const UNTOLD_LIFE: Duration = Duration::from_mins(10);

/// The issuer of this identity.
pub(super) fn issuer(
    settings: &Settings,
    secrets: KeptSecrets,
    transport: Arc<Transport>,
    limiter: Arc<Limiter>,
    observer: Arc<dyn Observer>,
) -> Result<Box<dyn Issuer>, InvalidSettings> {
    Ok(match settings.auth.clone() {
        Auth::Pat { token } => Box::new(Pat { token, secrets }),
        Auth::OauthM2m { client_id, client_secret } => {
            Box::new(OauthM2m { client_id, client_secret, secrets, transport, limiter, observer })
        }
        Auth::TokenFederation { .. } | Auth::AzureServicePrincipal { .. } | Auth::AzureWorkloadIdentity { .. } => {
            Box::new(NotYet)
        }
    })
}

/// A kind that is described and not yet served.
struct NotYet;

impl Issuer for NotYet {
    fn issue(&self, _: Deadline) -> BoxFuture<'_, Result<Issued, Error>> {
        let error =
            Error::Credentials(CredentialsError::Invalid("this kind of identity is not offered yet".to_owned()));
        Box::pin(async move { Err(error) })
    }

    fn forget(&self) {}
}

/// A personal access token: the secret is the token.
struct Pat {
    token: SecretKey,
    secrets: KeptSecrets,
}

impl Issuer for Pat {
    fn issue(&self, _: Deadline) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(async move {
            let token = self.secrets.read(&self.token).await.map_err(Error::Credentials)?;
            Ok(Issued { token, lives: Lives::RereadAfter(PAT_REREAD) })
        })
    }

    fn forget(&self) {
        self.secrets.forget();
    }
}

/// OAuth client credentials at the workspace's own token endpoint.
struct OauthM2m {
    client_id: ClientId,
    client_secret: SecretKey,
    secrets: KeptSecrets,
    transport: Arc<Transport>,
    limiter: Arc<Limiter>,
    observer: Arc<dyn Observer>,
}

impl OauthM2m {
    async fn credentials(&self) -> Result<HeaderValue, Error> {
        let secret = self.secrets.read(&self.client_secret).await.map_err(Error::Credentials)?;
        match &self.client_id {
            ClientId::Literal(id) => basic(id, &secret),
            ClientId::Secret(key) => {
                let id = self.secrets.read(key).await.map_err(Error::Credentials)?;
                basic(id.expose_secret(), &secret)
            }
        }
    }
}

impl Issuer for OauthM2m {
    fn issue(&self, deadline: Deadline) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(async move {
            let authorization = self.credentials().await?;
            let request = HttpRequest {
                operation: Operation::Token,
                method: Method::PostForm("grant_type=client_credentials&scope=all-apis".into()),
                path: "/oidc/v1/token".to_owned(),
                query: &[],
                authorization: Some(authorization),
                body_cap: NORMAL_BODY,
                run: None,
            };
            self.limiter.charge();
            let answer = self
                .transport
                .exchange(request, deadline, Some(&*self.limiter), &*self.observer)
                .await
                .map_err(of_token_endpoint)?;
            let answer: TokenAnswer = answer.json()?;
            let lives = answer.expires_in.map_or(UNTOLD_LIFE, |ExpiresIn(seconds)| Duration::from_secs(seconds));
            Ok(Issued { token: SecretString::from(answer.access_token), lives: Lives::For(lives) })
        })
    }

    fn forget(&self) {
        self.secrets.forget();
    }
}

/// The `Authorization` header of RFC 6749, which wants both halves encoded as in a form.
fn basic(id: &str, secret: &SecretString) -> Result<HeaderValue, Error> {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret.expose_secret()));
    let mut header = HeaderValue::try_from(format!("Basic {}", BASE64.encode(pair.as_bytes())))
        .map_err(|_| Error::Credentials(CredentialsError::Invalid("the client secret cannot be sent".to_owned())))?;
    header.set_sensitive(true);
    Ok(header)
}

/// What the API's error classes mean where a token was asked for.
fn of_token_endpoint(error: Error) -> Error {
    match error {
        // RFC 6749 lets a server answer 400 to wrong credentials, and nothing else of this request can be wrong.
        Error::Rejected(api) | Error::NotFound(api) => Error::Unauthenticated(api),
        Error::NoSuchRoute(api) => {
            Error::WrongHost(format!("the host has no token endpoint at /oidc/v1/token (HTTP {})", api.http_status))
        }
        other => other,
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: Option<ExpiresIn>,
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
            [("3600", Some(3600)), ("\"3600\"", Some(3600)), ("\" 60 \"", Some(60)), ("59.9", Some(59))]
        {
            let answer: TokenAnswer =
                serde_json::from_str(&format!("{{\"access_token\":\"t\",\"expires_in\":{text}}}")).unwrap();
            assert_eq!(answer.expires_in.map(|ExpiresIn(seconds)| seconds), seconds, "{text}");
        }
        for text in ["-1", "\"soon\"", "true", "1e300"] {
            let answer = format!("{{\"access_token\":\"t\",\"expires_in\":{text}}}");
            assert!(serde_json::from_str::<TokenAnswer>(&answer).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<TokenAnswer>(r#"{"access_token":"t"}"#).unwrap().expires_in.is_none());
    }

    #[test]
    fn id_and_secret_are_encoded_each_for_itself_and_never_shown() {
        let header = basic("a:b", &SecretString::from("c d/é")).unwrap();
        let expected = format!("Basic {}", BASE64.encode(b"a%3Ab:c+d%2F%C3%A9"));
        assert_eq!(header.to_str().unwrap(), expected);
        assert_eq!(format!("{header:?}"), "Sensitive");
    }
}
