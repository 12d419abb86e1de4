//! From a workspace object's spec, what its client is made of. What admission should have refused is refused here again.

use super::readiness::Obstacle;
use super::secrets::Secrets;
use super::subject::WorkspaceKey;
use super::workspaces::Workspaces;
use crate::api::conditions::Reason;
use crate::api::workspace::{DatabricksWorkspaceSpec, KeyRef, WorkspaceKind};
use crate::api::workspace_auth::{self, AuthWay, ServiceAccountRef, TokenSource};
use crate::databricks::credentials::SecretKey;
use crate::databricks::error::Error;
use crate::databricks::host::Host;
use crate::databricks::proxy::ProxyUrl;
use crate::databricks::settings::{AssertionSource, Auth, ClientId, Settings};

impl Workspaces {
    /// The settings of a client.
    pub(super) async fn settings(
        &self,
        key: &WorkspaceKey,
        spec: &DatabricksWorkspaceSpec,
        secrets: &Secrets,
    ) -> Result<Settings, Obstacle> {
        let unusable = |message: String| Obstacle::stands(Reason::SpecUnreadable, message);
        let host: Host = spec.host.parse().map_err(|error| unusable(format!("spec.host: {error}")))?;
        let not_allowed = |error: &dyn std::fmt::Display| Obstacle::stands(Reason::HostNotAllowed, error.to_string());
        self.network.check(&host).map_err(|error| not_allowed(&error))?;
        let mut settings = Settings::new(host, auth(key.kind(), &spec.auth).map_err(unusable)?);
        settings.workspace_id.clone_from(&spec.workspace_id);
        settings.entra_login.clone_from(&self.entra_login);
        settings.network = match &spec.proxy_url {
            Some(proxy) => {
                let proxy: ProxyUrl = proxy.parse().map_err(|error| unusable(format!("spec.proxyUrl: {error}")))?;
                self.network.through(proxy).map_err(|error| not_allowed(&error))?
            }
            None => self.network.clone(),
        };
        // Whoever may write into a namespace may write many objects there.
        settings.tenant = key.namespace().map(str::to_owned);
        settings.own_rate = spec.rate_limit.map(|limit| limit.requests_per_second.into());
        settings.submit_timeout = self.submit_timeout;
        if let Some(bundle) = &spec.ca_bundle {
            let pem = secrets.config_text(&bundle.config_map_ref).await;
            settings.ca_bundle = Some(pem.map_err(|error| Obstacle::of(&Error::Credentials(error)))?);
        }
        Ok(settings)
    }
}

/// How the client proves who it is; else what is wrong with `spec.auth`.
fn auth(kind: WorkspaceKind, auth: &workspace_auth::Auth) -> Result<Auth, String> {
    match auth.way() {
        None => Err("spec.auth must have exactly one of the ways that `kubectl explain` shows".to_owned()),
        Some(AuthWay::Pat(pat)) => Ok(Auth::Pat { token: secret(&pat.secret_ref) }),
        Some(AuthWay::OAuthM2M(oauth)) => {
            let client_id = match (&oauth.client_id, &oauth.client_id_secret_ref) {
                (Some(id), None) => ClientId::Literal(id.clone()),
                (None, Some(reference)) => ClientId::Secret(secret(reference)),
                _ => {
                    return Err("spec.auth.oauthM2M must have exactly one of clientId and clientIdSecretRef".to_owned());
                }
            };
            Ok(Auth::OauthM2m { client_id, client_secret: secret(&oauth.client_secret_ref) })
        }
        Some(AuthWay::TokenFederation(federation)) => Ok(Auth::TokenFederation {
            client_id: federation.client_id.clone(),
            assertion: source(kind, federation.service_account_ref.as_ref(), federation.token_source)?,
            audience: federation.audience.clone(),
        }),
        Some(AuthWay::AzureServicePrincipal(principal)) => Ok(Auth::AzureServicePrincipal {
            tenant_id: principal.tenant_id.clone(),
            client_id: principal.client_id.clone(),
            client_secret: secret(&principal.client_secret_ref),
        }),
        Some(AuthWay::AzureWorkloadIdentity(identity)) => Ok(Auth::AzureWorkloadIdentity {
            tenant_id: identity.tenant_id.clone(),
            client_id: identity.client_id.clone(),
            assertion: source(kind, identity.service_account_ref.as_ref(), identity.token_source)?,
        }),
    }
}

fn secret(reference: &KeyRef) -> SecretKey {
    SecretKey { name: reference.name.clone(), key: reference.key.clone() }
}

/// Whose token is exchanged. The operator's own is lent to no namespace.
fn source(
    kind: WorkspaceKind,
    account: Option<&ServiceAccountRef>,
    token: Option<TokenSource>,
) -> Result<AssertionSource, String> {
    match (account, token, kind) {
        (Some(account), None, _) => Ok(AssertionSource::ServiceAccount(account.name.clone())),
        (None, Some(TokenSource::Operator), WorkspaceKind::ClusterDatabricksWorkspace) => Ok(AssertionSource::Operator),
        (None, Some(TokenSource::Operator), WorkspaceKind::DatabricksWorkspace) => {
            Err("tokenSource: Operator is for a ClusterDatabricksWorkspace only; name a ServiceAccount".to_owned())
        }
        _ => Err("spec.auth must have exactly one of serviceAccountRef and tokenSource".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(kind: WorkspaceKind, spec: Value) -> Result<Auth, String> {
        auth(kind, &serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn the_operator_s_own_token_is_for_workspaces_of_the_cluster_alone() {
        for spec in [
            json!({"tokenFederation": {"clientId": "a", "tokenSource": "Operator"}}),
            json!({"azureWorkloadIdentity": {"tenantId": "t", "clientId": "a", "tokenSource": "Operator"}}),
        ] {
            let refused = read(WorkspaceKind::DatabricksWorkspace, spec.clone()).unwrap_err();
            assert!(refused.contains("ClusterDatabricksWorkspace only"), "{refused}");
            assert!(read(WorkspaceKind::ClusterDatabricksWorkspace, spec).is_ok());
        }
    }

    #[test]
    fn a_credential_that_is_given_twice_or_not_at_all_is_none() {
        let kind = WorkspaceKind::ClusterDatabricksWorkspace;
        let both = json!({"clientId": "a", "tokenSource": "Operator", "serviceAccountRef": {"name": "runner"}});
        for spec in [json!({}), json!({"tokenFederation": both}), json!({"tokenFederation": {"clientId": "a"}})] {
            assert!(read(kind, spec.clone()).is_err(), "{spec}");
        }
    }

    #[test]
    fn a_named_service_account_is_whose_token_is_exchanged() {
        let spec =
            json!({"tokenFederation": {"clientId": "a", "serviceAccountRef": {"name": "runner"}, "audience": "x"}});
        let expected = Auth::TokenFederation {
            client_id: "a".to_owned(),
            assertion: AssertionSource::ServiceAccount("runner".to_owned()),
            audience: Some("x".to_owned()),
        };
        assert_eq!(read(WorkspaceKind::DatabricksWorkspace, spec), Ok(expected));
    }
}
