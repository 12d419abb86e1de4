//! What can go wrong with a call to Databricks, once for all: every caller decides by these variants and never by
//! text. `classify` (beside this file) turns answers into them by one table.

use std::time::Duration;

use thiserror::Error;

use super::host_policy::NotAllowed;

/// Bytes of an error message that are kept.
pub const MAX_MESSAGE: usize = 1024;

/// The machine-readable half of an error answer and a bounded message. Nothing else of a body is ever kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiError {
    /// HTTP status of the answer; 0 when the client itself refused and nothing was sent.
    pub http_status: u16,
    /// Databricks' `error_code`, if the answer was JSON and had one.
    pub error_code: Option<String>,
    /// The `message` of a JSON error, cut at [`MAX_MESSAGE`] bytes; empty for any other body.
    pub message: String,
    /// Databricks' own id of the request, for a support ticket.
    pub request_id: Option<String>,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.http_status == 0 {
            f.write_str("nothing was sent")?;
        } else {
            write!(f, "HTTP {}", self.http_status)?;
        }
        if let Some(code) = &self.error_code {
            write!(f, " {code}")?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        Ok(())
    }
}

/// A failed call. The variants are what callers decide by; the text is what users read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The run or job does not exist (400 "Run N does not exist" included). Never a missing route.
    #[error("{0}")]
    NotFound(ApiError),
    /// The workspace does not know this route: the wrong API version, or a proxy in between.
    #[error(
        "the workspace does not serve this API route ({0}); check spec.jobsApiVersion and spec.host of the workspace"
    )]
    NoSuchRoute(ApiError),
    /// Databricks read the request and refuses it; repeating it cannot help.
    #[error("{0}")]
    Rejected(ApiError),
    /// The token was not accepted.
    #[error(
        "Databricks does not accept the credentials ({0}); renew the token or the secret in the Secret, or have the \
         principal added to the workspace"
    )]
    Unauthenticated(ApiError),
    /// The identity lacks a right.
    #[error("the identity is not allowed to do this ({0}); grant it in Databricks")]
    Forbidden(ApiError),
    /// Too many requests now (429, or a rate limit dressed as 400).
    #[error("Databricks asks to slow down ({api})")]
    Throttled {
        /// How long Databricks asked to wait, if it said so.
        retry_after: Option<Duration>,
        /// The answer.
        api: ApiError,
    },
    /// Too many runs or jobs: clears in minutes or hours, not in seconds.
    #[error("a quota of the workspace is used up ({0})")]
    QuotaExceeded(ApiError),
    /// Databricks cannot answer now: 5xx, 408, or an answer that makes no sense.
    #[error("Databricks cannot answer now ({0})")]
    Unavailable(ApiError),
    /// The network failed.
    #[error("{0}")]
    Transport(TransportError),
    /// Whoever answered is no Databricks API: HTML or a redirect. (A foreign certificate is a `NotConnected`: nothing
    /// was sent.)
    #[error("{0}; check spec.host of the workspace")]
    WrongHost(String),
    /// The host is not one that credentials may be sent to, or leads to an address that is not: nothing was sent.
    #[error("{0}")]
    HostNotAllowed(NotAllowed),
    /// No token could be had, so the call itself was never sent. Holds what went wrong there where that error alone
    /// would read as "may have been executed", or would not tell who refused and what to check.
    #[error("{0}")]
    NoToken(Box<NoToken>),
    /// The token could not be had because of something in the cluster: a Secret or a key that is not there.
    #[error("{0}")]
    Credentials(CredentialsError),
    /// Our own rate limit: nothing was sent; ask again after this time.
    #[error("held back by the rate limit for {0:?}")]
    NotNow(Duration),
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoToken {
    /// What went wrong, by which callers decide.
    pub cause: Error,
    /// Who was asked, where it was not simply the workspace: "the login host login.microsoftonline.com".
    pub from: Option<String>,
    /// What to check where the request was refused.
    pub remedy: Option<String>,
}

impl std::fmt::Display for NoToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(from) = &self.from else { return write!(f, "no token could be had: {}", self.cause) };
        match &self.cause {
            Error::Unauthenticated(api) | Error::Forbidden(api) | Error::Rejected(api) | Error::NotFound(api) => {
                write!(f, "{from} refuses to give a token ({api})")?;
            }
            Error::Throttled { api, .. } | Error::QuotaExceeded(api) => {
                write!(f, "no token could be had: {from} asks to slow down ({api})")?;
            }
            Error::Unavailable(api) => write!(f, "no token could be had: {from} cannot answer now ({api})")?,
            Error::Transport(TransportError::NotConnected(why)) => {
                write!(f, "no token could be had: no connection to {from}: {why}")?;
            }
            Error::Transport(TransportError::NoAnswer(why)) => {
                write!(f, "no token could be had: no answer from {from}: {why}")?;
            }
            Error::Transport(TransportError::UnreadableAnswer(why)) => {
                write!(f, "no token could be had: the answer of {from} could not be read: {why}")?;
            }
            Error::WrongHost(why) => write!(f, "no token could be had: {from} answers with something else ({why})")?,
            other => write!(f, "no token could be had from {from}: {other}")?,
        }
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// The network between us and Databricks failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransportError {
    /// No connection was made: the request was surely never sent.
    #[error("no connection to the workspace: {0}")]
    NotConnected(String),
    /// The connection broke or the deadline passed: the request may have been executed.
    #[error("no answer from the workspace: {0}")]
    NoAnswer(String),
    /// The answer was longer than the cap or could not be read to its end or as JSON.
    #[error("the workspace's answer could not be read: {0}")]
    UnreadableAnswer(String),
}

