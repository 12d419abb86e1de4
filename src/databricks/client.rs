//! One workspace as one identity: every operation goes through [`Client::send`], which adds the token, tries once more
//! with a fresh one after a 401, and keeps one deadline over all of it.

use std::fmt::Display;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use super::calls::Known;
use super::clock::Clock;
use super::credentials::{Credentials, KeptSecrets};
use super::error::Error;
use super::health::{Gate, Health, Says, says};
use super::host_policy::NotAllowed;
use super::identity::issuer;
use super::ids::RunId;
use super::limiter::Lane;
use super::limiters::{HostLimiter, Limiter};
use super::observer::{Call, Observer, Operation};
use super::settings::{JobsApiVersion, Settings};
use super::tokens::{Token, Tokens};
use super::transport::{Answer, HttpRequest, Method, NORMAL_BODY, Transport};

/// Answers of up to 16 MiB that are read at the same time: what keeps memory bounded when many runs end at once.
const LARGE_ANSWERS: usize = 4;
/// When to ask again for one of those places.
const LARGE_ANSWER_WAIT: Duration = Duration::from_millis(250);

/// One workspace as one identity. Cheap to clone: the clones share token, connections and limits.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    settings: Settings,
    transport: Arc<Transport>,
    tokens: Arc<Tokens>,
    limiter: Arc<Limiter>,
    gate: Gate,
    large_answers: Semaphore,
    principal: Mutex<Known>,
    observer: Arc<dyn Observer>,
}

impl Client {
    /// Builds a client; nothing is sent and no secret is read yet. The only errors are those of `ca_bundle`, of the
    /// system's certificates and of a host that is not allowed. The limiter is the host's:
    /// [`super::limiters::Limiters::for_host`].
    pub fn new(
        settings: Settings,
        credentials: Arc<dyn Credentials>,
        limiter: Arc<HostLimiter>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, InvalidSettings> {
        let limiter = Arc::new(limiter.for_object(settings.tenant.as_deref(), settings.own_rate));
        settings.network.check(&settings.host)?;
        let transport = Transport::new(&settings, settings.host.clone(), settings.workspace_id.as_deref())?;
        let transport = Arc::new(transport);
        let clock = Clock::system();
        let secrets = KeptSecrets::new(credentials, clock.clone());
        let issuer = issuer(&settings, secrets, transport.clone(), limiter.clone(), observer.clone(), clock.clone())?;
        Ok(Self(Arc::new(Inner {
            settings,
            transport,
            tokens: Tokens::new(issuer, clock.clone()),
            limiter,
            gate: Gate::new(clock),
            large_answers: Semaphore::new(LARGE_ANSWERS),
            principal: Mutex::default(),
            observer,
        })))
    }

    /// What the client was made of.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The most requests a second that this client may ever send, others of the same host not counted.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        let most = self.0.limiter.requests_per_second();
        self.0.settings.own_rate.map_or(most, |own| own.min(most))
    }

