//! What a client is made of: one host, one identity, its limits of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::credentials::SecretKey;
use super::host::Host;

/// How long one operation may take unless the settings say otherwise, all pages and a retry after a 401 included.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a POST that starts a run may take unless the settings say otherwise. What the SDKs use.
pub const DEFAULT_SUBMIT_TIMEOUT: Duration = Duration::from_mins(1);

/// One workspace as one identity.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the workspace is.
    pub host: Host,
    /// Sent as `X-Databricks-Workspace-Id`: needed where one host serves many workspaces.
    pub workspace_id: Option<String>,
    /// Who asks.
    pub auth: Auth,
    /// PEM text of certificate authorities that are trusted besides the system's.
    pub ca_bundle: Option<String>,
    /// How long run-now and runs/submit may take in all: after this time nothing of them is on the way any more.
    pub submit_timeout: Duration,
    /// How long every other operation may take in all.
    pub call_timeout: Duration,
}

impl Settings {
    /// Settings with the default limits of time, no workspace id and no private certificate authority.
    #[must_use]
    pub fn new(host: Host, auth: Auth) -> Self {
        Self {
            host,
            workspace_id: None,
            auth,
            ca_bundle: None,
            submit_timeout: DEFAULT_SUBMIT_TIMEOUT,
            call_timeout: DEFAULT_CALL_TIMEOUT,
        }
    }
}

/// How a client proves who it is. Holds the names of secrets, never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A personal access token.
    Pat {
        /// Where the token is.
        token: SecretKey,
    },
    /// A service principal with an OAuth secret (client credentials).
    OauthM2m {
        /// The principal's application id.
        client_id: ClientId,
        /// Where its secret is.
        client_secret: SecretKey,
    },
}

impl Auth {
    /// Databricks' own name of the kind, as the SDKs write it into the User-Agent.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pat { .. } => "pat",
            Self::OauthM2m { .. } => "oauth-m2m",
        }
    }
}

/// A client id: written out, since it is no secret, or kept beside its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientId {
    /// The id itself.
    Literal(String),
    /// Where the id is.
    Secret(SecretKey),
}

/// The version in the path of the Jobs API. A parameter of every call: a run keeps the one that was written with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum JobsApiVersion {
    /// `/api/2.1/jobs/…`
    #[default]
    V2_1,
    /// `/api/2.2/jobs/…`
    V2_2,
}

impl JobsApiVersion {
    /// As it stands in the path.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2_1 => "2.1",
            Self::V2_2 => "2.2",
        }
    }
}

impl fmt::Display for JobsApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no version of the Jobs API this client speaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no Jobs API version; write \"2.1\" or \"2.2\"")]
pub struct UnknownJobsApiVersion(pub String);

impl FromStr for JobsApiVersion {
    type Err = UnknownJobsApiVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "2.1" => Ok(Self::V2_1),
            "2.2" => Ok(Self::V2_2),
            other => Err(UnknownJobsApiVersion(other.to_owned())),
        }
    }
}
