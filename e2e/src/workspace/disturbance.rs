//! What the faults that are set make of one request: of several that match, the delays add up and the first other one
//! wins.

use std::time::{Duration, Instant, SystemTime};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use tokio::sync::watch;

use super::errors::{ApiError, ErrorBody, LOGIN_PAGE};
use super::faults::{Fault, Kind};
use super::operations::Operation;
use super::random::Random;

/// What one request goes through.
#[derive(Debug, Default)]
pub(super) struct Disturbance {
    pub(super) before: Duration,
    pub(super) after: Duration,
    pub(super) held_before: Gates,
    pub(super) held_after: Gates,
    pub(super) instead: Option<Instead>,
    pub(super) spoils: Option<Kind>,
    pub(super) names: Vec<String>,
}

/// What a request waits for: the faults that hold it, until they are cleared.
#[derive(Debug, Default)]
pub(super) struct Gates(Vec<watch::Receiver<()>>);

impl Gates {
    pub(super) async fn open(self) {
        for mut gate in self.0 {
            // Nothing is ever sent. It ends when the sender goes, and that goes with its fault.
            while gate.changed().await.is_ok() {}
        }
    }
}

/// What is answered in place of doing anything.
#[derive(Debug)]
pub(super) enum Instead {
    Error(ApiError),
    Page(&'static str, &'static str),
    Answer(Written),
    Redirect,
    Reset,
}

/// An answer that a fault writes.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

/// What a request holds that an answer may repeat.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent<'a> {
    pub(super) authorization: Option<&'a str>,
    pub(super) body: &'a str,
}

impl<'a> Sent<'a> {
    pub(super) fn new(headers: &'a HeaderMap, body: &'a [u8]) -> Self {
        let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        Self { authorization, body: std::str::from_utf8(body).unwrap_or_default() }
    }

    fn fill(self, template: &str) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let within = |text: &str| quoted(text).trim_matches('"').to_owned();
        let header = self.authorization.unwrap_or_default();
        let proof = header.split_once(' ').map(|(_, proof)| proof).unwrap_or_default();
        let decoded =
            data_encoding::BASE64.decode(proof.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        template
            .replace("{authorization}", &within(header))
            .replace("{proof}", &within(decoded.as_deref().unwrap_or(proof)))
            .replace("{body}", &within(self.body))
    }
}

/// The faults that are set.
#[derive(Debug, Default)]
pub(super) struct Faults {
    next: u64,
    set: Vec<Armed>,
}

#[derive(Debug)]
struct Armed {
    id: u64,
    fault: Fault,
    until: Option<Instant>,
    seen: u32,
    hit: u32,
    /// Held requests wait for its end.
    gate: watch::Sender<()>,
}

/// What a request is, as far as faults care.
pub(super) struct Target<'a> {
    pub(super) operation: Operation,
    pub(super) run_id: Option<i64>,
    pub(super) idempotency_token: Option<&'a str>,
    pub(super) sent: Sent<'a>,
}

impl Faults {
    pub(super) fn set(&mut self, fault: Fault) -> u64 {
        let until = fault.for_ms.map(|span| Instant::now() + Duration::from_millis(span));
        self.next += 1;
        self.set.push(Armed { id: self.next, fault, until, seen: 0, hit: 0, gate: watch::Sender::new(()) });
        self.next
    }

    pub(super) fn clear(&mut self, id: Option<u64>) {
        self.set.retain(|armed| id.is_some_and(|id| armed.id != id));
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u64, u32, &Fault)> {
        self.set.iter().map(|armed| (armed.id, armed.hit, &armed.fault))
    }

    pub(super) fn hits(&self, id: u64) -> u32 {
        self.set.iter().find(|armed| armed.id == id).map_or(0, |armed| armed.hit)
    }

    /// What the next request goes through. Counts it.
    pub(super) fn meet(&mut self, target: &Target<'_>, random: &mut Random, now: SystemTime) -> Disturbance {
        let mut met = Disturbance::default();
        for armed in &mut self.set {
            if armed.strikes(target, random) {
                met.names.push(armed.fault.kind.name());
                match armed.fault.kind {
                    Kind::HoldEffect => met.held_before.0.push(armed.gate.subscribe()),
                    Kind::HoldAnswer => met.held_after.0.push(armed.gate.subscribe()),
                    ref kind => met.add(kind, target.sent, now),
                }
            }
        }
        met
    }
}

