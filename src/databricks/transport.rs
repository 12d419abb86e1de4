//! Bytes out, bytes in: TLS, deadlines, caps. What an answer means is `classify`'s affair.
//!
//! - **Nothing is repeated here.** reqwest would repeat a request after an HTTP/2 GOAWAY, although the server may have
//!   executed it: its retries are switched off. What remains is hyper's own: a request that a pooled connection gave
//!   back *unsent* goes out on another one, which is safe.
//! - **HTTP/1.1 only.** One request per connection at a time: a connection that breaks leaves exactly one request in
//!   doubt. At 15 requests a second multiplexing would gain nothing.
//! - **Idle connections are dropped early**, before gateways drop them (60 s is usual): a request that is written into a
//!   connection the other side is closing is one whose fate nobody knows.
//! - **Certificates** are the system's (rustls' platform verifier, which reads the image's CA bundle or
//!   `SSL_CERT_FILE`), so an administrator replaces them without a new build; a private CA comes on top.
//! - **Where a connection may go** is judged for every one of them, by `resolver` for names and here for addresses.
//! - A proxy is taken from the environment (`HTTPS_PROXY`, `NO_PROXY`), or is the workspace object's own where the
//!   administrator allows it. It is asked to connect to the workspace's name, which it resolves itself.

use std::error::Error as StdError;
use std::fmt::Display;
use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Certificate, Client, Response, redirect, retry};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::classify::{Evidence, classify};
use super::client::{Deadline, InvalidSettings};
use super::error::{Error, TransportError};
use super::host::Host;
use super::host_policy::NotAllowed;
use super::ids::RunId;
use super::limiters::Limiter;
use super::observer::{Call, Observer, Operation};
use super::redact::cut_out;
use super::resolver::Resolver;
use super::retry_after;
use super::settings::Settings;

/// The longest answer of an ordinary call, uncompressed.
pub(super) const NORMAL_BODY: usize = 4 << 20;
/// The longest answer with logs and results (5 MB each, before JSON escapes them).
pub(super) const LARGE_BODY: usize = 16 << 20;
/// The longest error answer that is looked at.
const ERROR_BODY: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
const WORKSPACE_ID: HeaderName = HeaderName::from_static("x-databricks-workspace-id");
const REQUEST_ID: [&str; 2] = ["x-databricks-request-id", "x-request-id"];

/// The connections to one host. Every URL is built from that host, so no header ever goes to another.
pub(super) struct Transport {
    host: Host,
    client: Client,
}

/// The verb and what goes with it.
#[derive(Clone)]
pub(super) enum Method {
    Get,
    PostJson(String),
    /// A form, written as it is sent. It may hold a secret.
    PostForm(SecretString),
}

/// One HTTP exchange.
pub(super) struct HttpRequest<'a> {
    pub(super) operation: Operation,
    pub(super) method: Method,
    /// Begins with a slash.
    pub(super) path: String,
    pub(super) query: &'a [(&'static str, String)],
    /// `None` where the form itself proves who asks.
    pub(super) authorization: Option<HeaderValue>,
    /// The secrets in the form. They, and the one in `authorization`, are cut out of every error.
    pub(super) form_secrets: &'a [SecretString],
    /// Bytes of a good answer, uncompressed.
    pub(super) body_cap: usize,
    /// For logs.
    pub(super) run: Option<RunId>,
}

impl HttpRequest<'_> {
    fn secrets(&self) -> Vec<SecretString> {
        let header = self.authorization.as_ref().and_then(|value| value.to_str().ok());
        let credential = header.and_then(|value| value.split_once(' ')).map(|(_, credential)| credential.into());
        self.form_secrets.iter().cloned().chain(credential).collect()
    }
}

/// A 2xx answer that is not HTML.
pub(super) struct Answer {
    pub(super) server_time: Option<SystemTime>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Reads the body. The error tells where it stopped making sense and nothing of what stood there.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let why =
                format!("it is not the JSON that was expected (line {}, column {})", error.line(), error.column());
            Error::Transport(TransportError::UnreadableAnswer(why))
        })
    }
}

