//! A personal access token: the secret is the token.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::databricks::client::Deadline;
use crate::databricks::credentials::{KeptSecrets, SecretKey};
use crate::databricks::error::Error;
use crate::databricks::tokens::{Issued, Issuer, Lives};

/// How long a personal access token is used before its Secret is read again. A rotated one is needed at once only when
/// the old one is refused, and then it is read at once; until then this spares the cluster a reading per call.
const PAT_REREAD: Duration = Duration::from_secs(30);

pub(super) struct Pat {
    pub(super) token: SecretKey,
    pub(super) secrets: KeptSecrets,
}

impl Issuer for Pat {
    fn issue(&self, _: Deadline) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(async move {
            let token = self.secrets.read(&self.token).await.map_err(Error::Credentials)?;
            Ok(Issued { token, lives: Lives::RereadAfter(PAT_REREAD) })
        })
    }

    fn forget(&self) {
        self.secrets.forget();
    }
}
