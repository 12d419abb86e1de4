//! The inner parts of this room that read what somebody else has written, for the fuzz targets in `crate::fuzzing`. It is
//! compiled for fuzzing and for tests alone.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::calls::{Principal, named, with_token};
use super::classify::classify;
use super::error::Error;
use super::host::Host;
use super::host_policy::{HostPolicy, NotAllowed};
use super::identity::fuzzing as identity;
use super::ids::IdempotencyToken;
use super::lifetime::Lifetime;
use super::redact::cut_out;
use super::transport::{Answer, evidence, server_time};

/// An answer of HTTP, from a text such as `429`, headers a line each, an empty line, the body. Anything is read as one.
#[derive(Debug)]
pub struct HttpAnswer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What was made of an answer.
#[derive(Debug)]
pub struct Judged {
    /// The error; none if the answer is a success to be read.
    pub error: Option<Error>,
    /// How long to wait, as the answer says.
    pub retry_after: Option<Duration>,
    /// When it was given, by its own clock.
    pub server_time: Option<SystemTime>,
}

impl HttpAnswer {
    /// Reads one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let line = |bytes: &'_ [u8]| bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (first, mut rest) = bytes.split_at(line(bytes));
        let status = std::str::from_utf8(first).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(500);
        let mut headers = HeaderMap::new();
        while let Some((_, after)) = rest.split_first() {
            let (header, more) = after.split_at(line(after));
            rest = more;
            if header.trim_ascii().is_empty() {
                break;
            }
            let mut parts = header.splitn(2, |byte| *byte == b':').map(<[u8]>::trim_ascii);
            let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
            let value = parts.next().and_then(|value| HeaderValue::from_bytes(value).ok());
            if let (Some(name), Some(value)) = (name, value) {
                headers.insert(name, value);
            }
        }
        let body = rest.split_first().map_or(&[][..], |(_, body)| body).to_vec();
        Self { status, headers, body }
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Judges it as the transport does, on behalf of who sent these secrets.
    #[must_use]
    pub fn judged(&self, secrets: &[&str], now: SystemTime) -> Judged {
        let server_time = server_time(&self.headers);
        let evidence = evidence(self.status, &self.headers, &self.body, server_time.unwrap_or(now));
        let verdict = classify(&evidence);
        let retry_after = verdict.as_ref().map_or(evidence.retry_after, |verdict| verdict.retry_after);
        let error = verdict.map(|mut verdict| {
            cut_out(&mut verdict.error, secrets.iter().copied());
            verdict.error
        });
        Judged { error, retry_after, server_time }
    }
}

/// What an error means where a token was asked for.
#[must_use]
pub fn refused_token(error: Error) -> Error {
    identity::refused(error)
}

/// Reads an answer that gives a token: the token, and how long it serves.
pub fn token(body: &[u8]) -> Result<(String, Duration), Error> {
    identity::token(&answer(body))
}

/// From when on a token that lives so long is renewed and not used any more, and the wait after a failure in between; none
/// if it is not used at all.
#[must_use]
pub fn lifetime(life: Duration) -> Option<[Duration; 3]> {
    let lifetime = Lifetime::of_token(Duration::ZERO, life)?;
    Some([lifetime.renew_from, lifetime.usable_until, lifetime.retry])
}

/// The path of the token endpoint that a workspace's document names, or why it is not used.
pub fn token_endpoint(host: &Host, body: &[u8]) -> Result<Result<String, String>, Error> {
    identity::endpoint(host, &answer(body))
}

/// What an assertion says of itself, as a remedy tells it.
#[must_use]
pub fn claims(assertion: &str) -> Option<String> {
    identity::claims(assertion)
}

/// The path of a directory's token endpoint on the login host.
#[must_use]
pub fn directory(tenant_id: &str) -> Option<String> {
    identity::directory(tenant_id)
}

/// Who a credential belongs to, from the name that an answer gives.
#[must_use]
pub fn principal(name: &str) -> Option<String> {
    match named(name) {
        Principal::Named(name) => Some(name),
        Principal::Untold | Principal::NotAsked => None,
    }
}

/// A request's body with the idempotency token put in, as it is sent.
pub fn sent(body: &str, token: &str) -> Result<String, String> {
    let token = IdempotencyToken::new(token).map_err(|error| error.to_string())?;
    with_token(body, &token).map_err(str::to_owned)
}

/// Whether a connection to this host may go to this address.
pub fn permits(policy: &HostPolicy, host: &Host, address: IpAddr) -> Result<(), NotAllowed> {
    policy.permits(host, address)
}

fn answer(body: &[u8]) -> Answer {
    Answer { server_time: None, body: body.to_vec() }
}
