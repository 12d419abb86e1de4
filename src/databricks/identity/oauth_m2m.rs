//! OAuth client credentials at the workspace's own token endpoint: a service principal of Databricks with a secret.

use futures::future::BoxFuture;
use secrecy::ExposeSecret;

use super::discovery::Discovery;
use super::issued;
use super::token_host::Form;
use crate::databricks::client::Deadline;
use crate::databricks::credentials::{KeptSecrets, SecretKey};
use crate::databricks::error::Error;
use crate::databricks::settings::ClientId;
use crate::databricks::tokens::{Issued, Issuer};

pub(super) struct OauthM2m {
    pub(super) client_id: ClientId,
    pub(super) client_secret: SecretKey,
    pub(super) secrets: KeptSecrets,
    pub(super) discovery: Discovery,
}

impl OauthM2m {
    async fn form(&self) -> Result<Form, Error> {
        let form = Form::grant("client_credentials").field("scope", "all-apis");
        let secret = self.secrets.read(&self.client_secret).await.map_err(Error::Credentials)?;
        match &self.client_id {
            ClientId::Literal(id) => form.basic(id, &secret),
            ClientId::Secret(key) => {
                let id = self.secrets.read(key).await.map_err(Error::Credentials)?;
                // Whoever keeps it in a Secret does not want to see it in a status.
                form.basic(id.expose_secret(), &secret).map(|form| form.untold(&id))
            }
        }
    }
}

impl Issuer for OauthM2m {
    fn issue(&self, deadline: Deadline) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(async move {
            let form = self.form().await?;
            let endpoint = self.discovery.token_endpoint(deadline).await;
            let answer = self.discovery.ask(&endpoint, &form, deadline).await?;
            Ok(issued(answer, None))
        })
    }

    fn forget(&self) {
        self.secrets.forget();
    }
}
