//! A fake of Entra's login host: who proves to be an application of a tenant, by a secret or by a token of an issuer that the
//! application trusts, is given an access token that the workspace beside it accepts.
//!
//! It speaks the v2 token endpoint for client credentials and answers errors in Entra's form, with the codes that its
//! documentation lists and that people paste into issues. It serves on an address of its own with an authority of its own,
//! so a client that trusts both needs both certificates in one bundle.

mod refused;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::{Value, json};

use self::refused::Refused;
use super::arguments::Query;
use super::clock::{Clock, Millis, millis};
use super::disturbance::{Faults, Sent, Target};
use super::errors::{ApiError, ErrorBody};
use super::exchange::{add_headers, plain, query_of, rendered, system_time};
use super::faults::Fault;
use super::federation::{self, FederationPolicy};
use super::log::{Arrival, Entry, Log};
use super::operations::Operation;
use super::passage::{Answer, Passage, Watch};
use super::random::Random;
use super::server::{Address, Service, Serving};
use super::{Control, StartError};

/// The application id of Azure Databricks, the same in every tenant: what a scope must ask for.
pub const AZURE_DATABRICKS: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";

/// The one audience that Entra takes in tokens of other issuers.
pub const TOKEN_EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// No client asks for more.
const MAX_REQUEST: usize = 1024 * 1024;

/// A login host that serves until it is dropped.
pub struct LoginHost {
    login: Arc<Login>,
    serving: Serving,
}

struct Login {
    workspace: Control,
    log: Arc<Log>,
    state: Mutex<State>,
}

struct State {
    tenants: BTreeMap<String, BTreeMap<String, Application>>,
    token_lifetime: Duration,
    ahead: Duration,
    clock: Clock,
    random: Random,
    faults: Faults,
}

/// What an application of a tenant may prove itself with.
#[derive(Debug, Default)]
struct Application {
    secrets: Vec<String>,
    credentials: Vec<FederationPolicy>,
}

impl LoginHost {
    /// Starts a login host without tenants, on a free port of loopback. `workspace` accepts its access tokens; time is the
    /// workspace's.
    pub fn start(workspace: &Control) -> Result<Self, StartError> {
        let address = Address::bind(SocketAddr::from(([127, 0, 0, 1], 0)), Vec::new())?;
        let login = Arc::new(Login {
            workspace: workspace.clone(),
            log: Arc::new(Log::new(false)),
            state: Mutex::new(State {
                tenants: BTreeMap::new(),
                token_lifetime: Duration::from_secs(3599),
                ahead: Duration::ZERO,
                clock: workspace.clock(),
                random: Random::seeded(rand::random()),
                faults: Faults::default(),
            }),
        });
        let serving = address.serve("fake-login-host", Arc::clone(&login))?;
        Ok(Self { login, serving })
    }

    /// `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.serving.host
    }

    /// The certificate authority clients must trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.serving.ca_pem
    }

    /// An application with this secret in place of those it had. Its access tokens act as the principal `client_id`.
    pub fn accept_secret(&self, tenant: &str, client_id: &str, secret: &str) {
        self.edit(tenant, client_id, |application| application.secrets = vec![secret.to_owned()]);
    }

    /// A federated identity credential of an application: tokens like this prove it.
    pub fn federate(&self, tenant: &str, client_id: &str, credential: FederationPolicy) {
        self.edit(tenant, client_id, |application| application.credentials.push(credential));
    }

    /// Takes all federated identity credentials of an application away.
    pub fn unfederate(&self, tenant: &str, client_id: &str) {
        self.edit(tenant, client_id, |application| application.credentials.clear());
    }

    /// Removes an application from its tenant, which stays.
    pub fn remove(&self, tenant: &str, client_id: &str) {
        if let Some(applications) = self.login.state().tenants.get_mut(tenant) {
            applications.remove(client_id);
        }
    }

    fn edit(&self, tenant: &str, client_id: &str, edit: impl FnOnce(&mut Application)) {
        let mut state = self.login.state();
        let applications = state.tenants.entry(tenant.to_owned()).or_default();
        edit(applications.entry(client_id.to_owned()).or_default());
    }

    /// How long access tokens are good from now on.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.login.state().token_lifetime = lifetime;
    }

    /// Its clock is ahead of the workspace's by this much from now on, so that assertions which are good there have ended
    /// here.
    pub fn set_ahead(&self, ahead: Duration) {
        self.login.state().ahead = ahead;
    }

    /// Sets a fault of its requests; the only call it knows is [`Operation::Token`]. The answer is its number.
    #[expect(clippy::must_use_candidate, reason = "most faults are never asked about again")]
    pub fn fault(&self, fault: Fault) -> u64 {
        self.login.state().faults.set(fault)
    }

    /// Takes all faults back.
    pub fn clear_faults(&self) {
        self.login.state().faults.clear(None);
    }

    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Entry> {
        self.login.log.all()
    }

    /// How many access tokens were asked for.
    #[must_use]
    pub fn token_requests(&self) -> usize {
        self.login.log.count(|entry| entry.operation == Operation::Token)
    }
}

