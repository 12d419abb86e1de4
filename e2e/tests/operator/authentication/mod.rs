//! Every way to prove an identity, end to end: a real API server signs the tokens of service accounts, the fake workspace and
//! the fake login host verify them, and the operator has nothing but what a workspace object says.
//!
//! `docs/authentication.md` says of each reason what it means and what to do; the tests here find those words in `Ready`.

mod document;
mod each_kind;
mod own_token;
mod refusals;
mod renewal;

use std::sync::Arc;

use databricks_run_operator::api::workspace::WorkspaceObject;
use e2e::cluster::TokenIssuer;
use e2e::stage::{Operator, Stage};
use e2e::wait::wait_for;
use e2e::workspace::{FederationPolicy, LoginHost, Options, TOKEN_EXCHANGE_AUDIENCE};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::run_now;

const TENANT: &str = "6f9a1f3e-2222-4c4c-8d8d-9e0f1a2b3c4d";

/// What a Secret holds, and what it should not.
const RIGHT: &str = "s3cret-that-is-right";
const WRONG: &str = "s3cret-that-is-wrong";

/// How fast the fake's runs go where a test has nothing to say of it.
const SPEED: u32 = 5;

/// A way to prove an identity. Each has a workspace object, a principal and, as it needs, a Secret or a ServiceAccount of its
/// own, all named after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pat,
    OAuthM2M,
    TokenFederation,
    AzureServicePrincipal,
    AzureWorkloadIdentity,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Pat, Self::OAuthM2M, Self::TokenFederation, Self::AzureServicePrincipal, Self::AzureWorkloadIdentity];

    /// As the field of `spec.auth` is called.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Pat => "pat",
            Self::OAuthM2M => "oauthM2M",
            Self::TokenFederation => "tokenFederation",
            Self::AzureServicePrincipal => "azureServicePrincipal",
            Self::AzureWorkloadIdentity => "azureWorkloadIdentity",
        }
    }

    /// As its objects are called.
    pub(crate) fn name(self) -> String {
        self.field().to_lowercase()
    }

    /// Whom the workspace takes it for.
    pub(crate) fn principal(self) -> String {
        format!("principal-of-{}", self.name())
    }

    /// Whether a token of a ServiceAccount stands in place of a secret.
    pub(crate) fn is_federated(self) -> bool {
        matches!(self, Self::TokenFederation | Self::AzureWorkloadIdentity)
    }
}

/// A workspace, a login host beside it, a cluster whose tokens both can prove, and an operator that trusts all three.
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) login: LoginHost,
    issuer: Arc<TokenIssuer>,
    /// The secret of those identities that have one.
    right: String,
}

impl World {
    async fn set(prefix: &str) -> Self {
        Self::with(prefix, Options::default().speed(SPEED)).await
    }

    async fn with(prefix: &str, options: Options) -> Self {
        Self::on(Stage::bare_with(prefix, options).await, RIGHT).await
    }

    /// On a stage without any object in it.
    pub(crate) async fn on(stage: Stage, right: &str) -> Self {
        let login = LoginHost::start(&stage.databricks.control()).unwrap();
        let issuer = Arc::new(stage.cluster.token_issuer().await.unwrap());
        let mut authorities = stage.authority();
        authorities["data"]["ca.crt"] = json!(format!("{}{}", stage.databricks.ca_pem(), login.ca_pem()));
        stage.apply(&authorities).await;
        Self { stage, login, issuer, right: right.to_owned() }
    }

    async fn operator(&self) -> Operator {
        let login = self.login.host().parse().unwrap();
        self.stage.operator_with(|options| options.entra_login_host = Some(login)).await
    }

    /// What is done in Databricks and in Microsoft Entra for one of the ways, and what is needed in the cluster for it.
    pub(crate) async fn grant(&self, kind: Kind) {
        self.trust(kind);
        if kind.is_federated() {
            self.create_service_account(kind).await;
            self.stage.grant_tokens_of(&kind.name()).await;
        } else {
            self.write_secret(kind, &self.right).await;
        }
    }

    /// The secret of those identities that have one.
    pub(crate) fn secret(&self) -> &str {
        &self.right
    }