impl Transport {
    /// Connections to one host, the workspace or a login host. A workspace id is told to the workspace alone.
    pub(super) fn new(settings: &Settings, host: Host, workspace_id: Option<&str>) -> Result<Self, InvalidSettings> {
        // reqwest panics without a process-wide provider. Whoever uses this room alone need not know.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Somebody else may have been faster; then theirs serves.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(id) = workspace_id {
            let value = HeaderValue::from_str(id).map_err(|_| InvalidSettings::WorkspaceId(id.to_owned()))?;
            headers.insert(WORKSPACE_ID, value);
        }
        if let Some(address) = host.address() {
            settings.network.hosts().permits(&host, address)?;
        }
        let mut builder = Client::builder()
            .dns_resolver(Resolver::new(&settings.network, host.clone()))
            .user_agent(user_agent(settings))
            .https_only(true)
            .http1_only()
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .default_headers(headers);
        if let Some(proxy) = settings.network.proxy() {
            let proxy = reqwest::Proxy::all(proxy.to_string());
            builder = builder.no_proxy().proxy(proxy.map_err(|error| InvalidSettings::Proxy(in_words(&error)))?);
        }
        if let Some(pem) = &settings.ca_bundle {
            let bundle = certificates(pem)?;
            builder = builder.tls_certs_merge(bundle);
        }
        let client = builder.build().map_err(|error| InvalidSettings::Tls(in_words(&error)))?;
        Ok(Self { host, client })
    }

    /// Sends, reads, classifies, tells limiter and observer. The limiter is the workspace's: a login host has none.
    pub(super) async fn exchange(
        &self,
        request: HttpRequest<'_>,
        deadline: Deadline,
        limiter: Option<&Limiter>,
        observer: &dyn Observer,
    ) -> Result<Answer, Error> {
        let (operation, run) = (request.operation, request.run);
        let start = Instant::now();
        let mut status = None;
        let mut pause = None;
        let outcome = timeout_at(deadline.instant(), self.try_exchange(request, &mut status, &mut pause))
            .await
            .unwrap_or_else(|_| {
                let why = format!(
                    "{} within {:.1} s",
                    if status.is_some() { "no end" } else { "nothing" },
                    start.elapsed().as_secs_f64()
                );
                Err(Error::Transport(TransportError::NoAnswer(why)))
            });
        let call = Call {
            operation,
            outcome: outcome.as_ref().map_or_else(Error::reason, |_| "Ok"),
            http_status: status,
            duration: start.elapsed(),
        };
        if let (Err(error), Some(limiter)) = (&outcome, limiter) {
            limiter.learn(error, pause);
        }
        observer.call(&call);
        tracing::debug!(
            host = %self.host,
            operation = operation.as_str(),
            run = run.map(|run| run.0),
            status,
            outcome = call.outcome,
            milliseconds = u64::try_from(call.duration.as_millis()).unwrap_or(u64::MAX),
            "call"
        );
        outcome
    }

    async fn try_exchange(
        &self,
        request: HttpRequest<'_>,
        status: &mut Option<u16>,
        pause: &mut Option<Duration>,
    ) -> Result<Answer, Error> {
        let (cap, secrets) = (request.body_cap, request.secrets());
        let mut response = self.prepare(request)?.send().await.map_err(|error| not_sent_or_lost(&error))?;
        let http_status = response.status().as_u16();
        *status = Some(http_status);
        let good = response.status().is_success();
        let (body, whole) = read(&mut response, if good { cap } else { ERROR_BODY }).await;
        let server_time = server_time(response.headers());
        // A date in Retry-After is a time of their clock, which need not be ours.
        let now = server_time.unwrap_or_else(SystemTime::now);
        let evidence = evidence(http_status, response.headers(), &body, now);
        if let Some(mut verdict) = classify(&evidence) {
            cut_out(&mut verdict.error, secrets.iter().map(ExposeSecret::expose_secret));
            tracing::debug!(status = http_status, rule = verdict.rule, error = %verdict.error, "no success");
            *pause = verdict.retry_after;
            return Err(verdict.error);
        }
        whole?;
        Ok(Answer { server_time, body })
    }

    fn prepare(&self, request: HttpRequest<'_>) -> Result<reqwest::RequestBuilder, Error> {
        let mut url = Url::parse(&self.host.to_string())
            .map_err(|error| Error::Transport(TransportError::NotConnected(error.to_string())))?;
        url.set_path(&request.path);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        let builder = match request.method {
            Method::Get => self.client.get(url),
            Method::PostJson(body) => self.client.post(url).header(CONTENT_TYPE, "application/json").body(body),
            Method::PostForm(body) => {
                let form = self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
                form.body(body.expose_secret().to_owned())
            }
        };
        Ok(match request.authorization {
            Some(authorization) => builder.header(AUTHORIZATION, authorization),
            None => builder,
        })
    }
}

