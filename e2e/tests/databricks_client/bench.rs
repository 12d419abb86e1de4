//! A workspace, a client of it, and a place for the client's secrets and assertions that tests can change.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use databricks_run_operator::databricks::client::Client;
use databricks_run_operator::databricks::credentials::{Assertion, AssertionRequest, Credentials, SecretKey};
use databricks_run_operator::databricks::error::CredentialsError;
use databricks_run_operator::databricks::host_policy::HostPolicy;
use databricks_run_operator::databricks::ids::IdempotencyToken;
use databricks_run_operator::databricks::limiters::Limiters;
use databricks_run_operator::databricks::network::Network;
use databricks_run_operator::databricks::observer::{Call, Observer};
use databricks_run_operator::databricks::proxy::AllowedProxies;
use databricks_run_operator::databricks::settings::{Auth, ClientId, JobsApiVersion, Settings};
use e2e::workspace::{Clock, Options, Workspace};
use futures::future::BoxFuture;
use secrecy::SecretString;

/// The version most tests speak.
pub(crate) const V: JobsApiVersion = JobsApiVersion::V2_1;

/// An instant long past, so that nothing here can depend on today.
pub(crate) const START: i64 = 1_700_000_000_000;

/// Fast enough that no test is held back unless it wants to be.
const UNLIMITED: f64 = 1e6;

pub(crate) struct Bench {
    pub(crate) workspace: Workspace,
    pub(crate) secret: Arc<Secret>,
    pub(crate) calls: Arc<Calls>,
}

/// The one secret there is, whatever its name; also the one assertion, whosever it is.
pub(crate) struct Secret {
    value: Mutex<Result<String, CredentialsError>>,
    assertion_life: Mutex<Duration>,
    assertions: Mutex<Vec<AssertionRequest>>,
}

impl Secret {
    fn holding(value: &str) -> Self {
        Self {
            value: Mutex::new(Ok(value.to_owned())),
            assertion_life: Mutex::new(Duration::from_hours(1)),
            assertions: Mutex::default(),
        }
    }

    pub(crate) fn becomes(&self, value: &str) {
        *self.value.lock().unwrap() = Ok(value.to_owned());
    }

    pub(crate) fn disappears(&self) {
        *self.value.lock().unwrap() = Err(CredentialsError::NotFound("Secret `db` is not there".to_owned()));
    }

    pub(crate) fn assertions_live(&self, time: Duration) {
        *self.assertion_life.lock().unwrap() = time;
    }

    /// The assertions that were asked for.
    pub(crate) fn assertions(&self) -> Vec<AssertionRequest> {
        self.assertions.lock().unwrap().clone()
    }
}

impl Credentials for Secret {
    fn read<'a>(&'a self, _: &'a SecretKey) -> BoxFuture<'a, Result<SecretString, CredentialsError>> {
        let value = self.value.lock().unwrap().clone();
        Box::pin(async move { value.map(SecretString::from) })
    }

    fn assertion<'a>(&'a self, what: &'a AssertionRequest) -> BoxFuture<'a, Result<Assertion, CredentialsError>> {
        self.assertions.lock().unwrap().push(what.clone());
        let token = self.value.lock().unwrap().clone();
        let expires_in = *self.assertion_life.lock().unwrap();
        Box::pin(async move { token.map(|token| Assertion { token: token.into(), expires_in }) })
    }
}

/// What the client told its observer.
#[derive(Default)]
pub(crate) struct Calls(Mutex<Vec<Call>>);

impl Calls {
    /// Operation, outcome and status of each.
    pub(crate) fn told(&self) -> Vec<(&'static str, &'static str, Option<u16>)> {
        let calls = self.0.lock().unwrap();
        calls.iter().map(|call| (call.operation.as_str(), call.outcome, call.http_status)).collect()
    }
}

impl Observer for Calls {
    fn call(&self, call: &Call) {
        self.0.lock().unwrap().push(*call);
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::start(Options::default())
    }

    /// With a certificate for this name too.
    pub(crate) fn named(name: &str) -> Self {
        Self::start(Options { names: vec![name.to_owned()], ..Options::default() })
    }

    fn start(options: Options) -> Self {
        let workspace = Workspace::start(options.clock(Clock::manual(START))).expect("a workspace");
        let secret = Arc::new(Secret::holding(workspace.token()));
        Self { workspace, secret, calls: Arc::default() }
    }

    /// Settings of the owner's personal access token.
    pub(crate) fn pat(&self) -> Settings {
        self.settings(Auth::Pat { token: key() })
    }

    /// Settings of the OAuth client; its secret becomes the one secret there is.
    pub(crate) fn oauth(&self) -> Settings {
        let (id, secret) = self.workspace.client();
        self.secret.becomes(secret);
        self.settings(Auth::OauthM2m { client_id: ClientId::Literal(id.to_owned()), client_secret: key() })
    }

    /// Settings of any identity at this workspace.
    pub(crate) fn settings(&self, auth: Auth) -> Settings {
        let host = self.workspace.host().parse().expect("a host");
        let network = loopback();
        Settings { ca_bundle: Some(self.workspace.ca_pem().to_owned()), network, ..Settings::new(host, auth) }
    }

    pub(crate) fn client(&self, settings: Settings) -> Client {
        self.client_at(settings, UNLIMITED)
    }

    pub(crate) fn client_at(&self, settings: Settings, requests_per_second: f64) -> Client {
        let limiter = Limiters::new(requests_per_second).for_host(&settings.host);
        Client::new(settings, self.secret.clone(), limiter, self.calls.clone()).expect("a client")
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.workspace.clock().advance(Duration::from_secs(seconds));
    }
}

/// A network in which fake workspaces may be spoken to.
pub(crate) fn loopback() -> Network {
    Network::new(HostPolicy::new(["127.0.0.1"]).expect("an address may be allowed"), AllowedProxies::default())
}

pub(crate) fn key() -> SecretKey {
    SecretKey { name: "db".to_owned(), key: "token".to_owned() }
}

pub(crate) fn token(text: &str) -> IdempotencyToken {
    IdempotencyToken::new(text).expect("a token")
}

/// The body of a run-now.
pub(crate) fn run_now(job: i64) -> String {
    format!("{{\"job_id\":{job}}}")
}
