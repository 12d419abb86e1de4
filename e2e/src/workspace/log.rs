//! What was asked of the workspace: one entry per request, which tests read and wait on.
//!
//! It also answers the question the whole project turns on: were two requests with one idempotency token under way at
//! once? A request is under way from the moment it was received until it was answered or its client went away.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::clock::Millis;
use super::operations::Operation;

/// One request. Tokens and secrets are never in it, only the principal they stand for.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "facts about a request, each on its own")]
pub struct Entry {
    /// Counts up from 0.
    pub number: usize,
    /// When it was received, on the workspace's clock.
    pub received: Millis,
    /// When it was answered; none while under way, or when the client went away first.
    pub answered: Option<Millis>,
    /// `GET` or `POST`.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// The query, as sent.
    pub query: String,
    /// The API version in the path.
    pub version: Option<String>,
    /// What was asked.
    pub operation: Operation,
    /// Who asked, once the token was accepted.
    pub principal: Option<String>,
    /// `idempotency_token` of the body.
    pub idempotency_token: Option<String>,
    /// The run asked about, or the run that was answered with.
    pub run_id: Option<i64>,
    /// `User-Agent`.
    pub user_agent: String,
    /// `X-Databricks-Workspace-Id`.
    pub workspace_id: Option<String>,
    /// The runs in an answer of runs/list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<i64>,
    /// The status answered; none while under way, or when the connection was dropped instead.
    pub status: Option<u16>,
    /// The faults it met, in words.
    pub faults: Vec<String>,
    /// The effect has taken place (or was refused).
    pub handled: bool,
    /// The client closed the connection before it was answered.
    pub abandoned: bool,
    /// Another request with this token was under way when this one arrived.
    pub overlaps: bool,
    /// As `overlaps`, for a client that had gone away while the effect of its request was still to come.
    pub overlaps_abandoned: bool,
}

impl Entry {
    fn under_way(&self) -> bool {
        self.answered.is_none() && !self.abandoned
    }
}

/// What is known of a request when it arrives.
pub(super) struct Arrival {
    pub(super) received: Millis,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) version: Option<String>,
    pub(super) operation: Operation,
    pub(super) idempotency_token: Option<String>,
    pub(super) run_id: Option<i64>,
    pub(super) user_agent: String,
    pub(super) workspace_id: Option<String>,
}

/// All requests since the start.
#[derive(Debug)]
pub(super) struct Log {
    entries: Mutex<Vec<Entry>>,
    /// Those not finished, so that an arrival need not look through all.
    open: Mutex<Vec<usize>>,
    changes: watch::Sender<u64>,
    echo: bool,
}

impl Log {
    pub(super) fn new(echo: bool) -> Self {
        Self { entries: Mutex::default(), open: Mutex::default(), changes: watch::Sender::new(0), echo }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self, arrival: Arrival) -> usize {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = self.entries();
        open.retain(|number| {
            let entry = &entries[*number];
            entry.under_way() || !entry.handled
        });
        let same_token = |number: &&usize| {
            let other = &entries[**number];
            arrival.operation.starts_a_run()
                && other.operation.starts_a_run()
                && arrival.idempotency_token.is_some()
                && other.idempotency_token == arrival.idempotency_token
        };
        let overlaps = open.iter().filter(same_token).any(|number| entries[*number].under_way());
        let overlaps_abandoned =
            open.iter().filter(same_token).any(|number| entries[*number].abandoned && !entries[*number].handled);
        let number = entries.len();
        entries.push(Entry {
            number,
            received: arrival.received,
            answered: None,
            method: arrival.method,
            path: arrival.path,
            query: arrival.query,
            version: arrival.version,
            operation: arrival.operation,
            principal: None,
            idempotency_token: arrival.idempotency_token,
            run_id: arrival.run_id,
            user_agent: arrival.user_agent,
            workspace_id: arrival.workspace_id,
            listed: Vec::new(),
            status: None,
            faults: Vec::new(),
            handled: false,
            abandoned: false,
            overlaps,
            overlaps_abandoned,
        });
        open.push(number);
        drop((entries, open));
        self.changed();
        number
    }

    pub(super) fn update(&self, number: usize, edit: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries().get_mut(number) {
            edit(entry);
        }
        self.changed();
    }

    /// The request got its answer, or its connection was dropped instead (`status` none).
    pub(super) fn close(&self, number: usize, status: Option<u16>, now: Millis) {
        self.update(number, |entry| {
            entry.handled = true;
            if !entry.abandoned {
                entry.answered = Some(now);
                entry.status = status;
            }
        });
        if self.echo {
            self.print(number);
        }
    }

    #[expect(clippy::print_stderr, reason = "asked for by whoever started the fake for people")]
    fn print(&self, number: usize) {
        if let Some(entry) = self.entries().get(number) {
            let status = entry.status.map_or("dropped".to_owned(), |status| status.to_string());
            let run = entry.run_id.map(|id| format!(" run {id}")).unwrap_or_default();
            let who = entry.principal.as_deref().unwrap_or("-");
            let faults =
                if entry.faults.is_empty() { String::new() } else { format!(" [{}]", entry.faults.join(", ")) };
            eprintln!("{status} {} {} {who}{run}{faults}", entry.method, entry.path);
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn all(&self) -> Vec<Entry> {
        self.from(0)
    }

    /// Those from this number on.
    pub(super) fn from(&self, number: usize) -> Vec<Entry> {
        self.entries().get(number..).unwrap_or_default().to_vec()
    }

    pub(super) fn count(&self, matches: impl Fn(&Entry) -> bool) -> usize {
        self.entries().iter().filter(|entry| matches(entry)).count()
    }

    /// The first entry that matches, now or within `patience`.
    pub(super) async fn wait(&self, patience: Duration, matches: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                if let Some(entry) = self.entries().iter().find(|entry| matches(entry)) {
                    return entry.clone();
                }
                // The sender lives as long as the log that is borrowed here.
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(patience, found).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(token: &str) -> Arrival {
        Arrival {
            received: 0,
            method: "POST".to_owned(),
            path: "/api/2.1/jobs/run-now".to_owned(),
            query: String::new(),
            version: Some("2.1".to_owned()),
            operation: Operation::RunNow,
            idempotency_token: Some(token.to_owned()),
            run_id: None,
            user_agent: String::new(),
            workspace_id: None,
        }
    }

    #[test]
    fn two_posts_of_one_token_overlap_only_while_both_are_under_way() {
        let log = Log::new(false);
        let first = log.open(post("a"));
        log.open(post("b"));
        let second = log.open(post("a"));
        log.close(first, Some(200), 1);
        log.close(second, Some(200), 1);
        let third = log.open(post("a"));
        let overlaps: Vec<_> = log.all().iter().map(|entry| entry.overlaps).collect();
        assert_eq!(overlaps, [false, false, true, false]);
        assert_eq!((second, third), (2, 3));
    }

    #[test]
    fn a_client_that_went_away_is_told_apart() {
        let log = Log::new(false);
        let first = log.open(post("a"));
        log.update(first, |entry| entry.abandoned = true);
        let second = log.open(post("a"));
        let entry = &log.all()[second];
        assert!(!entry.overlaps && entry.overlaps_abandoned);
    }
}
