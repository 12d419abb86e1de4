//! Where a workspace's token endpoint is: as its own document says, else where it always was. Secrets are sent there,
//! so an endpoint anywhere but on the workspace's own host is not used.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use url::{Position, Url};

use super::token_answer::TokenAnswer;
use super::token_host::{Form, TokenHost};
use crate::databricks::client::Deadline;
use crate::databricks::clock::Clock;
use crate::databricks::error::{Error, TransportError};
use crate::databricks::host::Host;

/// The document of RFC 8414.
const DOCUMENT: &str = "/oidc/.well-known/oauth-authorization-server";
/// Where the endpoint is when nobody says anything else.
const FALLBACK: &str = "/oidc/v1/token";
/// How long the document may take: the time for the token itself must be left.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an endpoint that was found is used before the document is read again.
const KEEP_FOUND: Duration = Duration::from_hours(24);
/// The same where the workspace has no document that can be used.
const KEEP_FALLBACK: Duration = Duration::from_hours(1);
/// Bytes of an endpoint's address that are believed.
const LONGEST: usize = 1024;

/// Finds the token endpoint of one workspace, remembers it, and asks there.
pub(super) struct Discovery {
    host: Host,
    workspace: TokenHost,
    clock: Clock,
    known: Mutex<Option<(TokenEndpoint, Duration)>>,
}

/// The token endpoint of a workspace, always on the workspace's own host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenEndpoint {
    path: String,
    /// Why it is not the one that the workspace names.
    instead: Option<String>,
}

impl Discovery {
    pub(super) fn new(host: Host, workspace: TokenHost, clock: Clock) -> Self {
        Self { host, workspace, clock, known: Mutex::default() }
    }

    /// The endpoint. Never fails: what cannot be found out now is where it always was.
    pub(super) async fn token_endpoint(&self, deadline: Deadline) -> TokenEndpoint {
        let now = self.clock.now();
        let known = self.known().as_ref().filter(|(_, until)| now < *until).map(|(endpoint, _)| endpoint.clone());
        if let Some(endpoint) = known {
            return endpoint;
        }
        let found = self.workspace.document(DOCUMENT, deadline.or_after(PATIENCE)).await;
        let found = found.and_then(|answer| answer.json::<Document>());
        let (endpoint, keep) = match found {
            Ok(Document { token_endpoint }) => match path_on(&self.host, &token_endpoint) {
                Ok(path) => (TokenEndpoint { path, instead: None }, Some(KEEP_FOUND)),
                Err(why) => {
                    let why = format!("the token endpoint that the workspace names is not used: {why}");
                    tracing::warn!(host = %self.host, "{why}; {FALLBACK} is used");
                    (TokenEndpoint { instead: Some(why), ..TokenEndpoint::fallback() }, Some(KEEP_FALLBACK))
                }
            },
            Err(error) => {
                tracing::debug!(host = %self.host, reason = error.reason(), "no document; {FALLBACK} is used");
                (TokenEndpoint::fallback(), says_that_there_is_none(&error).then_some(KEEP_FALLBACK))
            }
        };
        if let Some(keep) = keep {
            *self.known() = Some((endpoint.clone(), now.saturating_add(keep)));
        }
        endpoint
    }

    /// The endpoint's address, which is also the audience it expects unless told otherwise.
    pub(super) fn url(&self, endpoint: &TokenEndpoint) -> String {
        format!("{}{}", self.host, endpoint.path)
    }

    /// Asks there for a token. If nobody answers as a token endpoint, the document is read again the next time.
    pub(super) async fn ask(
        &self,
        endpoint: &TokenEndpoint,
        form: &Form,
        deadline: Deadline,
    ) -> Result<TokenAnswer, Error> {
        self.workspace.ask(&endpoint.path, form, deadline).await.map_err(|error| match (error, &endpoint.instead) {
            (Error::WrongHost(why), instead) => {
                *self.known() = None;
                Error::WrongHost(instead.as_ref().map_or_else(|| why.clone(), |instead| format!("{why}; {instead}")))
            }
            (error, _) => error,
        })
    }

