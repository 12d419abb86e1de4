//! What is said of a workspace: its status, and what in it is worth an Event. An outage is one story from its first failure
//! to the first answer, however its errors change meanwhile. Pure: told everything, it calls nobody.

use k8s_openapi::jiff::Timestamp;

use crate::api::conditions::{READY, RECONCILING, Reason, STALLED, set_condition};
use crate::api::workspace::DatabricksWorkspaceStatus;
use crate::databricks::Principal;
use crate::databricks::error::{CredentialsError, Error};
use crate::lifecycle::Severity;

/// Why a workspace cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) nature: Nature,
}

/// What can be expected of an obstacle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// A call got no answer, which may be a hiccup.
    Fails,
    /// All calls together get none.
    Outage,
    /// The workspace answers and asks for patience, which says nothing against it.
    Busy,
    /// It passes when somebody brings what is missing.
    Waits,
    /// Nothing happens until the object, or the operator's start, is another one.
    Stands,
}

impl Obstacle {
    /// What only a change of the object or of the operator's flags can mend.
    pub(super) fn stands(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), nature: Nature::Stands }
    }

    /// What a failed call means for the workspace.
    pub(super) fn of(error: &Error) -> Self {
        let (reason, nature) = meaning(error);
        Self { reason, message: error.told(), nature }
    }

    /// The same, found by all calls together.
    pub(super) fn for_certain(self) -> Self {
        Self { nature: Nature::Outage, ..self }
    }

    /// The same outage as the one that is told already: its errors may change from one try to the next, and that is no
    /// news.
    pub(super) fn in_the_same_outage(self, told: Option<(Reason, String)>) -> Self {
        match told {
            Some((reason, message)) if self.nature.passes_by_itself() && OF_OUTAGES.contains(&reason) => {
                Self { reason, message, ..self }
            }
            _ => self,
        }
    }
}

impl Nature {
    fn passes_by_itself(self) -> bool {
        matches!(self, Self::Fails | Self::Outage | Self::Busy)
    }
}

/// The reasons under which outages are told.
const OF_OUTAGES: [Reason; 3] = [Reason::Unreachable, Reason::Throttled, Reason::QuotaExceeded];

fn meaning(error: &Error) -> (Reason, Nature) {
    match error {
        Error::NoToken(no) => meaning(&no.cause),
        Error::Credentials(CredentialsError::NotFound(_)) => (Reason::CredentialsNotFound, Nature::Waits),
        Error::Credentials(_) => (Reason::CredentialsUnusable, Nature::Waits),
        Error::Unauthenticated(_) => (Reason::Unauthorized, Nature::Waits),
        Error::Forbidden(_) => (Reason::Forbidden, Nature::Waits),
        Error::Throttled { .. } | Error::NotNow(_) => (Reason::Throttled, Nature::Busy),
        Error::QuotaExceeded(_) => (Reason::QuotaExceeded, Nature::Busy),
        Error::HostNotAllowed(_) => (Reason::HostNotAllowed, Nature::Waits),
        Error::Unavailable(_) | Error::Transport(_) => (Reason::Unreachable, Nature::Fails),
        Error::NotFound(_) | Error::NoSuchRoute(_) | Error::Rejected(_) | Error::WrongHost(_) => {
            (Reason::Unreachable, Nature::Waits)
        }
    }
}

/// Why the workspace cannot be used, as its status says; none if it can, or nobody knows.
pub(super) fn told_obstacle(status: Option<&DatabricksWorkspaceStatus>) -> Option<(Reason, String)> {
    let ready = status?.conditions.iter().find(|condition| condition.type_ == READY && condition.status == "False")?;
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == ready.reason)?;
    Some((*reason, ready.message.clone()))
}

/// What a check has shown.
pub(super) struct Finding<'a> {
    /// The generation of the spec that was checked.
    pub(super) generation: i64,
    /// The way of `spec.auth`.
    pub(super) auth: Option<&'a str>,
    /// Who the credential belongs to.
    pub(super) principal: Principal,
    /// That it can be used, in words, or why not.
    pub(super) outcome: &'a Result<String, Obstacle>,
}

/// What is worth an Event and a line in the log: that a workspace has become usable, or has ceased to be, or is so for
/// another reason that asks for another remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) severity: Severity,
    pub(super) reason: Reason,
    pub(super) note: String,
}