    /// What is done in Databricks and in Microsoft Entra.
    pub(crate) fn trust(&self, kind: Kind) {
        let principal = kind.principal();
        match kind {
            Kind::Pat => self.stage.databricks.accept_token(&self.right, &principal, None),
            Kind::OAuthM2M => self.stage.databricks.accept_client(&principal, &self.right),
            Kind::AzureServicePrincipal => self.login.accept_secret(TENANT, &principal, &self.right),
            Kind::TokenFederation => {
                let policy = self.policy(kind, &format!("{}/oidc/v1/token", self.stage.databricks.host()));
                self.stage.databricks.federate(&principal, policy);
            }
            Kind::AzureWorkloadIdentity => {
                self.login.federate(TENANT, &principal, self.policy(kind, TOKEN_EXCHANGE_AUDIENCE));
            }
        }
    }

    /// Takes back what [`Self::trust`] did for a federated identity.
    pub(crate) fn distrust(&self, kind: Kind) {
        match kind {
            Kind::TokenFederation => self.stage.databricks.unfederate(&kind.principal()),
            Kind::AzureWorkloadIdentity => self.login.unfederate(TENANT, &kind.principal()),
            Kind::Pat | Kind::OAuthM2M | Kind::AzureServicePrincipal => {}
        }
    }

    /// The policy for the ServiceAccount of one of the ways.
    fn policy(&self, kind: Kind, audience: &str) -> FederationPolicy {
        FederationPolicy {
            issuer: self.issuer.issuer.clone(),
            audiences: vec![audience.to_owned()],
            subject: format!("system:serviceaccount:{}:{}", &*self.stage.namespace, kind.name()),
            keys: serde_json::from_value(self.issuer.jwks.clone()).unwrap(),
        }
    }

    pub(crate) async fn write_secret(&self, kind: Kind, value: &str) {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": kind.name()},
            "stringData": {"value": value}});
        self.stage.apply(&secret).await;
    }

    pub(crate) async fn create_service_account(&self, kind: Kind) {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": kind.name()}});
        self.stage.apply(&account).await;
    }

    async fn delete_service_account(&self, kind: Kind) {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.stage.client.clone(), &self.stage.namespace);
        accounts.delete(&kind.name(), &DeleteParams::default()).await.unwrap();
    }

    /// The workspace object of one of the ways.
    pub(crate) fn workspace(&self, kind: Kind) -> Value {
        let (name, client_id) = (kind.name(), kind.principal());
        let secret = json!({"name": name, "key": "value"});
        let account = json!({"name": name});
        let auth = match kind {
            Kind::Pat => json!({"secretRef": secret}),
            Kind::OAuthM2M => json!({"clientId": client_id, "clientSecretRef": secret}),
            Kind::TokenFederation => json!({"clientId": client_id, "serviceAccountRef": account}),
            Kind::AzureServicePrincipal => {
                json!({"tenantId": TENANT, "clientId": client_id, "clientSecretRef": secret})
            }
            Kind::AzureWorkloadIdentity => {
                json!({"tenantId": TENANT, "clientId": client_id, "serviceAccountRef": account})
            }
        };
        let mut object = self.stage.workspace_object();
        object["metadata"]["name"] = json!(name);
        object["spec"]["auth"] = json!({kind.field(): auth});
        object
    }

    pub(crate) async fn connect(&self, kind: Kind) {
        self.stage.apply(&self.workspace(kind)).await;
    }

    /// Asks for a run of this job by one of the ways; the object is named after it.
    async fn ask(&self, kind: Kind, job: i64) -> String {
        let name = format!("by-{}", kind.name());
        let mut run = self.stage.run(&name, run_now(job));
        run["spec"]["workspaceRef"]["name"] = json!(kind.name());
        self.stage.apply(&run).await;
        name
    }

    /// Waits until `Ready` of a workspace object is as given.
    pub(crate) async fn until(&self, kind: Kind, status: &str, reason: &str) -> WorkspaceObject {
        let holds = |object: &WorkspaceObject| {
            let ready = ready(object);
            ready.0 == status && ready.1 == reason
        };
        let what = format!("Ready={status} because of {reason}");
        wait_for(&self.stage.workspaces(), &kind.name(), &what, holds).await
    }
}

/// Status, reason and message of `Ready`; empty where there is none yet.
fn ready(object: &WorkspaceObject) -> (String, String, String) {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    ready.map(|ready| (ready.status.clone(), ready.reason.clone(), ready.message.clone())).unwrap_or_default()
}
