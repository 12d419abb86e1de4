//! Where a workspace's credential comes from: five ways, exactly one of them per workspace object. What is named here
//! lives in the object's own namespace; no field can name another one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::admission;
use super::workspace::KeyRef;

/// Where the credential comes from: exactly one way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = admission::AUTH))]
pub struct Auth {
    /// A personal access token. Simple; bound to a person and to its expiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pat: Option<Pat>,
    /// A service principal's OAuth client credentials (machine to machine).
    #[serde(rename = "oauthM2M", skip_serializing_if = "Option::is_none")]
    pub oauth_m2m: Option<OAuthM2M>,
    /// No secret at all: a token of a Kubernetes ServiceAccount is exchanged for one of a Databricks service principal
    /// that has a federation policy for it. The best choice where Databricks can reach the cluster's issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_federation: Option<TokenFederation>,
    /// An application of Microsoft Entra ID with a client secret. For Azure Databricks only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure_service_principal: Option<AzureServicePrincipal>,
    /// No secret at all: a token of a Kubernetes ServiceAccount is exchanged at Microsoft Entra ID for one of an application
    /// or managed identity that has a federated credential for it. For Azure Databricks only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure_workload_identity: Option<AzureWorkloadIdentity>,
}

/// The ways of `spec.auth`, by the names of their fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AuthWay<'a> {
    /// `pat`
    Pat(&'a Pat),
    /// `oauthM2M`
    OAuthM2M(&'a OAuthM2M),
    /// `tokenFederation`
    TokenFederation(&'a TokenFederation),
    /// `azureServicePrincipal`
    AzureServicePrincipal(&'a AzureServicePrincipal),
    /// `azureWorkloadIdentity`
    AzureWorkloadIdentity(&'a AzureWorkloadIdentity),
}

impl AuthWay<'_> {
    /// The name of its field: what stands in `status.authKind` and in the column Auth.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pat(_) => "pat",
            Self::OAuthM2M(_) => "oauthM2M",
            Self::TokenFederation(_) => "tokenFederation",
            Self::AzureServicePrincipal(_) => "azureServicePrincipal",
            Self::AzureWorkloadIdentity(_) => "azureWorkloadIdentity",
        }
    }
}

impl Auth {
    /// The one way that is given; none where admission was bypassed and there are several, or none.
    #[must_use]
    pub fn way(&self) -> Option<AuthWay<'_>> {
        let ways = [
            self.pat.as_ref().map(AuthWay::Pat),
            self.oauth_m2m.as_ref().map(AuthWay::OAuthM2M),
            self.token_federation.as_ref().map(AuthWay::TokenFederation),
            self.azure_service_principal.as_ref().map(AuthWay::AzureServicePrincipal),
            self.azure_workload_identity.as_ref().map(AuthWay::AzureWorkloadIdentity),
        ];
        let mut given = ways.into_iter().flatten();
        given.next().filter(|_| given.next().is_none())
    }
}

/// A personal access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pat {
    /// The Secret that holds the token. Example: `{name: databricks, key: token}`.
    pub secret_ref: KeyRef,
}

/// OAuth client credentials of a service principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = admission::OAUTH_M2M))]
pub struct OAuthM2M {
    /// The service principal's application id. Exactly one of `clientId` and `clientIdSecretRef`.
    /// Example: `3f1e9c2a-0000-4000-8000-1234567890ab`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub client_id: Option<String>,
    /// The Secret that holds the application id. Example: `{name: databricks, key: client-id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id_secret_ref: Option<KeyRef>,
    /// The Secret that holds the OAuth secret. Example: `{name: databricks, key: client-secret}`.
    pub client_secret_ref: KeyRef,
}

