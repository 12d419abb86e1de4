//! The token of one client: one request for it at a time, never used near its end, renewed in the background while it
//! still serves, dropped when Databricks refuses it.
//!
//! Whoever asks while it is being fetched waits for that one fetch. A failed fetch answers everybody for a while
//! ([`Tokens::remember`]), so that a missing Secret is asked for once per workspace and not once per run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout_at;

use super::client::Deadline;
use super::clock::Clock;
use super::error::{CredentialsError, Error, TransportError};
use super::lifetime::Lifetime;

/// The longest a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a failure answers that only a person can end: a missing Secret, a refused one.
const REMEMBER_REFUSAL: Duration = Duration::from_secs(10);
/// How long a failure answers that may end by itself.
const REMEMBER_OUTAGE: Duration = Duration::from_secs(2);
/// How long a failure answers where the token endpoint asked for more time.
const REMEMBER_AT_MOST: Duration = Duration::from_mins(1);

/// Gets tokens: one implementation per kind of identity.
pub(super) trait Issuer: Send + Sync + 'static {
    /// A new token, from secrets that are read anew.
    fn issue(&self, deadline: Deadline) -> BoxFuture<'_, Result<Issued, Error>>;
    /// What was issued last was refused: nothing that is remembered may serve again.
    fn forget(&self);
}

/// What an issuer gives.
pub(super) struct Issued {
    pub(super) token: SecretString,
    pub(super) lives: Lives,
}

/// How long an issued token serves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lives {
    /// It expires after so long.
    For(Duration),
    /// Nobody knows; look again after so long.
    RereadAfter(Duration),
}

/// A token and which one it is, so that a refusal of an old one does not drop a new one.
#[derive(Clone)]
pub(super) struct Token {
    authorization: HeaderValue,
    generation: u64,
}

impl Token {
    /// The `Authorization` header, marked as sensitive.
    pub(super) fn authorization(&self) -> HeaderValue {
        self.authorization.clone()
    }
}

pub(super) struct Tokens {
    issuer: Box<dyn Issuer>,
    clock: Clock,
    state: Mutex<State>,
    /// Held by whoever fetches.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    held: Option<(Token, Lifetime)>,
    failure: Option<(Error, Duration)>,
    issued: u64,
}

enum Look {
    Use(Token),
    UseAndRenew(Token),
    Failed(Error),
    Fetch,
}

impl Tokens {
    pub(super) fn new(issuer: Box<dyn Issuer>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { issuer, clock, state: Mutex::default(), flight: tokio::sync::Mutex::default() })
    }

    /// The token, fetched if there is none that may be used. Every error says that nothing was sent.
    pub(super) async fn get(self: &Arc<Self>, deadline: Deadline) -> Result<Token, Error> {
        match self.look() {
            Look::Use(token) => return Ok(token),
            Look::UseAndRenew(token) => {
                self.renew_in_background();
                return Ok(token);
            }
            Look::Failed(error) => return Err(error),
            Look::Fetch => {}
        }
        let Ok(_flight) = timeout_at(deadline.instant(), self.flight.lock()).await else {
            return Err(too_late().before_sending());
        };
        match self.look() {
            Look::Use(token) | Look::UseAndRenew(token) => Ok(token),
            Look::Failed(error) => Err(error),
            Look::Fetch => {
                let outcome = self.fetch(deadline).await;
                outcome.inspect_err(|error| self.remember(error))
            }
        }
    }

    /// Drops this token: Databricks refused it.
    pub(super) fn reject(&self, token: &Token) {
        let mut state = self.state();
        if state.held.as_ref().is_some_and(|(held, _)| held.generation == token.generation) {
            state.held = None;
            state.failure = None;
            self.issuer.forget();
        }
    }

    fn look(&self) -> Look {
        let now = self.clock.now();
        let state = self.state();
        match (&state.held, &state.failure) {
            (Some((token, life)), _) if now < life.renew_from => Look::Use(token.clone()),
            (Some((token, life)), _) if now < life.usable_until => Look::UseAndRenew(token.clone()),
            (_, Some((error, until))) if now < *until => Look::Failed(error.clone()),
            _ => Look::Fetch,
        }
    }

    /// Renews while the old token serves. At most one at a time: who finds a fetch under way leaves it to that one.
    fn renew_in_background(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(_flight) = this.flight.try_lock() else { return };
            if !matches!(this.look(), Look::UseAndRenew(_)) {
                return;
            }
            if let Err(error) = this.fetch(Deadline::after(FETCH_TIMEOUT)).await {
                tracing::debug!(%error, "a token could not be renewed; the old one serves on");
                let now = this.clock.now();
                if let Some((_, life)) = &mut this.state().held {
                    life.renew_from = now + life.retry;
                }
            }
        });
    }

    async fn fetch(&self, deadline: Deadline) -> Result<Token, Error> {
        let asked = self.clock.now();
        let deadline = deadline.or_after(FETCH_TIMEOUT);
        let issued = timeout_at(deadline.instant(), self.issuer.issue(deadline))
            .await
            .unwrap_or_else(|_| Err(too_late()))
            .map_err(Error::before_sending)?;
        let life = match issued.lives {
            Lives::For(ttl) => Lifetime::of_token(asked, ttl).ok_or_else(|| {
                let why = format!("the token endpoint gave a token that ends in {} s", ttl.as_secs());
                Error::Transport(TransportError::UnreadableAnswer(why)).before_sending()
            })?,
            Lives::RereadAfter(time) => Lifetime::reread_after(asked, time),
        };
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {}", issued.token.expose_secret())).map_err(|_| {
                Error::Credentials(CredentialsError::Invalid("a token cannot stand in a header".to_owned()))
            })?;
        authorization.set_sensitive(true);
        let mut state = self.state();
        state.issued += 1;
        let token = Token { authorization, generation: state.issued };
        state.held = Some((token.clone(), life));
        state.failure = None;
        Ok(token)
    }

    fn remember(&self, error: &Error) {
        let until = self.clock.now() + remembered_for(error);
        self.state().failure = Some((error.clone(), until));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remembered_for(error: &Error) -> Duration {
    match error {
        Error::Credentials(_) | Error::Unauthenticated(_) | Error::Forbidden(_) => REMEMBER_REFUSAL,
        Error::NoToken(no) => remembered_for(&no.cause),
        // A login host has no limiter that would hold us back.
        Error::Throttled { retry_after: Some(asked), .. } => (*asked).clamp(REMEMBER_OUTAGE, REMEMBER_AT_MOST),
        _ => REMEMBER_OUTAGE,
    }
}

fn too_late() -> Error {
    Error::Transport(TransportError::NoAnswer("no token came in time".to_owned()))
}

#[cfg(test)]
mod tests;