impl Armed {
    fn strikes(&mut self, target: &Target<'_>, random: &mut Random) -> bool {
        let Fault { operations, run_id, idempotency_token, .. } = &self.fault;
        let meant = (operations.is_empty() || operations.contains(&target.operation))
            && (run_id.is_none() || *run_id == target.run_id)
            && (idempotency_token.is_none() || idempotency_token.as_deref() == target.idempotency_token)
            && self.until.is_none_or(|until| Instant::now() < until)
            && self.fault.times.is_none_or(|times| self.hit < times);
        if !meant {
            return false;
        }
        self.seen += 1;
        let strikes = self.seen > self.fault.skip && self.fault.per_mille.is_none_or(|share| random.hits(share));
        self.hit += u32::from(strikes);
        strikes
    }
}

impl Disturbance {
    fn add(&mut self, kind: &Kind, sent: Sent<'_>, now: SystemTime) {
        let instead = match kind {
            Kind::Delay { before_ms, after_ms } => {
                self.before += Duration::from_millis(*before_ms);
                self.after += Duration::from_millis(*after_ms);
                return;
            }
            // They need the fault itself: see `meet`.
            Kind::HoldEffect | Kind::HoldAnswer => return,
            Kind::LoseAnswer | Kind::Truncate | Kind::Endless | Kind::Drip { .. } => {
                self.spoils.get_or_insert_with(|| kind.clone());
                return;
            }
            Kind::Status { status, code, message, retry_after } => {
                let body = code
                    .as_ref()
                    .map_or(ErrorBody::Empty, |code| ErrorBody::Api { code: code.clone(), message: message.clone() });
                Instead::Error(ApiError {
                    status: *status,
                    body,
                    retry_after: retry_after.map(|retry_after| retry_after.header(now)),
                })
            }
            Kind::Answer { status, content_type, body, headers } => {
                let kind = ("content-type".to_owned(), content_type.clone());
                let headers = headers.iter().cloned().chain([kind]).collect();
                Instead::Answer(Written { status: *status, headers, body: sent.fill(body) })
            }
            Kind::LoginPage => Instead::Page("text/html; charset=utf-8", LOGIN_PAGE),
            Kind::Garbage => Instead::Page("application/json", "{\"run_id\": 12, \u{fffd}\u{0}<<"),
            Kind::Redirect => Instead::Redirect,
            Kind::Reset => Instead::Reset,
        };
        self.instead.get_or_insert(instead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meet(faults: &mut Faults, operation: Operation) -> Disturbance {
        let sent = Sent { authorization: Some("Bearer b"), body: r#"{"a":1}"# };
        let target = Target { operation, run_id: Some(5), idempotency_token: None, sent };
        faults.meet(&target, &mut Random::seeded(1), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_fault_strikes_its_own_call_as_often_as_asked_and_from_the_nth_on() {
        let mut faults = Faults::default();
        let id = faults.set(Fault::on(Operation::RunNow, Kind::Reset).from_nth(2).times(2));
        assert!(meet(&mut faults, Operation::GetRun).instead.is_none());
        let struck: Vec<_> = (0..5).map(|_| meet(&mut faults, Operation::RunNow).instead.is_some()).collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert_eq!(faults.hits(id), 2);
    }

    #[test]
    fn delays_add_up_and_the_first_other_fault_wins() {
        let mut faults = Faults::default();
        faults.set(Fault::everywhere(Kind::late_effect(Duration::from_millis(20))));
        faults.set(Fault::everywhere(Kind::Delay { before_ms: 5, after_ms: 7 }));
        faults.set(Fault::everywhere(Kind::LoginPage));
        faults.set(Fault::everywhere(Kind::Reset));
        let met = meet(&mut faults, Operation::GetRun);
        assert_eq!((met.before.as_millis(), met.after.as_millis()), (25, 7));
        assert!(matches!(met.instead, Some(Instead::Page(..))));
        assert_eq!(met.names.len(), 4);
    }

    #[test]
    fn an_answer_repeats_what_was_sent_as_a_text_of_json() {
        let mut faults = Faults::default();
        let body = r#"{"message": "{authorization} and {body}"}"#.to_owned();
        let content_type = "application/json".to_owned();
        faults.set(Fault::everywhere(Kind::Answer { status: 400, content_type, body, headers: Vec::new() }));
        let met = meet(&mut faults, Operation::GetRun);
        let Some(Instead::Answer(written)) = met.instead else { panic!("{met:?}") };
        let read: serde_json::Value = serde_json::from_str(&written.body).unwrap_or_default();
        assert_eq!(read["message"], r#"Bearer b and {"a":1}"#);
    }

    #[test]
    fn a_cleared_fault_strikes_no_more() {
        let mut faults = Faults::default();
        let first = faults.set(Fault::everywhere(Kind::Reset));
        faults.set(Fault::everywhere(Kind::LoseAnswer));
        faults.clear(Some(first));
        assert!(meet(&mut faults, Operation::GetRun).instead.is_none());
        faults.clear(None);
        assert!(meet(&mut faults, Operation::GetRun).spoils.is_none());
    }
}