/// A ServiceAccount's token, exchanged at the workspace's own token endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = admission::TOKEN_FEDERATION))]
pub struct TokenFederation {
    /// The application id of the service principal whose federation policy names the ServiceAccount.
    /// Example: `3f1e9c2a-0000-4000-8000-1234567890ab`.
    #[schemars(length(min = 1, max = 256))]
    pub client_id: String,
    /// The ServiceAccount whose token is exchanged; the operator must be allowed to create tokens for it (`create` on
    /// `serviceaccounts/token`, for this name). Exactly one of `serviceAccountRef` and `tokenSource`. Example: `{name: runner}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ServiceAccountRef>,
    /// `Operator` exchanges the operator's own projected token (`--operator-token-file`). For a ClusterDatabricksWorkspace
    /// only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_source: Option<TokenSource>,
    /// The audience of the ServiceAccount's token, as the federation policy names it; never the Kubernetes API server's.
    /// Default: the URL of the workspace's token endpoint. Example: `https://adb-1234567890123456.7.azuredatabricks.net/oidc/v1/token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), extend("x-kubernetes-validations" = admission::AUDIENCE))]
    pub audience: Option<String>,
}

/// An application of Microsoft Entra ID and its client secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureServicePrincipal {
    /// The tenant: its id, or one of its domain names. Example: `72f988bf-0000-4000-8000-2d7cd011db47`.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = admission::TENANT_ID))]
    pub tenant_id: String,
    /// The application's (client) id. Example: `3f1e9c2a-0000-4000-8000-1234567890ab`.
    #[schemars(length(min = 1, max = 256))]
    pub client_id: String,
    /// The Secret that holds the application's client secret. Example: `{name: entra, key: client-secret}`.
    pub client_secret_ref: KeyRef,
}

/// A ServiceAccount's token, exchanged at Microsoft Entra ID. Its audience is always `api://AzureADTokenExchange`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = admission::AZURE_WORKLOAD_IDENTITY))]
pub struct AzureWorkloadIdentity {
    /// The tenant: its id, or one of its domain names. Example: `72f988bf-0000-4000-8000-2d7cd011db47`.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = admission::TENANT_ID))]
    pub tenant_id: String,
    /// The client id of the application or managed identity. Example: `3f1e9c2a-0000-4000-8000-1234567890ab`.
    #[schemars(length(min = 1, max = 256))]
    pub client_id: String,
    /// The ServiceAccount whose token is exchanged; the operator must be allowed to create tokens for it (`create` on
    /// `serviceaccounts/token`, for this name). Exactly one of `serviceAccountRef` and `tokenSource`. Example: `{name: runner}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ServiceAccountRef>,
    /// `Operator` exchanges the operator's own projected token (`--operator-token-file`). For a ClusterDatabricksWorkspace
    /// only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_source: Option<TokenSource>,
}

/// A ServiceAccount in the object's namespace; for a `ClusterDatabricksWorkspace`, in the operator's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountRef {
    /// Its name. Example: `runner`.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = admission::OBJECT_NAME))]
    pub name: String,
}

// Plain comments on the variants: a doc comment would turn the schema's `enum` into `oneOf`.
/// Whose token is exchanged, if not a named ServiceAccount's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described at the field, for kubectl explain")]
pub enum TokenSource {
    Operator,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_way_is_told_by_the_name_of_its_field_and_only_when_it_is_the_only_one() {
        let reference = json!({"name": "a", "key": "b"});
        let ways = json!({
            "pat": {"secretRef": reference},
            "oauthM2M": {"clientId": "a", "clientSecretRef": reference},
            "tokenFederation": {"clientId": "a", "serviceAccountRef": {"name": "runner"}},
            "azureServicePrincipal": {"tenantId": "t", "clientId": "a", "clientSecretRef": reference},
            "azureWorkloadIdentity": {"tenantId": "t", "clientId": "a", "tokenSource": "Operator"},
        });
        for (name, way) in ways.as_object().unwrap() {
            let auth: Auth = serde_json::from_value(json!({name: way})).unwrap();
            assert_eq!(auth.way().map(AuthWay::name), Some(name.as_str()));
            assert_eq!(serde_json::to_value(auth).unwrap(), json!({name: way}));
        }
        let all: Auth = serde_json::from_value(ways).unwrap();
        assert_eq!(all.way(), None);
        assert_eq!(Auth::default().way(), None);
    }
}