    /// Whether the workspace answers, as all calls of this client see it; `changed()` on it tells of the begin and the
    /// end of an outage, once each.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.0.gate.health()
    }

    /// Whether the breaker is open: too many calls had no answer, and nothing is sent but probes.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        self.0.gate.is_open()
    }

    /// Whether the credentials were refused, or could not be had, at the last call that was answered.
    #[must_use]
    pub fn refused(&self) -> watch::Receiver<bool> {
        self.0.gate.refused()
    }

    /// Asks the breaker and the limiter, once per operation. Refused, nothing is sent and the caller is told how long to
    /// wait. What the breaker holds back is told to nobody else: an outage is told once, as [`Health`].
    pub(super) fn permission(&self, operation: Operation, lane: Lane, about: impl Hash) -> Result<(), Error> {
        self.0.gate.may_pass(lane)?;
        self.turn(operation, lane, about)?;
        self.0.gate.pass(lane)
    }

    /// Asks the limiter alone, for what is sent whether or not the workspace answers.
    pub(super) fn turn(&self, operation: Operation, lane: Lane, about: impl Hash) -> Result<(), Error> {
        let who = (Arc::as_ptr(&self.0) as usize, operation, about);
        self.0.limiter.ask(lane, who).inspect_err(|error| {
            self.0.observer.call(&Call {
                operation,
                outcome: error.reason(),
                http_status: None,
                duration: Duration::ZERO,
            });
        })
    }

    /// Counts a request beyond the first of an operation.
    pub(super) fn charge(&self) {
        self.0.limiter.charge();
    }

    /// A place among the few large answers that are read at the same time.
    pub(super) fn large_answer_slot(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.0.large_answers.try_acquire().map_err(|_| Error::NotNow(LARGE_ANSWER_WAIT))
    }

    pub(super) fn call_deadline(&self) -> Deadline {
        Deadline::after(self.0.settings.call_timeout)
    }

    pub(super) fn submit_deadline(&self) -> Deadline {
        Deadline::after(self.0.settings.submit_timeout)
    }

    /// The token as a header.
    pub(super) async fn authorization(&self, deadline: Deadline) -> Result<HeaderValue, Error> {
        Ok(self.0.tokens.get(deadline).await?.authorization())
    }

    pub(super) fn known_principal(&self) -> MutexGuard<'_, Known> {
        self.0.principal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for something beside the Jobs API, within the rate of all. Whatever the answer, neither the token nor the
    /// workspace is any the worse for it.
    pub(super) async fn get_beside_jobs(
        &self,
        operation: Operation,
        path: &str,
        authorization: HeaderValue,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        self.0.gate.may_pass(Lane::Poll)?;
        self.0.limiter.ask(Lane::Poll, (Arc::as_ptr(&self.0) as usize, operation))?;
        let http = HttpRequest {
            operation,
            method: Method::Get,
            path: path.to_owned(),
            query: &[],
            authorization: Some(authorization),
            form_secrets: &[],
            body_cap: NORMAL_BODY,
            run: None,
        };
        self.0.transport.exchange(http, deadline, Some(&self.0.limiter), &*self.0.observer).await
    }

    /// Sends a request with the token. A 401 was surely not executed, so that one case is repeated, with a fresh token.
    pub(super) async fn send(&self, request: &Request, deadline: Deadline) -> Result<Answer, Error> {
        let sent = self.0.gate.now();
        let outcome = self.try_send(request, deadline).await;
        self.0.gate.learn(sent, &outcome);
        outcome
    }

    /// The same for what is sent whether or not the workspace answers: that it fails is no news, that it succeeds is.
    pub(super) async fn send_regardless(&self, request: &Request, deadline: Deadline) -> Result<Answer, Error> {
        let sent = self.0.gate.now();
        let outcome = self.try_send(request, deadline).await;
        if says(outcome.as_ref().map(drop)) == Says::Answers {
            self.0.gate.learn(sent, &outcome);
        }
        outcome
    }

    async fn try_send(&self, request: &Request, deadline: Deadline) -> Result<Answer, Error> {
        let token = self.0.tokens.get(deadline).await?;
        match self.exchange(request, &token, deadline).await {
            Err(Error::Unauthenticated(_)) => {}
            outcome => return outcome,
        }
        self.0.tokens.reject(&token);
        let fresh = self.0.tokens.get(deadline).await?;
        self.charge();
        self.exchange(request, &fresh, deadline).await
    }

    async fn exchange(&self, request: &Request, token: &Token, deadline: Deadline) -> Result<Answer, Error> {
        let http = HttpRequest {
            operation: request.operation,
            method: request.method.clone(),
            path: format!("/api/{}/jobs/{}", request.version, request.path),
            query: &request.query,
            authorization: Some(token.authorization()),
            form_secrets: &[],
            body_cap: request.body_cap,
            run: request.run,
        };
        self.0.transport.exchange(http, deadline, Some(&self.0.limiter), &*self.0.observer).await
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// A client that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// Credentials may not be sent to the host.
    #[error(transparent)]
    HostNotAllowed(#[from] NotAllowed),
    /// The private certificate authorities cannot be read.
    #[error("the CA bundle cannot be used: {0}; it must hold PEM blocks that begin with `-----BEGIN CERTIFICATE-----`")]
    CaBundle(String),
    /// The workspace id cannot stand in a header.
    #[error("workspaceId `{0}` is no workspace's number; write the digits after `?o=` in the workspace's address")]
    WorkspaceId(String),
    /// The directory cannot stand in the path of the login host.
    #[error("tenantId `{0}` is no directory's id; write the id or the domain that Microsoft Entra shows for it")]
    TenantId(String),
    /// The proxy cannot be used.
    #[error("the proxy cannot be used: {0}; correct spec.proxyUrl")]
    Proxy(String),
    /// The system offers no certificates, or TLS cannot be set up.
    #[error("TLS cannot be set up: {0}; the image must hold the system's CA certificates")]
    Tls(String),
}

/// The instant at which an operation gives up, whatever it is doing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    pub(super) fn or_after(self, time: Duration) -> Self {
        Self(self.0.min(Instant::now() + time))
    }

    pub(super) fn instant(self) -> Instant {
        self.0
    }
}

/// What an operation asks of the Jobs API.
pub(super) struct Request {
    operation: Operation,
    version: JobsApiVersion,
    method: Method,
    path: &'static str,
    query: Vec<(&'static str, String)>,
    body_cap: usize,
    run: Option<RunId>,
}

impl Request {
    pub(super) fn get(operation: Operation, version: JobsApiVersion, path: &'static str) -> Self {
        Self::new(operation, version, path, Method::Get)
    }

    pub(super) fn post(operation: Operation, version: JobsApiVersion, path: &'static str, body: String) -> Self {
        Self::new(operation, version, path, Method::PostJson(body))
    }

    fn new(operation: Operation, version: JobsApiVersion, path: &'static str, method: Method) -> Self {
        Self { operation, version, method, path, query: Vec::new(), body_cap: NORMAL_BODY, run: None }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Display) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(super) fn query_if(self, name: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// The run in question, for logs.
    pub(super) fn about(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    pub(super) fn body_of_at_most(mut self, bytes: usize) -> Self {
        self.body_cap = bytes;
        self
    }
}