/// The status that tells a finding, and what in it is news.
pub(super) fn tell(
    before: Option<&DatabricksWorkspaceStatus>,
    finding: &Finding<'_>,
    now: Timestamp,
) -> (DatabricksWorkspaceStatus, Option<News>) {
    let (ready, other, reason, message) = match finding.outcome {
        Ok(message) => ("True", None, Reason::WorkspaceReady, message),
        Err(Obstacle { reason, message, nature: Nature::Stands }) => ("False", Some(STALLED), *reason, message),
        Err(Obstacle { reason, message, .. }) => ("False", Some(RECONCILING), *reason, message),
    };
    let mut status = before.cloned().unwrap_or_default();
    let known = status.conditions.iter().find(|condition| condition.type_ == READY);
    let is_news = known.is_none_or(|known| known.status != ready || known.reason != reason.as_str());
    let mut set = |kind: &str, value: &str| {
        set_condition(&mut status.conditions, kind, value, reason, message, finding.generation, now);
    };
    set(READY, ready);
    if let Some(other) = other {
        set(other, "True");
    }
    let gone = |kind: &str| [RECONCILING, STALLED].contains(&kind) && other != Some(kind);
    status.conditions.retain(|condition| !gone(&condition.type_));
    status.observed_generation = Some(finding.generation);
    status.auth_kind = finding.auth.map(str::to_owned);
    match &finding.principal {
        Principal::Named(name) => status.principal = Some(name.clone()),
        Principal::Untold => status.principal = None,
        Principal::NotAsked => {}
    }
    let severity = if ready == "True" { Severity::Normal } else { Severity::Warning };
    let news = is_news.then(|| News { severity, reason, note: message.clone() });
    (status, news)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::databricks::error::{ApiError, TransportError};

    fn unavailable() -> Error {
        Error::Unavailable(ApiError { http_status: 503, ..ApiError::default() })
    }

    fn reset() -> Error {
        Error::Transport(TransportError::NoAnswer("connection reset".to_owned()))
    }

    fn throttled() -> Error {
        let api = ApiError { http_status: 429, ..ApiError::default() };
        Error::Throttled { retry_after: Some(Duration::from_secs(1)), api }
    }

    fn no_secret() -> Error {
        Error::Credentials(CredentialsError::NotFound("Secret `db` is not there".to_owned()))
    }

    const READY_NOW: &str = "a token could be had";

    /// Tells one finding after the other; the status after each, and whether it was news.
    fn story(outcomes: impl IntoIterator<Item = Result<(), Error>>) -> Vec<(DatabricksWorkspaceStatus, Option<News>)> {
        let mut told = Vec::new();
        let mut status = None;
        for (second, outcome) in (10..).zip(outcomes) {
            let outcome = match outcome {
                Ok(()) => Ok(READY_NOW.to_owned()),
                Err(error) => Err(Obstacle::of(&error).in_the_same_outage(told_obstacle(status.as_ref()))),
            };
            let finding =
                Finding { generation: 1, auth: Some("pat"), principal: Principal::NotAsked, outcome: &outcome };
            let (next, news) = tell(status.as_ref(), &finding, Timestamp::from_second(second).unwrap());
            status = Some(next.clone());
            told.push((next, news));
        }
        told
    }

    #[test]
    fn an_outage_is_told_once_when_it_begins_and_once_when_it_ends_whatever_its_errors() {
        let told =
            story([Ok(()), Err(unavailable()), Err(reset()), Err(throttled()), Err(unavailable()), Ok(()), Ok(())]);
        let news: Vec<_> = told.iter().map(|(_, news)| news.as_ref().map(|news| news.reason)).collect();
        let (up, down) = (Some(Reason::WorkspaceReady), Some(Reason::Unreachable));
        assert_eq!(news, [up, down, None, None, None, up, None]);
        assert_eq!(told[1].0, told[4].0, "nothing is written during the outage");
        assert_eq!(told[5].0, told[6].0, "nor after it");
    }

    #[test]
    fn what_asks_for_another_remedy_is_told_within_an_outage_too() {
        let told = story([Err(unavailable()), Err(no_secret()), Err(no_secret()), Err(throttled())]);
        let news: Vec<_> = told.iter().map(|(_, news)| news.as_ref().map(|news| news.reason)).collect();
        let missing = Some(Reason::CredentialsNotFound);
        assert_eq!(news, [Some(Reason::Unreachable), missing, None, Some(Reason::Throttled)]);
    }

    #[test]
    fn what_passes_is_reconciling_and_what_only_a_person_can_mend_is_stalled() {
        let outcome = Err(Obstacle::stands(Reason::HostNotAllowed, "not allowed"));
        let finding = Finding { generation: 1, auth: None, principal: Principal::NotAsked, outcome: &outcome };
        let (stalled, _) = tell(None, &finding, Timestamp::from_second(1).unwrap());
        let kinds = |status: &DatabricksWorkspaceStatus| {
            status.conditions.iter().map(|condition| condition.type_.clone()).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&stalled), [READY, STALLED]);
        let outcome = Err(Obstacle::of(&no_secret()));
        let finding = Finding { generation: 1, auth: None, principal: Principal::NotAsked, outcome: &outcome };
        let (waiting, _) = tell(Some(&stalled), &finding, Timestamp::from_second(2).unwrap());
        assert_eq!(kinds(&waiting), [READY, RECONCILING]);
        let outcome = Ok(READY_NOW.to_owned());
        let finding = Finding {
            generation: 1,
            auth: Some("pat"),
            principal: Principal::Named("me".to_owned()),
            outcome: &outcome,
        };
        let (well, _) = tell(Some(&waiting), &finding, Timestamp::from_second(3).unwrap());
        assert_eq!(kinds(&well), [READY]);
        assert_eq!((well.auth_kind.as_deref(), well.principal.as_deref()), (Some("pat"), Some("me")));
    }
}
