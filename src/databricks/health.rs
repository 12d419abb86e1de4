//! Whether a workspace answers: asked by every call before it is sent, told by every call after, watched by whoever
//! says so in a condition. The rules are `breaker`'s.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::breaker::{Breaker, News};
pub use super::breaker::{Says, says};
use super::clock::Clock;
use super::error::{CredentialsError, Error};
use super::limiter::Lane;

/// Those who are told a time come up to this share of it later: a thousand of them must not come at one instant.
const JITTER: f64 = 0.05;

/// Whether a workspace answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// It does, or nobody has found otherwise yet.
    #[default]
    Answering,
    /// It does not. The same value from the begin of an outage to its end, whatever the outage is made of.
    Outage {
        /// What the call came to that made it an outage.
        error: Error,
        /// When the first call without an answer ended.
        since: SystemTime,
    },
}

/// The breaker of one client, and whether its credentials are good.
pub(super) struct Gate {
    breaker: Mutex<Breaker>,
    clock: Clock,
    health: watch::Sender<Health>,
    refused: watch::Sender<bool>,
}

impl Gate {
    pub(super) fn new(clock: Clock) -> Self {
        Self { breaker: Mutex::default(), clock, health: watch::Sender::default(), refused: watch::Sender::default() }
    }

    /// Whether a call would be sent now; else [`Error::NotNow`].
    pub(super) fn may_pass(&self, lane: Lane) -> Result<(), Error> {
        not_now(self.breaker().wait(lane, self.clock.now()))
    }

    /// The same for a call that is sent right after.
    pub(super) fn pass(&self, lane: Lane) -> Result<(), Error> {
        not_now(self.breaker().begin(lane, self.clock.now()))
    }

    /// Whether the breaker is open.
    pub(super) fn is_open(&self) -> bool {
        self.breaker().is_open()
    }

    /// The time, for [`Self::learn`].
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// How a call has ended that was sent at this time.
    pub(super) fn learn<T>(&self, sent: Duration, outcome: &Result<T, Error>) {
        // Held over the telling, so that begin and end are told in their order.
        let mut breaker = self.breaker();
        let says = says(outcome.as_ref().map(drop));
        if says == Says::Answers {
            let refused = outcome.as_ref().is_err_and(refuses_credentials);
            self.refused.send_if_modified(|known| std::mem::replace(known, refused) != refused);
        }
        if says == Says::Fails && breaker.answered_since(sent) {
            return;
        }
        match (breaker.learn(says, self.clock.now()), outcome) {
            (Some(News::Outage { lasts }), Err(error)) => {
                let since = SystemTime::now().checked_sub(lasts).unwrap_or(SystemTime::UNIX_EPOCH);
                self.health.send_replace(Health::Outage { error: error.clone(), since });
            }
            (Some(News::Over), _) => drop(self.health.send_replace(Health::Answering)),
            _ => {}
        }
    }

    /// `changed()` on it tells of the begin and the end of an outage.
    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Whether the last call that was answered was refused for its credentials, or there were none to send.
    pub(super) fn refused(&self) -> watch::Receiver<bool> {
        self.refused.subscribe()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a call that failed like this says that the credentials are no good, or not to be had. Every other call of the same
/// identity is bound to fail like it.
fn refuses_credentials(error: &Error) -> bool {
    match error {
        // Where they are unavailable it is the cluster that gave no answer.
        Error::Credentials(error) => !matches!(error, CredentialsError::Unavailable(_)),
        Error::Unauthenticated(_) => true,
        Error::NoToken(no) => match &no.cause {
            cause @ Error::Credentials(_) => refuses_credentials(cause),
            cause => says(Err(cause)) == Says::Answers,
        },
        Error::NotFound(_)
        | Error::NoSuchRoute(_)
        | Error::Rejected(_)
        | Error::Forbidden(_)
        | Error::Throttled { .. }
        | Error::QuotaExceeded(_)
        | Error::Unavailable(_)
        | Error::Transport(_)
        | Error::WrongHost(_)
        | Error::HostNotAllowed(_)
        | Error::NotNow(_) => false,
    }
}

fn not_now(wait: Option<Duration>) -> Result<(), Error> {
    wait.map_or(Ok(()), |wait| Err(Error::NotNow(wait.mul_f64(1.0 + JITTER * rand::random::<f64>()))))
}

#[cfg(test)]
mod tests {
    use super::super::clock::tests::ManualClock;
    use super::*;
    use crate::databricks::error::{ApiError, NoToken, TransportError};

    #[test]
    fn an_outage_is_one_value_from_its_begin_to_its_end_whatever_it_is_made_of() {
        let clock = ManualClock::default();
        let gate = Gate::new(clock.clock());
        let mut health = gate.health();
        gate.learn(gate.now(), &Ok(()));
        let errors = [
            Error::Unavailable(ApiError { http_status: 503, ..ApiError::default() }),
            Error::Transport(TransportError::NoAnswer("reset".to_owned())),
            Error::Throttled { retry_after: None, api: ApiError { http_status: 429, ..ApiError::default() } },
            Error::WrongHost("a web page".to_owned()),
        ];
        let mut told = Vec::new();
        for error in errors.into_iter().cycle().take(400) {
            clock.turn(Duration::from_secs(1));
            if gate.pass(Lane::Poll).is_ok() {
                gate.learn::<()>(gate.now(), &Err(error));
            }
            if health.has_changed().unwrap() {
                told.push(health.borrow_and_update().clone());
            }
        }
        assert!(matches!(told[..], [Health::Outage { .. }]), "{told:?}");
        gate.learn(gate.now(), &Ok(()));
        assert_eq!(*health.borrow_and_update(), Health::Answering);
    }

    #[test]
    fn refused_credentials_are_told_once_and_until_a_call_is_answered_otherwise() {
        let gate = Gate::new(ManualClock::default().clock());
        let mut refused = gate.refused();
        let no_token = |cause| Error::NoToken(Box::new(NoToken { cause, from: None, remedy: None }));
        let denied = || Error::Unauthenticated(ApiError { http_status: 401, ..ApiError::default() });
        let down = || Error::Unavailable(ApiError { http_status: 503, ..ApiError::default() });
        let mut told = Vec::new();
        for outcome in [
            Ok(()),
            Err(denied()),
            Err(no_token(denied())),
            // Says nothing of credentials, whoever does not answer.
            Err(down()),
            Err(no_token(down())),
            Err(denied()),
            Err(Error::NotFound(ApiError::default())),
            Err(no_token(Error::Credentials(CredentialsError::NotFound("no Secret `db`".to_owned())))),
            Ok(()),
        ] {
            gate.learn(gate.now(), &outcome);
            if refused.has_changed().unwrap() {
                told.push(*refused.borrow_and_update());
            }
        }
        assert_eq!(told, [true, false, true, false]);
    }

    #[test]
    fn calls_that_hang_in_an_outage_and_end_after_it_begin_no_other() {
        let clock = ManualClock::default();
        let gate = Gate::new(clock.clock());
        gate.learn(gate.now(), &Ok(()));
        let sent = gate.now();
        clock.turn(Duration::from_secs(15));
        gate.learn(gate.now(), &Ok(()));
        clock.turn(Duration::from_secs(15));
        for _ in 0..100 {
            gate.learn::<()>(sent, &Err(Error::Transport(TransportError::NoAnswer("nothing within 30 s".to_owned()))));
        }
        assert_eq!(*gate.health().borrow(), Health::Answering);
        assert_eq!(gate.may_pass(Lane::Poll), Ok(()));
    }
}
