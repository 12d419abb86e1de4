//! Microsoft Entra: a service principal or a managed identity of Azure, which proves itself to the login host of its
//! cloud with a secret or with a token of a Kubernetes ServiceAccount, and gets a token that Azure Databricks takes.
//!
//! The login host is not the workspace: it learns no workspace id, and its trouble is told as its own.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::claims::Claims;
use super::issued;
use super::token_host::{Form, TokenHost};
use crate::databricks::client::{Deadline, InvalidSettings};
use crate::databricks::credentials::{Assertion, AssertionRequest, KeptSecrets, SecretKey};
use crate::databricks::error::{ApiError, Error, NoToken};
use crate::databricks::host::Host;
use crate::databricks::observer::Observer;
use crate::databricks::settings::{AssertionSource, Settings};
use crate::databricks::tokens::{Issued, Issuer};
use crate::databricks::transport::Transport;

/// Azure Databricks, in every cloud.
const SCOPE: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The one audience that Entra takes assertions for.
const AUDIENCE: &str = "api://AzureADTokenExchange";
/// The login hosts of the national clouds, by the domain of their workspaces. All others belong to the public cloud.
const NATIONAL: [(&str, &str); 2] =
    [(".databricks.azure.us", "login.microsoftonline.us"), (".databricks.azure.cn", "login.chinacloudapi.cn")];
const PUBLIC: &str = "login.microsoftonline.com";

/// What proves the identity.
pub(super) enum Proof {
    Secret(SecretKey),
    Assertion(AssertionSource),
}

pub(super) struct Entra {
    login: TokenHost,
    /// "the login host …".
    from: String,
    path: String,
    client_id: String,
    proof: Proof,
    secrets: KeptSecrets,
}

impl Entra {
    pub(super) fn new(
        settings: &Settings,
        tenant_id: &str,
        client_id: String,
        proof: Proof,
        secrets: KeptSecrets,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, InvalidSettings> {
        // The clouds' own are known; one that was set is held against the list as every host is.
        if let Some(host) = &settings.entra_login {
            settings.network.check(host)?;
        }
        if let Some(named) = &settings.entra_login {
            settings.network.check(named)?;
        }
        let host = login_host(settings);
        let from = format!("the login host {}", host.name());
        let login = TokenHost::login(Transport::new(settings, host, None)?, observer);
        Ok(Self { login, from, path: path(tenant_id)?, client_id, proof, secrets })
    }

    /// The form and, where it holds one, the assertion.
    async fn form(&self) -> Result<(Form, Option<Assertion>), Error> {
        let form = Form::grant("client_credentials").field("client_id", &self.client_id).field("scope", SCOPE);
        match &self.proof {
            Proof::Secret(key) => {
                let secret = self.secrets.read(key).await.map_err(Error::Credentials)?;
                Ok((form.secret("client_secret", &secret), None))
            }
            Proof::Assertion(source) => {
                let wanted = AssertionRequest { source: source.clone(), audience: AUDIENCE.to_owned() };
                let assertion = self.secrets.assertion(&wanted).await.map_err(Error::Credentials)?;
                let form =
                    form.field("client_assertion_type", ASSERTION_TYPE).secret("client_assertion", &assertion.token);
                Ok((form, Some(assertion)))
            }
        }
    }

    fn failed(&self, error: Error, assertion: Option<&Assertion>) -> Error {
        let remedy = match &error {
            Error::Unauthenticated(api) => Some(self.remedy(api, assertion)),
            Error::WrongHost(_) => Some("check --entra-login-host and the proxy of the operator".to_owned()),
            _ => None,
        };
        Error::NoToken(Box::new(NoToken { cause: error, from: Some(self.from.clone()), remedy }))
    }

    /// What to check, by Entra's own number of the error.
    fn remedy(&self, api: &ApiError, assertion: Option<&Assertion>) -> String {
        let client_id = &self.client_id;
        match aadsts(&api.message) {
            Some(7_000_215) => "write the value of a client secret of the application, not the secret's id, into the \
                                Secret"
                .to_owned(),
            Some(7_000_222) => "the client secret has expired: make a new one in Microsoft Entra and write its value \
                                into the Secret"
                .to_owned(),
            Some(700_016 | 7_000_229) => {
                format!("check that tenantId is the directory in which clientId `{client_id}` has a service principal")
            }
            Some(90_002 | 900_021 | 900_023) => {
                "check tenantId, and that this login host is the one of the directory's cloud".to_owned()
            }
            Some(7_000_112) => format!("the application `{client_id}` is disabled: enable it in Microsoft Entra"),
            Some(53_003) => "a Conditional Access policy blocks it: let it admit this workload identity".to_owned(),
            Some(700_024) => "check the clocks of the cluster: the assertion is not valid now".to_owned(),
            Some(500_011 | 650_052) => {
                "the directory does not know Azure Databricks: create a workspace in it, or check tenantId".to_owned()
            }
            _ => match assertion {
                None => format!("check tenantId, clientId `{client_id}` and the client secret in the Secret"),
                Some(assertion) => {
                    let says = Claims::of(&assertion.token).map_or_else(
                        || format!("the cluster's issuer, the ServiceAccount's subject and audience `{AUDIENCE}`"),
                        |claims| claims.to_string(),
                    );
                    format!(
                        "check tenantId and that clientId `{client_id}` is the application id of an application or \
                         managed identity that has a federated credential for {says}"
                    )
                }
            },
        }
    }
}

impl Issuer for Entra {
    fn issue(&self, deadline: Deadline) -> BoxFuture<'_, Result<Issued, Error>> {
        Box::pin(async move {
            let (form, assertion) = self.form().await?;
            let answer = self.login.ask(&self.path, &form, deadline).await;
            let answer = answer.map_err(|error| self.failed(error, assertion.as_ref()))?;
            Ok(issued(answer, assertion.as_ref()))
        })
    }

