//! Kubeconfigs: the administrator's, written whole so that it can be copied anywhere, and those of service accounts, with a token
//! that the API server gives out.

use std::path::Path;

use data_encoding::BASE64;
use kube::{
    Client,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};

use super::{certificates::Certificates, error::Error, tokens};

/// How long a service account's token is good for: longer than any test.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// The kubeconfig of a person who may do everything.
pub(super) fn of_administrator(url: &str, certificates: &Certificates) -> String {
    let [authority, certificate, key] =
        [&certificates.authority, &certificates.admin_certificate, &certificates.admin_key]
            .map(|pem| BASE64.encode(pem.as_bytes()));
    format!(
        "apiVersion: v1
kind: Config
clusters:
  - name: control-plane
    cluster:
      server: {url}
      certificate-authority-data: {authority}
users:
  - name: admin
    user:
      client-certificate-data: {certificate}
      client-key-data: {key}
contexts:
  - name: control-plane
    context: {{ cluster: control-plane, user: admin, namespace: default }}
current-context: control-plane
"
    )
}

/// A client for what a kubeconfig file says.
pub(super) async fn client(path: &Path) -> Result<Client, Error> {
    client_of(read(path)?, path).await
}

/// A client for a kubeconfig; `path` is where it comes from.
pub(super) async fn client_of(kubeconfig: Kubeconfig, path: &Path) -> Result<Client, Error> {
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let config = config.map_err(|source| Error::Kubeconfig { path: path.to_owned(), source })?;
    Client::try_from(config).map_err(Error::api(format!("use kubeconfig {}", path.display())))
}

/// The kubeconfig with the administrator replaced by a service account.
pub(super) async fn of_service_account(path: &Path, namespace: &str, name: &str) -> Result<Kubeconfig, Error> {
    let token = tokens::request(client(path).await?, namespace, name, None, TOKEN_SECONDS).await?;
    let mut kubeconfig = read(path)?;
    for user in &mut kubeconfig.auth_infos {
        user.auth_info = Some(AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() });
    }
    Ok(kubeconfig)
}

fn read(path: &Path) -> Result<Kubeconfig, Error> {
    Kubeconfig::read_from(path).map_err(|source| Error::Kubeconfig { path: path.to_owned(), source })
}
