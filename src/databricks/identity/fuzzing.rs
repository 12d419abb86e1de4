//! What of this room fuzzing is about: answers of token endpoints, and texts that lead to one.

use secrecy::SecretString;

use super::claims::Claims;
use super::discovery::{Document, path_on};
use super::entra;
use super::token_answer::TokenAnswer;
use super::token_host::of_token_endpoint;
use super::{UNTOLD_LIFE, issued};
use crate::databricks::error::Error;
use crate::databricks::host::Host;
use crate::databricks::tokens::Lives;
use crate::databricks::transport::Answer;

/// Reads an answer that gives a token: the token, and how long it serves.
pub(in crate::databricks) fn token(answer: &Answer) -> Result<(String, std::time::Duration), Error> {
    let answer = TokenAnswer::read(answer)?;
    let token = answer.access_token.clone();
    match issued(answer, None).lives {
        Lives::For(life) => Ok((token, life)),
        Lives::RereadAfter(_) => Ok((token, UNTOLD_LIFE)),
    }
}

/// The path of the token endpoint that a document names, or why it is not used.
pub(in crate::databricks) fn endpoint(host: &Host, answer: &Answer) -> Result<Result<String, String>, Error> {
    answer.json::<Document>().map(|document| path_on(host, &document.token_endpoint))
}

/// What an assertion says of itself, in the words of a remedy.
pub(in crate::databricks) fn claims(assertion: &str) -> Option<String> {
    Claims::of(&SecretString::from(assertion)).map(|claims| claims.to_string())
}

/// The path of a directory's token endpoint.
pub(in crate::databricks) fn directory(tenant_id: &str) -> Option<String> {
    entra::path(tenant_id).ok()
}

/// What an error means where a token was asked for.
pub(in crate::databricks) fn refused(error: Error) -> Error {
    of_token_endpoint(error, "/oidc/v1/token").before_sending()
}