/// A credential could not be read from the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CredentialsError {
    /// The Secret (or ConfigMap) or its key is not there, or is empty. The text names it and the remedy.
    #[error("{0}")]
    NotFound(String),
    /// The operator may not read it. The text names the missing right.
    #[error("{0}")]
    NotAllowed(String),
    /// It is there but cannot be used (not UTF-8, forbidden characters).
    #[error("{0}")]
    Invalid(String),
    /// The cluster could not be asked now.
    #[error("{0}")]
    Unavailable(String),
}

/// Whether a failed POST may have had its effect all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executed {
    /// Surely not.
    No,
    /// It may have been.
    Maybe,
}

impl Error {
    /// A stable `PascalCase` name for metrics and logs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "NotFound",
            Self::NoSuchRoute(_) => "NoSuchRoute",
            Self::Rejected(_) => "Rejected",
            Self::Unauthenticated(_) => "Unauthorized",
            Self::Forbidden(_) => "Forbidden",
            Self::Throttled { .. } => "Throttled",
            Self::QuotaExceeded(_) => "QuotaExceeded",
            Self::Unavailable(_) => "Unavailable",
            Self::Transport(_) => "Unreachable",
            Self::WrongHost(_) => "WrongHost",
            Self::HostNotAllowed(_) => "HostNotAllowed",
            Self::NoToken(no) => no.cause.reason(),
            Self::Credentials(CredentialsError::NotFound(_)) => "CredentialsNotFound",
            Self::Credentials(_) => "CredentialsUnusable",
            Self::NotNow(_) => "RateLimited",
        }
    }

    /// The text as it goes into a status: without the id of the request, which differs each time and would be news
    /// each time.
    #[must_use]
    pub fn told(&self) -> String {
        let mut error = self.clone();
        error.forget_request_id();
        error.to_string()
    }

    fn forget_request_id(&mut self) {
        if let Some(api) = self.api_mut() {
            api.request_id = None;
        }
    }

    pub(super) fn api_mut(&mut self) -> Option<&mut ApiError> {
        match self {
            Self::NotFound(api)
            | Self::NoSuchRoute(api)
            | Self::Rejected(api)
            | Self::Unauthenticated(api)
            | Self::Forbidden(api)
            | Self::Throttled { api, .. }
            | Self::QuotaExceeded(api)
            | Self::Unavailable(api) => Some(api),
            Self::NoToken(no) => no.cause.api_mut(),
            Self::Transport(_)
            | Self::WrongHost(_)
            | Self::HostNotAllowed(_)
            | Self::Credentials(_)
            | Self::NotNow(_) => None,
        }
    }

    /// Whether a POST that ended like this may have been executed. A clear rejection ends an intent only when every
    /// earlier send of it answers [`Executed::No`] here.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self {
            Self::NoSuchRoute(_)
            | Self::Unauthenticated(_)
            | Self::Forbidden(_)
            | Self::Rejected(ApiError { http_status: 0, .. })
            | Self::Throttled { api: ApiError { http_status: 429, .. }, .. }
            | Self::QuotaExceeded(ApiError { http_status: 429, .. })
            | Self::Transport(TransportError::NotConnected(_))
            | Self::HostNotAllowed(_)
            | Self::NoToken(_)
            | Self::Credentials(_)
            | Self::NotNow(_) => Executed::No,
            Self::NotFound(_)
            | Self::Rejected(_)
            | Self::Throttled { .. }
            | Self::QuotaExceeded(_)
            | Self::Unavailable(_)
            | Self::Transport(_)
            | Self::WrongHost(_) => Executed::Maybe,
        }
    }
    /// The same error, of a step that comes before the call: whatever happened there, the call was not sent.
    #[must_use]
    pub(super) fn before_sending(self) -> Self {
        match self.executed() {
            Executed::No => self,
            Executed::Maybe => Self::NoToken(Box::new(NoToken { cause: self, from: None, remedy: None })),
        }
    }

    /// The answer behind the error, where there was one.
    #[must_use]
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::NotFound(api)
            | Self::NoSuchRoute(api)
            | Self::Rejected(api)
            | Self::Unauthenticated(api)
            | Self::Forbidden(api)
            | Self::Throttled { api, .. }
            | Self::QuotaExceeded(api)
            | Self::Unavailable(api) => Some(api),
            Self::NoToken(no) => no.cause.api(),
            Self::Transport(_)
            | Self::WrongHost(_)
            | Self::HostNotAllowed(_)
            | Self::Credentials(_)
            | Self::NotNow(_) => None,
        }
    }
}
