//! What a client is made of: one host, one identity, its limits of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::credentials::SecretKey;
use super::host::Host;
use super::network::Network;

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
    /// The login host of Microsoft Entra. `None`: the one of the cloud that the workspace's domain belongs to.
    pub entra_login: Option<Host>,
    /// How the host is reached, and which hosts may be.
    pub network: Network,
    /// Whose the workspace object is, where one may have many: they share what one object alone would have of the host's
    /// rate. `None`: each is one.
    pub tenant: Option<String>,
    /// Requests per second this object has at most; it only ever lowers what it has.
    pub own_rate: Option<f64>,
    /// PEM text of certificate authorities that are trusted besides the system's.
    pub ca_bundle: Option<String>,
    /// How long run-now and runs/submit may take in all: after this time nothing of them is on the way any more.
    pub submit_timeout: Duration,
    /// How long every other operation may take in all.
    pub call_timeout: Duration,
}

impl Settings {
    /// Settings with the default limits of time and the default network (Databricks' own domains); no workspace id and
    /// no private certificate authority.
    #[must_use]
    pub fn new(host: Host, auth: Auth) -> Self {
        Self {
            host,
            workspace_id: None,
            auth,
            entra_login: None,
            network: Network::default(),
            tenant: None,
            own_rate: None,
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
    /// A service principal that trusts tokens of a Kubernetes ServiceAccount (workload identity federation): no secret.
    TokenFederation {
        /// The principal's application id.
        client_id: String,
        /// Whose token is exchanged.
        assertion: AssertionSource,
        /// The audience of that token. `None`: the URL of the workspace's token endpoint.
        audience: Option<String>,
    },
    /// A service principal of Microsoft Entra with a client secret.
    AzureServicePrincipal {
        /// Its directory, as an id or a domain.
        tenant_id: String,
        /// Its application id.
        client_id: String,
        /// Where its secret is.
        client_secret: SecretKey,
    },
    /// A service principal or a managed identity of Microsoft Entra with a federated credential: no secret.
    AzureWorkloadIdentity {
        /// Its directory, as an id or a domain.
        tenant_id: String,
        /// Its application id.
        client_id: String,
        /// Whose token proves it.
        assertion: AssertionSource,
    },
}

/// Whose token proves an identity where no secret does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AssertionSource {
    /// A Kubernetes ServiceAccount of this name. Whose namespace it lives in is the affair of whoever gets the token.
    ServiceAccount(String),
    /// The operator itself.
    Operator,
}

impl fmt::Display for AssertionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAccount(name) => write!(f, "ServiceAccount `{name}`"),
            Self::Operator => f.write_str("the operator's own ServiceAccount"),
        }
    }
}

impl Auth {
    /// The name of the kind for the User-Agent: the SDKs' own, or one in their manner where they have none.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pat { .. } => "pat",
            Self::OauthM2m { .. } => "oauth-m2m",
            Self::TokenFederation { .. } => "kubernetes-oidc",
            Self::AzureServicePrincipal { .. } => "azure-client-secret",
            Self::AzureWorkloadIdentity { .. } => "azure-workload-identity",
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
