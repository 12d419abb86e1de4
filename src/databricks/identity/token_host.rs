//! Asking for a token: the form, the one exchange, and the refusal, from which everything that was sent is cut out:
//! some servers repeat what they do not like.

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
        let method = Method::PostForm(form.encoded());
        let answer = self.send(Operation::Token, method, path, form.authorization.clone(), deadline).await;
        let answer = answer.map_err(|error| of_token_endpoint(form.cut_out_of(error), path))?;
        TokenAnswer::read(&answer)
    }

    /// Reads a document that everybody may read.
    pub(super) async fn document(&self, path: &str, deadline: Deadline) -> Result<Answer, Error> {
        self.send(Operation::Discovery, Method::Get, path, None, deadline).await
    }

    async fn send(
        &self,
        operation: Operation,
        method: Method,
        path: &str,
        authorization: Option<HeaderValue>,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let path = path.to_owned();
        let request =
            HttpRequest { operation, method, path, query: &[], authorization, body_cap: TOKEN_BODY, run: None };
        if let Some(limiter) = &self.limiter {
            limiter.charge();
        }
        self.transport.exchange(request, deadline, self.limiter.as_deref(), &*self.observer).await
    }
}

/// What the API's error classes mean where a token was asked for.
fn of_token_endpoint(error: Error, path: &str) -> Error {
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
        self.secrets.extend([secret.clone(), pair.into()]);
        Ok(self)
    }

    fn encoded(&self) -> SecretString {
        let mut form = Serializer::new(String::new());
        for (name, value) in &self.fields {
            form.append_pair(name, value.expose_secret());
        }
        form.finish().into()
    }

    /// The same error without any piece of the secrets.
    fn cut_out_of(&self, mut error: Error) -> Error {
        if let Some(api) = error.api_mut() {
            for secret in &self.secrets {
                let encoded = byte_serialize(secret.expose_secret().as_bytes()).collect::<String>();
                for secret in [secret.expose_secret(), &encoded] {
                    api.message = without(&api.message, secret);
                    for word in [&mut api.error_code, &mut api.request_id] {
                        *word = word.take().filter(|word| without(word, secret) == *word);
                    }
                }
            }
        }
        error
    }
}

/// A text without the secret and without every piece of it that is long enough to matter: a message may be cut in the
/// middle of one.
fn without(text: &str, secret: &str) -> String {
    const PIECE: usize = 8;
    let piece = secret.len().min(PIECE);
    let bytes = text.as_bytes();
    let mut hidden = vec![false; bytes.len()];
    if piece > 0 {
        for (at, window) in bytes.windows(piece).enumerate() {
            if secret.as_bytes().windows(piece).any(|part| part == window) {
                hidden[at..at + piece].fill(true);
            }
        }
    }
    let mut clean = String::new();
    let mut hiding = false;
    for (at, c) in text.char_indices() {
        if !hidden[at] {
            clean.push(c);
        } else if !hiding {
            clean.push('…');
        }
        hiding = hidden[at];
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::databricks::error::ApiError;

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

    #[test]
    fn no_piece_of_a_secret_is_left_in_a_refusal() {
        let secret = SecretString::from("S3cr~t/with+marks=and.more");
        let form = Form::grant("g").secret("client_secret", &secret).basic("id", &secret).ok().unwrap();
        let header = form.authorization.as_ref().unwrap().to_str().unwrap().to_owned();
        let encoded = form.encoded().expose_secret().to_owned();
        for message in [
            format!("bad secret {} given", secret.expose_secret()),
            format!("cut off: {}", &secret.expose_secret()[..12]),
            format!("the end of it: {}", &secret.expose_secret()[10..]),
            format!("refused: {header}"),
            format!("refused: {encoded}"),
        ] {
            let code = Some(secret.expose_secret().to_owned());
            let api = ApiError { message: message.clone(), error_code: code, ..ApiError::default() };
            let told = form.cut_out_of(Error::Unauthenticated(api)).to_string();
            for piece in ["S3cr", "with", "marks", "and.more", &header[8..20]] {
                assert!(!told.contains(piece), "{message} → {told}");
            }
        }
        let api = ApiError { message: "Client authentication failed".to_owned(), ..ApiError::default() };
        let told = form.cut_out_of(Error::Unauthenticated(api)).to_string();
        assert!(told.contains("Client authentication failed"), "{told}");
    }
}
