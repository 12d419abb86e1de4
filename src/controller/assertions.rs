//! Tokens of Kubernetes ServiceAccounts, to be exchanged where no secret is kept: made for a named ServiceAccount by the
//! TokenRequest API, or the operator's own, which the kubelet writes into a file. Never one for the API server itself: whoever
//! got that could act in this cluster. Claims are read to see that, not to trust them, so no signature is verified here.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::kubernetes::Kubernetes;
use super::ports::StoreError;
use crate::databricks::credentials::Assertion;
use crate::databricks::error::CredentialsError;

/// For how long a token is asked for. What is exchanged for it serves no longer, and no shorter than it must.
const LIFE: Duration = Duration::from_hours(1);
/// Bytes of a token that are read.
const MAX_TOKEN: u64 = 64 * 1024;
/// Where a Pod's own token for the API server is.
const API_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The operator's own tokens.
#[derive(Debug, Clone)]
pub(super) struct OwnTokens {
    /// The one that may be exchanged, if there is one.
    pub(super) projected: Option<PathBuf>,
    /// The one for the API server: only its audiences are looked at.
    api: PathBuf,
}

impl OwnTokens {
    pub(super) fn new(projected: Option<PathBuf>) -> Self {
        Self { projected, api: API_TOKEN.into() }
    }

    /// What no token that leaves the cluster may be for. Where the operator runs in no Pod, or its token is of another
    /// kind, only what every cluster has is known.
    async fn forbidden(&self) -> Forbidden {
        let claims = match read(&self.api).await {
            Ok(token) => claims(&token),
            Err(_) => None,
        };
        let claims = claims.unwrap_or_default();
        Forbidden(claims.iss.into_iter().chain(claims.aud.0).collect())
    }