/// When an answer was given, by its own clock.
pub(super) fn server_time(headers: &HeaderMap) -> Option<SystemTime> {
    header(headers, DATE.as_str()).and_then(|text| httpdate::parse_http_date(text).ok())
}

/// An answer as the rules look at it. `now` is what a date in `Retry-After` is compared with.
pub(super) fn evidence<'a>(status: u16, headers: &'a HeaderMap, body: &'a [u8], now: SystemTime) -> Evidence<'a> {
    Evidence {
        status,
        content_type: header(headers, CONTENT_TYPE.as_str()),
        location: header(headers, LOCATION.as_str()),
        request_id: REQUEST_ID.iter().find_map(|name| header(headers, name)),
        retry_after: header(headers, RETRY_AFTER.as_str()).and_then(|text| retry_after::parse(text, now)),
        body,
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Reads at most `cap` bytes, counted after decompression. Always gives what came, and whether that was all.
async fn read(response: &mut Response, cap: usize) -> (Vec<u8>, Result<(), Error>) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= cap => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return (body, Err(unreadable(format!("it is longer than {cap} bytes")))),
            Ok(None) => return (body, Ok(())),
            Err(error) => return (body, Err(unreadable(in_words(&error)))),
        }
    }
}

fn unreadable(why: String) -> Error {
    Error::Transport(TransportError::UnreadableAnswer(why))
}

/// No answer came. Only a failure to connect (name, TCP, proxy, TLS) proves that nothing was sent.
fn not_sent_or_lost(error: &reqwest::Error) -> Error {
    let mut cause = Some(error as &(dyn StdError + 'static));
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<NotAllowed>() {
            return Error::HostNotAllowed(refused.clone());
        }
        cause = error.source();
    }
    let why = in_words(error);
    Error::Transport(if error.is_connect() { TransportError::NotConnected(why) } else { TransportError::NoAnswer(why) })
}

/// The innermost cause, which is the one that says something; a certificate problem with its remedy.
fn in_words(error: &reqwest::Error) -> String {
    let mut cause: &(dyn StdError + 'static) = error;
    loop {
        let io = cause.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::UnexpectedEof) {
            // The TLS library's own words end in a link for programmers.
            return "the connection was closed".to_owned();
        }
        let inner = io.and_then(std::io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return match tls {
                rustls::Error::InvalidCertificate(_) => format!(
                    "its certificate is not trusted ({tls}); if it comes from a private CA, name that in spec.caBundle"
                ),
                _ => format!("TLS failed: {tls}"),
            };
        }
        match inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| cause.source()) {
            Some(next) => cause = next,
            None => return cause.to_string(),
        }
    }
}

/// The certificates of a PEM text. Each is tried here, so that a bad one is told as a fault of the bundle.
fn certificates(pem: &str) -> Result<Vec<Certificate>, InvalidSettings> {
    let mut probe = RootCertStore::empty();
    let mut certificates = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = der.map_err(|error| InvalidSettings::CaBundle(error.to_string()))?;
        let of_this = |error: &dyn Display| format!("certificate {}: {error}", certificates.len() + 1);
        probe.add(der.clone()).map_err(|error| InvalidSettings::CaBundle(of_this(&error)))?;
        certificates.push(Certificate::from_der(&der).map_err(|error| InvalidSettings::CaBundle(of_this(&error)))?);
    }
    if certificates.is_empty() {
        return Err(InvalidSettings::CaBundle("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// Databricks attributes traffic by this: product first, then what it is made of.
fn user_agent(settings: &Settings) -> String {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let patch = if rust.matches('.').count() == 1 { ".0" } else { "" };
    format!(
        "{}/{} rust/{rust}{patch} os/{} auth/{}",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        settings.auth.kind(),
    )
}
