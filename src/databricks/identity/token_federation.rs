//! Workload identity federation: a token of a Kubernetes ServiceAccount is exchanged for one of a service principal at
//! the workspace's token endpoint (RFC 8693). No secret is stored anywhere.
//!
//! `client_id` is always sent: without it Databricks looks for a policy of the whole account, and Kubernetes' tokens
//! have no claims that one could be written for.

use futures::future::BoxFuture;

use super::claims::Claims;
use super::discovery::Discovery;
use super::issued;
use super::token_host::Form;
use crate::databricks::client::Deadline;
use crate::databricks::credentials::{Assertion, AssertionRequest, KeptSecrets};
use crate::databricks::error::{Error, NoToken};
use crate::databricks::settings::AssertionSource;
use crate::databricks::tokens::{Issued, Issuer};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const SUBJECT_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";

pub(super) struct TokenFederation {
    pub(super) client_id: String,
    pub(super) source: AssertionSource,
    pub(super) audience: Option<String>,
    pub(super) secrets: KeptSecrets,
    pub(super) discovery: Discovery,
}

impl TokenFederation {
    /// What to check when the exchange is refused: what the assertion says, word for word as the policy must say it.
    fn refused(&self, error: Error, assertion: &Assertion, audience: &str) -> Error {
        if !matches!(error, Error::Unauthenticated(_)) {
            return error;
        }
        let says = Claims::of(&assertion.token).map_or_else(
            || format!("the cluster's issuer, the subject of {} and audience `{audience}`", self.source),
            |claims| claims.to_string(),
        );
        let remedy = format!(
            "check that clientId `{}` is the application id of a service principal that has a federation policy for \
             {says}, with the cluster's keys in it where Databricks cannot read them from the issuer",
            self.client_id
        );
        let from = Some("the workspace's token endpoint".to_owned());
        Error::NoToken(Box::new(NoToken { cause: error, from, remedy: Some(remedy) }))
    }
}

impl Issuer for TokenFederation {
    fn issue(&self, deadline: Deadline) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(async move {
            let endpoint = self.discovery.token_endpoint(deadline).await;
            let audience = self.audience.clone().unwrap_or_else(|| self.discovery.url(&endpoint));
            let wanted = AssertionRequest { source: self.source.clone(), audience };
            let assertion = self.secrets.assertion(&wanted).await.map_err(Error::Credentials)?;
            let form = Form::grant(GRANT)
                .secret("subject_token", &assertion.token)
                .field("subject_token_type", SUBJECT_TOKEN_TYPE)
                .field("scope", "all-apis")
                .field("client_id", &self.client_id);
            let answer = self.discovery.ask(&endpoint, &form, deadline).await;
            let answer = answer.map_err(|error| self.refused(error, &assertion, &wanted.audience))?;
            Ok(issued(answer, Some(&assertion)))
        })
    }

    fn forget(&self) {
        self.secrets.forget();
    }
}