impl Login {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        self.state().clock.now()
    }

    async fn pass(
        self: Arc<Self>,
        number: usize,
        operation: Operation,
        tenant: Option<String>,
        body: bytes::Bytes,
    ) -> Answer {
        let sent = Sent { authorization: None, body: std::str::from_utf8(&body).unwrap_or_default() };
        let form = query_of(sent.body);
        self.workspace.0.proofs.note(None, &form);
        let disturbance = {
            let mut state = self.state();
            let now = system_time(state.clock.now());
            let State { faults, random, .. } = &mut *state;
            faults.meet(&Target { operation, run_id: None, idempotency_token: None, sent }, random, now)
        };
        let effect = || {
            let tenant = tenant.ok_or(ApiError { status: 404, body: ErrorBody::Empty, retry_after: None })?;
            let (client_id, answer) = self.token(&tenant, &form)?;
            self.log.update(number, |entry| entry.principal = Some(client_id));
            Ok(plain(200, "application/json; charset=utf-8", answer.to_string().into_bytes()))
        };
        let finish = |answered| self.finished(answered);
        let passage = Passage { log: &self.log, number, now: &|| self.now() };
        passage.go(disturbance, Duration::ZERO, effect, finish).await
    }

    fn finished(&self, answered: Result<Response<Body>, ApiError>) -> Response<Body> {
        let (request_id, now) = {
            let mut state = self.state();
            (state.random.hex(), state.clock.now())
        };
        let mut response = rendered(answered, &request_id, now);
        let further = self.workspace.0.state().settings.headers.clone();
        add_headers(&mut response, &further);
        if let Ok(id) = request_id.parse() {
            response.headers_mut().insert("x-ms-request-id", id);
        }
        response
    }

    /// An access token for Azure Databricks, for an application that proves itself; with the application's id.
    fn token(&self, tenant: &str, form: &Query) -> Result<(String, Value), ApiError> {
        let mut state = self.state();
        let now = state.clock.now();
        let lifetime = state.token_lifetime;
        let (trace, token) = (state.random.hex(), format!("eyJ.entra.{}", state.random.hex()));
        let seconds = (now + millis(state.ahead)) / 1000;
        let client_id = state.prove(tenant, form, seconds).map_err(|refused| refused.error(&trace, now))?.to_owned();
        drop(state);
        self.workspace.accept_token(&token, &client_id, Some(lifetime));
        let seconds = lifetime.as_secs();
        let answer = json!({
            "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
        });
        Ok((client_id, answer))
    }
}

impl State {
    /// The application that a request proves to come from. `now` is in seconds.
    fn prove<'a>(&self, tenant: &str, form: &'a Query, now: i64) -> Result<&'a str, Refused> {
        let required = |name: &'static str| form.text(name).ok_or(Refused::Missing(name));
        let applications = self.tenants.get(tenant).ok_or_else(|| Refused::Tenant(tenant.to_owned()))?;
        let grant = required("grant_type")?;
        if grant != "client_credentials" {
            return Err(Refused::Grant(grant.to_owned()));
        }
        let client_id = required("client_id")?;
        let absent = || Refused::Application(client_id.to_owned(), tenant.to_owned());
        let application = applications.get(client_id).ok_or_else(absent)?;
        let scope = required("scope")?;
        if scope != format!("{AZURE_DATABRICKS}/.default") {
            return Err(Refused::Scope(scope.to_owned()));
        }
        match (form.text("client_secret"), form.text("client_assertion")) {
            (_, Some(assertion)) => {
                if required("client_assertion_type")? != ASSERTION_TYPE {
                    return Err(Refused::Missing("client_assertion_type"));
                }
                application.check_assertion(assertion, now)?;
            }
            (Some(secret), None) if application.secrets.iter().any(|good| good == secret) => {}
            (Some(_), None) => return Err(Refused::Secret(client_id.to_owned())),
            (None, None) => return Err(Refused::NoProof),
        }
        Ok(client_id)
    }
}

impl Application {
    fn check_assertion(&self, assertion: &str, now: i64) -> Result<(), Refused> {
        federation::judge(&self.credentials, assertion, now).map(drop).map_err(|fault| match fault {
            Some(fault) => Refused::Assertion(fault, now),
            None => Refused::NoCredential,
        })
    }
}

/// The tenant in `/{tenant}/oauth2/v2.0/token`.
fn tenant(path: &str) -> Option<&str> {
    let tenant = path.strip_prefix('/')?.strip_suffix("/oauth2/v2.0/token")?;
    Some(tenant).filter(|tenant| !tenant.is_empty() && !tenant.contains('/'))
}

impl Service for Arc<Login> {
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send + use<> {
        let login = Self::clone(self);
        async move {
            let (parts, body) = request.into_parts();
            let Ok(bytes) = axum::body::to_bytes(Body::new(body), MAX_REQUEST).await else {
                return Answer::Hangup;
            };
            let path = parts.uri.path();
            let tenant = tenant(path).filter(|_| parts.method == "POST").map(str::to_owned);
            let operation = if tenant.is_some() { Operation::Token } else { Operation::Unknown };
            let user_agent = parts.headers.get("user-agent").and_then(|value| value.to_str().ok());
            let number = login.log.open(Arrival {
                received: login.now(),
                method: parts.method.to_string(),
                path: path.to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                version: None,
                operation,
                idempotency_token: None,
                run_id: None,
                user_agent: user_agent.unwrap_or_default().to_owned(),
                workspace_id: None,
            });
            let watch = Watch { log: Arc::clone(&login.log), number };
            let answer = tokio::spawn(login.pass(number, operation, tenant, bytes)).await;
            drop(watch);
            answer.unwrap_or(Answer::Hangup)
        }
    }
}