    fn known(&self) -> MutexGuard<'_, Option<(TokenEndpoint, Duration)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenEndpoint {
    fn fallback() -> Self {
        Self { path: FALLBACK.to_owned(), instead: None }
    }
}

#[derive(Deserialize)]
pub(super) struct Document {
    pub(super) token_endpoint: String,
}

/// Whether an error means that there is no document, rather than that it could not be had now.
fn says_that_there_is_none(error: &Error) -> bool {
    match error {
        Error::NotFound(_)
        | Error::NoSuchRoute(_)
        | Error::Rejected(_)
        | Error::Unauthenticated(_)
        | Error::Forbidden(_)
        | Error::WrongHost(_)
        | Error::Transport(TransportError::UnreadableAnswer(_)) => true,
        Error::Throttled { .. }
        | Error::QuotaExceeded(_)
        | Error::Unavailable(_)
        | Error::Transport(_)
        | Error::NoToken(_)
        | Error::Credentials(_)
        | Error::HostNotAllowed(_)
        | Error::NotNow(_) => false,
    }
}

/// The path of an endpoint that is on this host, or why it cannot be used. Tells a foreign host's name and no more.
pub(super) fn path_on(host: &Host, endpoint: &str) -> Result<String, String> {
    let no_address = || "it is no address of an endpoint".to_owned();
    if endpoint.len() > LONGEST {
        return Err(no_address());
    }
    let url = Url::parse(endpoint).map_err(|_| no_address())?;
    if url.scheme() != "https" {
        return Err("its address does not begin with https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(no_address());
    }
    let its: Host =
        format!("https://{}", &url[Position::BeforeHost..Position::AfterPort]).parse().map_err(|_| no_address())?;
    if its != *host {
        return Err(format!("it is on another host, {its}"));
    }
    Ok(url.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_believed_on_the_workspaces_own_host_alone() {
        let (dbc, local) = ("https://dbc-1.cloud.databricks.com", "https://127.0.0.1:8443");
        for (host, endpoint, expected) in [
            (dbc, "https://dbc-1.cloud.databricks.com/oidc/v1/token", Ok("/oidc/v1/token")),
            (dbc, "https://DBC-1.cloud.databricks.com.:443/oidc/v2/t%20k", Ok("/oidc/v2/t%20k")),
            (local, "https://127.0.0.1:8443/x/token", Ok("/x/token")),
            (local, "https://127.0.0.1/x/token", Err("another host")),
            (local, "https://127.0.0.1:8444/x/token", Err("another host")),
            (dbc, "https://dbc-2.cloud.databricks.com/oidc/v1/token", Err("another host")),
            (dbc, "https://dbc-1.cloud.databricks.com.evil.example/t", Err("another host")),
            (dbc, "https://dbc-1.cloud.databricks.com@evil.example/t", Err("no address")),
            (dbc, "https://evil.example\\@dbc-1.cloud.databricks.com/t", Err("another host")),
            (dbc, "http://dbc-1.cloud.databricks.com/oidc/v1/token", Err("https://")),
            (dbc, "https://dbc-1.cloud.databricks.com/t?redirect=x", Err("no address")),
            (dbc, "https://dbc-1.cloud.databricks.com/t#x", Err("no address")),
            (dbc, "/oidc/v1/token", Err("no address")),
            (dbc, "file:///etc/passwd", Err("https://")),
            (dbc, "", Err("no address")),
        ] {
            match (path_on(&host.parse().unwrap(), endpoint), expected) {
                (Ok(path), Ok(expected)) => assert_eq!(path, expected, "{endpoint}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{endpoint}: {why}"),
                (got, _) => panic!("{endpoint}: {got:?}"),
            }
        }
        let long = format!("https://dbc-1.cloud.databricks.com/{}", "x".repeat(LONGEST));
        assert!(path_on(&dbc.parse().unwrap(), &long).is_err());
    }
}
