//! Asking for a token: the form, the one exchange, and what a refusal means there.

use std::sync::Arc;

use data_encoding::BASE64;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::{Serializer, byte_serialize};

use super::token_answer::{TOKEN_BODY, TokenAnswer};
use crate::databricks::client::Deadline;
use crate::databricks::error::{CredentialsError, Error};
use crate::databricks::limiters::Limiter;
use crate::databricks::observer::{Observer, Operation};
use crate::databricks::transport::{Answer, HttpRequest, Method, Transport};

/// A host that gives tokens: the workspace, whose limiter counts and learns, or a login host, which has none.
pub(super) struct TokenHost {
    transport: Arc<Transport>,
    limiter: Option<Arc<Limiter>>,
    observer: Arc<dyn Observer>,
}

impl TokenHost {
    pub(super) fn workspace(transport: Arc<Transport>, limiter: Arc<Limiter>, observer: Arc<dyn Observer>) -> Self {
        Self { transport, limiter: Some(limiter), observer }
    }

    pub(super) fn login(transport: Transport, observer: Arc<dyn Observer>) -> Self {
        Self { transport: Arc::new(transport), limiter: None, observer }
    }

    /// Asks for a token.
    pub(super) async fn ask(&self, path: &str, form: &Form, deadline: Deadline) -> Result<TokenAnswer, Error> {
        let request = HttpRequest {
            authorization: form.authorization.clone(),
            form_secrets: &form.secrets,
            ..plain(Operation::Token, Method::PostForm(form.encoded()), path)
        };
        let answer = self.send(request, deadline).await.map_err(|error| of_token_endpoint(error, path))?;
        TokenAnswer::read(&answer)
    }

    /// Reads a document that everybody may read.
    pub(super) async fn document(&self, path: &str, deadline: Deadline) -> Result<Answer, Error> {
        self.send(plain(Operation::Discovery, Method::Get, path), deadline).await
    }

    async fn send(&self, request: HttpRequest<'_>, deadline: Deadline) -> Result<Answer, Error> {
        if let Some(limiter) = &self.limiter {
            limiter.charge();
        }
        self.transport.exchange(request, deadline, self.limiter.as_deref(), &*self.observer).await
    }
}

fn plain(operation: Operation, method: Method, path: &str) -> HttpRequest<'static> {
    HttpRequest {
        operation,
        method,
        path: path.to_owned(),
        query: &[],
        authorization: None,
        form_secrets: &[],
        body_cap: TOKEN_BODY,
        run: None,
    }
}

/// What the API's error classes mean where a token was asked for.
pub(super) fn of_token_endpoint(error: Error, path: &str) -> Error {
    match error {
        // RFC 6749 lets a server answer 400 to wrong credentials, and nothing else of these requests can be wrong.
        Error::Rejected(api) | Error::NotFound(api) => Error::Unauthenticated(api),
        Error::NoSuchRoute(api) => {
            Error::WrongHost(format!("the host has no token endpoint at {path} (HTTP {})", api.http_status))
        }
        other => other,
    }
}

/// A request for a token, and a memory of the secrets in it.
pub(super) struct Form {
    fields: Vec<(&'static str, SecretString)>,
    authorization: Option<HeaderValue>,
    secrets: Vec<SecretString>,
}

impl Form {
    pub(super) fn grant(grant_type: &str) -> Self {
        Self { fields: Vec::new(), authorization: None, secrets: Vec::new() }.field("grant_type", grant_type)
    }

    pub(super) fn field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    pub(super) fn secret(mut self, name: &'static str, value: &SecretString) -> Self {
        self.fields.push((name, value.clone()));
        self.secrets.push(value.clone());
        self
    }

    /// The `Authorization` header of RFC 6749, which wants both halves encoded as in a form.
    pub(super) fn basic(mut self, id: &str, secret: &SecretString) -> Result<Self, Error> {
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = BASE64.encode(format!("{}:{}", encode(id), encode(secret.expose_secret())).as_bytes());
        let mut header = HeaderValue::try_from(format!("Basic {pair}")).map_err(|_| {
            Error::Credentials(CredentialsError::Invalid("the client secret cannot be sent".to_owned()))
        })?;
        header.set_sensitive(true);
        self.authorization = Some(header);
        self.secrets.push(secret.clone());
        Ok(self)
    }

    /// Has this cut out of errors, too.
    pub(super) fn untold(mut self, what: &SecretString) -> Self {
        self.secrets.push(what.clone());
        self
    }

    fn encoded(&self) -> SecretString {
        let mut form = Serializer::new(String::new());
        for (name, value) in &self.fields {
            form.append_pair(name, value.expose_secret());
        }
        form.finish().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_and_secret_are_encoded_each_for_itself_and_never_shown() {
        let form = Form::grant("client_credentials").basic("a:b", &SecretString::from("c d/é")).ok().unwrap();
        let header = form.authorization.unwrap();
        let expected = format!("Basic {}", BASE64.encode(b"a%3Ab:c+d%2F%C3%A9"));
        assert_eq!(header.to_str().unwrap(), expected);
        assert_eq!(format!("{header:?}"), "Sensitive");
    }

    #[test]
    fn a_form_is_encoded_as_a_form() {
        let form = Form::grant("urn:x").field("scope", "a b").secret("client_secret", &"c+d&e=é".into());
        let expected = "grant_type=urn%3Ax&scope=a+b&client_secret=c%2Bd%26e%3D%C3%A9";
        assert_eq!(form.encoded().expose_secret(), expected);
    }
}
