//! Tokens of service accounts as issuers outside see them: whose they are, which keys prove them, and new ones for any audience.

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::Value;

use super::Error;

/// What a cluster publishes about the tokens it signs: what a federation policy is made of.
#[derive(Clone, Debug)]
pub struct TokenIssuer {
    /// `iss` of its tokens.
    pub issuer: String,
    /// Its public keys (`/openid/v1/jwks`).
    pub jwks: Value,
}

pub(super) async fn issuer(client: &Client) -> Result<TokenIssuer, Error> {
    let document = get(client, "/.well-known/openid-configuration").await?;
    let issuer = document["issuer"].as_str().unwrap_or_default().to_owned();
    Ok(TokenIssuer { issuer, jwks: get(client, "/openid/v1/jwks").await? })
}

async fn get(client: &Client, path: &str) -> Result<Value, Error> {
    let doing = || format!("read {path}");
    let request = hyper::Request::get(path).body(Vec::new()).map_err(|error| Error::Manifest(error.to_string()))?;
    client.request(request).await.map_err(Error::api(doing()))
}

/// A token for a service account, for one audience or for the API server itself.
pub(super) async fn request(
    client: Client,
    namespace: &str,
    service_account: &str,
    audience: Option<&str>,
    seconds: i64,
) -> Result<String, Error> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace);
    let spec = TokenRequestSpec {
        audiences: audience.map(|audience| vec![audience.to_owned()]),
        expiration_seconds: Some(seconds),
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let answer = accounts.create_token_request(service_account, &PostParams::default(), &request).await;
    let answer =
        answer.map_err(Error::api(format!("get a token for service account {namespace}/{service_account}")))?;
    Ok(answer.status.and_then(|status| status.token).unwrap_or_default())
}