    /// The operator's own token, for somebody who expects this audience.
    pub(super) async fn projected(&self, audience: &str) -> Result<Assertion, CredentialsError> {
        let forbidden = self.forbidden().await;
        forbidden.check(audience, None)?;
        let Some(path) = &self.projected else {
            return Err(CredentialsError::NotFound(
                "the operator was started without a token of its own that may be exchanged; project one into its Pod and \
                 name the file in --operator-token-file"
                    .to_owned(),
            ));
        };
        let shown = path.display();
        let token = read(path).await.map_err(|error| {
            CredentialsError::NotFound(format!(
                "the operator's own token cannot be read from {shown} (--operator-token-file): {error}; project it into the \
                 operator's Pod"
            ))
        })?;
        let Some(claims) = claims(&token) else {
            return Err(CredentialsError::Invalid(format!(
                "{shown} (--operator-token-file) holds no token of a Kubernetes ServiceAccount"
            )));
        };
        for own in &claims.aud.0 {
            forbidden.check(own, claims.iss.as_deref())?;
        }
        if !claims.aud.0.iter().any(|own| own == audience) {
            return Err(CredentialsError::Invalid(format!(
                "the operator's own token ({shown}) is for {}, but {} is expected; set the audience of the projected token \
                 to that",
                listed(&claims.aud.0),
                listed(std::slice::from_ref(&audience.to_owned())),
            )));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires_in = Duration::from_secs(claims.exp.unwrap_or_default()).saturating_sub(now);
        if expires_in.is_zero() {
            return Err(CredentialsError::Unavailable(format!(
                "the operator's own token ({shown}) has expired; the kubelet should have renewed it: is it a projected \
                 token, and are the clocks right?"
            )));
        }
        Ok(Assertion { token, expires_in })
    }

    /// A token of a ServiceAccount, for somebody who expects this audience.
    pub(super) async fn of_service_account(
        &self,
        kubernetes: &Kubernetes,
        namespace: &str,
        name: &str,
        audience: &str,
    ) -> Result<Assertion, CredentialsError> {
        let forbidden = self.forbidden().await;
        forbidden.check(audience, None)?;
        let api: Api<ServiceAccount> = Api::namespaced(kubernetes.client(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(vec![audience.to_owned()]),
                expiration_seconds: i64::try_from(LIFE.as_secs()).ok(),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let made = kubernetes.write(api.create_token_request(name, &PostParams::default(), &request)).await;
        let made = made.map_err(|error| refused(error, namespace, name))?;
        // How long it lives by the clock of whoever made it.
        let granted = made.spec.and_then(|spec| u64::try_from(spec.expiration_seconds?).ok());
        let token = made.status.and_then(|status| status.token).filter(|token| !token.is_empty());
        let (Some(token), Some(granted)) = (token, granted) else {
            return Err(CredentialsError::Unavailable(format!(
                "Kubernetes gave no token of ServiceAccount `{name}` in namespace `{namespace}`"
            )));
        };
        let token = SecretString::from(token);
        // Who issues the tokens of this cluster is known only now, and its name is the API server's audience by default.
        let issuer = claims(&token).and_then(|claims| claims.iss);
        forbidden.check(audience, issuer.as_deref())?;
        Ok(Assertion { token, expires_in: Duration::from_secs(granted) })
    }
}

/// What a token request that failed means.
fn refused(error: StoreError, namespace: &str, name: &str) -> CredentialsError {
    match error {
        StoreError::Gone => CredentialsError::NotFound(format!(
            "ServiceAccount `{name}` is not there; create it in namespace `{namespace}`, or correct serviceAccountRef"
        )),
        StoreError::Refused(why) if why.ends_with("(403)") => CredentialsError::NotAllowed(format!(
            "the operator may not create tokens of ServiceAccount `{name}` in namespace `{namespace}`; grant its own \
             ServiceAccount a Role there: kubectl create role {name}-token --namespace {namespace} --verb=create \
             --resource=serviceaccounts/token --resource-name={name} ({why})"
        )),
        StoreError::Refused(why) => CredentialsError::Invalid(format!(
            "Kubernetes makes no such token of ServiceAccount `{name}` in namespace `{namespace}`: {why}"
        )),
        error => CredentialsError::Unavailable(format!(
            "a token of ServiceAccount `{name}` in namespace `{namespace}` cannot be had now: {error}"
        )),
    }
}

/// Audiences of the API server.
struct Forbidden(Vec<String>);

impl Forbidden {
    fn check(&self, audience: &str, issuer: Option<&str>) -> Result<(), CredentialsError> {
        let known = self.0.iter().map(String::as_str).chain(issuer).any(|one| same(one, audience));
        if !known && !is_of_every_cluster(audience) {
            return Ok(());
        }
        Err(CredentialsError::NotAllowed(format!(
            "the audience {} is the Kubernetes API server's, and a token for it never leaves the cluster; use the audience \
             that the federation policy names",
            listed(std::slice::from_ref(&audience.to_owned())),
        )))
    }
}

fn same(a: &str, b: &str) -> bool {
    a.trim_end_matches('/').eq_ignore_ascii_case(b.trim_end_matches('/'))
}

/// The names that the API server has in every cluster.
fn is_of_every_cluster(audience: &str) -> bool {
    let lower = audience.trim().to_ascii_lowercase();
    let host = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://")).unwrap_or(&lower);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    host == "kubernetes" || host == "kubernetes.default" || host.starts_with("kubernetes.default.")
}

fn listed(audiences: &[String]) -> String {
    let short = |audience: &String| format!("`{}`", crate::lifecycle::bounds::one_line(audience, 200));
    audiences.iter().take(5).map(short).collect::<Vec<_>>().join(", ")
}

/// Reads a token, and no more than a token.
async fn read(path: &Path) -> std::io::Result<SecretString> {
    let path = path.to_owned();
    let read = move || {
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        if file.take(MAX_TOKEN + 1).read_to_string(&mut text)? as u64 > MAX_TOKEN {
            return Err(std::io::Error::other("it is longer than any token"));
        }
        Ok(SecretString::from(text.trim()))
    };
    tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?
}

/// What is looked at of a token.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Claims {
    iss: Option<String>,
    aud: Audiences,
    exp: Option<u64>,
}

/// One or several.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "OneOrMany")]
struct Audiences(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Audiences {
    fn from(audiences: OneOrMany) -> Self {
        match audiences {
            OneOrMany::One(audience) => Self(vec![audience]),
            OneOrMany::Many(audiences) => Self(audiences),
        }
    }
}

fn claims(token: &SecretString) -> Option<Claims> {
    let mut parts = token.expose_secret().split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const POLICY: &str = "https://workspace.test/oidc/v1/token";

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn jwt(claims: Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        format!("{}.{}.c2lnbmF0dXJl", part(&json!({"alg": "RS256"})), part(&claims))
    }

    fn in_an_hour() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600
    }

    /// The operator's tokens in a folder of their own.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("assertions-{name}-{:016x}", rand::random::<u64>()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn with(self, name: &str, text: &str) -> Self {
            std::fs::write(self.0.join(name), text).unwrap();
            self
        }

        fn tokens(&self) -> OwnTokens {
            OwnTokens { projected: Some(self.0.join("projected")), api: self.0.join("api") }
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn the_operator_s_own_token_is_given_to_whoever_it_is_for_and_lives_as_long_as_it_says() {
        let token = jwt(json!({"iss": "https://issuer.test", "aud": [POLICY], "exp": in_an_hour()}));
        let files = Files::new("own").with("projected", &format!("{token}\n"));
        let assertion = files.tokens().projected(POLICY).await.unwrap();
        assert_eq!(assertion.token.expose_secret(), token);
        assert!(assertion.expires_in > Duration::from_mins(59) && assertion.expires_in <= Duration::from_hours(1));
        let other = files.tokens().projected("https://other.test").await.unwrap_err();
        assert!(matches!(&other, CredentialsError::Invalid(why) if why.contains(POLICY)), "{other}");
    }

    #[tokio::test]
    async fn a_token_for_the_api_server_is_given_to_nobody() {
        let api = jwt(json!({"iss": "https://issuer.test", "aud": ["https://api.cluster.test", "k3s"]}));
        for audience in [
            "https://kubernetes.default.svc.cluster.local",
            "https://kubernetes.default.svc",
            "HTTPS://Kubernetes.Default.svc:443/",
            "kubernetes",
            "https://api.cluster.test/",
            "k3s",
            "https://issuer.test",
        ] {
            let token = jwt(json!({"iss": "https://issuer.test", "aud": [POLICY, audience], "exp": in_an_hour()}));
            let files = Files::new("api").with("projected", &token).with("api", &api);
            for asked in [audience, POLICY] {
                let error = files.tokens().projected(asked).await.unwrap_err();
                let CredentialsError::NotAllowed(why) = &error else { panic!("{audience}: {error}") };
                assert!(why.contains("never leaves the cluster"), "{why}");
            }
        }
    }

    #[tokio::test]
    async fn the_issuer_s_name_is_the_api_server_s_audience_even_where_the_operator_runs_in_no_pod() {
        let token = jwt(json!({"iss": "https://issuer.test", "aud": "https://issuer.test", "exp": in_an_hour()}));
        let files = Files::new("issuer").with("projected", &token);
        let error = files.tokens().projected("https://issuer.test").await.unwrap_err();
        assert!(matches!(error, CredentialsError::NotAllowed(_)), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_token_or_has_expired_or_is_not_there_is_told_without_its_text() {
        let expired = jwt(json!({"aud": POLICY, "exp": 1_000}));
        let endless = jwt(json!({"aud": POLICY}));
        let long = "x".repeat(100_000);
        for (text, says) in [
            ("a-secret", "holds no token"),
            ("a.secret.token", "holds no token"),
            (expired.as_str(), "has expired"),
            (endless.as_str(), "has expired"),
            (long.as_str(), "longer than any token"),
        ] {
            let files = Files::new("bad").with("projected", text);
            let error = files.tokens().projected(POLICY).await.unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains(text), "{error}");
        }
        let missing = Files::new("none").tokens().projected(POLICY).await.unwrap_err();
        assert!(
            matches!(&missing, CredentialsError::NotFound(why) if why.contains("--operator-token-file")),
            "{missing}"
        );
        let unset = OwnTokens::new(None).projected(POLICY).await.unwrap_err();
        assert!(matches!(unset, CredentialsError::NotFound(_)), "{unset}");
    }

    #[test]
    fn a_token_that_cannot_be_made_is_told_with_what_to_do() {
        let told = |error| refused(error, "team", "runner");
        let gone = told(StoreError::Gone);
        assert!(matches!(&gone, CredentialsError::NotFound(why) if why.contains("create it in namespace `team`")));
        let forbidden = told(StoreError::Refused("serviceaccounts \"runner\" is forbidden (403)".to_owned()));
        let CredentialsError::NotAllowed(why) = &forbidden else { panic!("{forbidden}") };
        let command = "kubectl create role runner-token --namespace team --verb=create --resource=serviceaccounts/token --resource-name=runner";
        assert!(why.contains(command), "{why}");
        assert!(matches!(told(StoreError::Refused("invalid (422)".to_owned())), CredentialsError::Invalid(_)));
        assert!(matches!(told(StoreError::Unavailable("no".to_owned())), CredentialsError::Unavailable(_)));
    }
}