    fn forget(&self) {
        self.secrets.forget();
    }
}

/// The login host of the workspace's cloud, unless the administrator names one.
fn login_host(settings: &Settings) -> Host {
    settings.entra_login.clone().unwrap_or_else(|| {
        let national = NATIONAL.iter().find(|(domain, _)| settings.host.name().ends_with(domain));
        Host::known(national.map_or(PUBLIC, |(_, login)| login))
    })
}

/// The v2 token endpoint of a directory. Its id comes from whoever writes the workspace object: it must be one piece of
/// a path.
pub(super) fn path(tenant_id: &str) -> Result<String, InvalidSettings> {
    let plain = tenant_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    let starts_well = tenant_id.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !plain || !starts_well || tenant_id.len() > 253 {
        return Err(InvalidSettings::TenantId(tenant_id.chars().take(64).collect()));
    }
    Ok(format!("/{tenant_id}/oauth2/v2.0/token"))
}

/// The number in `AADSTS7000215: …`.
fn aadsts(message: &str) -> Option<u32> {
    let digits = message.strip_prefix("AADSTS")?.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::databricks::settings::Auth;

    fn settings(host: &str) -> Settings {
        let auth = Auth::AzureWorkloadIdentity {
            tenant_id: "t".to_owned(),
            client_id: "c".to_owned(),
            assertion: AssertionSource::Operator,
        };
        Settings::new(host.parse().unwrap(), auth)
    }

    #[test]
    fn the_login_host_is_that_of_the_workspaces_cloud_unless_one_is_named() {
        for (workspace, login) in [
            ("https://adb-1.2.azuredatabricks.net", "https://login.microsoftonline.com"),
            ("https://adb-1.2.databricks.azure.us", "https://login.microsoftonline.us"),
            ("https://adb-1.2.databricks.azure.cn", "https://login.chinacloudapi.cn"),
            ("https://databricks.corp.example", "https://login.microsoftonline.com"),
            ("https://evil-databricks.azure.us.example", "https://login.microsoftonline.com"),
            ("https://evildatabricks.azure.us", "https://login.microsoftonline.com"),
        ] {
            assert_eq!(login_host(&settings(workspace)).to_string(), login, "{workspace}");
            assert_eq!(login_host(&settings(workspace)), login.parse().unwrap());
        }
        let named: Host = "https://127.0.0.1:8443".parse().unwrap();
        let settings = Settings { entra_login: Some(named.clone()), ..settings("https://a.databricks.azure.us") };
        assert_eq!(login_host(&settings), named);
    }

    #[test]
    fn a_directory_is_one_piece_of_the_path_or_refused() {
        for tenant in ["72f988bf-86f1-41af-91ab-2d7cd011db47", "contoso.onmicrosoft.com", "common"] {
            assert_eq!(path(tenant).unwrap(), format!("/{tenant}/oauth2/v2.0/token"));
        }
        for tenant in ["", ".", "..", "a/b", "../x", "a?b", "a#b", "a%2fb", "a b", "ä", r"a\b", &"a".repeat(254)] {
            assert!(path(tenant).unwrap_err().to_string().contains("tenantId"), "{tenant}");
        }
    }

    #[test]
    fn the_number_of_an_entra_error_is_read_where_there_is_one() {
        for (message, number) in [
            ("AADSTS7000215: Invalid client secret provided.", Some(7_000_215)),
            ("AADSTS50034", Some(50_034)),
            ("AADSTS: nothing", None),
            ("AADSTS99999999999: too much", None),
            ("Client authentication failed", None),
        ] {
            assert_eq!(aadsts(message), number, "{message}");
        }
    }
}
