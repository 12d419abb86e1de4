//! What a test does with a workspace beside calling its API: write jobs and scripts, set faults, move the clock, hand out
//! tokens, and read what happened.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::clock::{Clock, Millis, millis};
use super::exchange::Shared;
use super::faults::Fault;
use super::federation::FederationPolicy;
use super::job_handle::JobHandle;
use super::jobs::Job;
use super::log::Entry;
use super::operations::Operation;
use super::records::RunRecord;
use super::script::Script;
use super::state::Settings;
use super::tokens::{Access, Client};

/// How long [`Control::wait_for_request`] waits before it gives up.
const PATIENCE: Duration = Duration::from_mins(3);

/// A handle on a workspace; clones are the same workspace. `Workspace` has all its methods.
#[derive(Clone)]
pub struct Control(pub(super) Arc<Shared>);

/// Nothing that was waited for came. The text shows what did.
#[derive(Debug, thiserror::Error)]
#[error("no {operation:?} that matches within {} s; the workspace was asked:\n{asked}", PATIENCE.as_secs())]
pub struct NoSuchRequest {
    operation: Operation,
    asked: String,
}

impl Control {
    /// The job with this name, made if there is none: one notebook task `main` that does what its name says
    /// ([`super::GUIDE`]).
    pub fn job(&self, name: &str) -> JobHandle {
        let known = self.0.state().jobs.values().find(|job| job.name == name).map(|job| job.id);
        match known {
            Some(id) => JobHandle { control: self.clone(), id },
            None => self.another_job(name),
        }
    }

    /// A further job with this name: names need not be unique.
    pub fn another_job(&self, name: &str) -> JobHandle {
        let mut state = self.0.state();
        let (id, now) = (state.new_id(), state.clock.now());
        state.jobs.insert(id, Job::named(id, name, now));
        JobHandle { control: self.clone(), id }
    }

    /// Runs submitted with a body this answers `Some` for follow that script. The newest such rule wins.
    pub fn on_submit(&self, script: impl Fn(&Value) -> Option<Script> + Send + 'static) {
        self.0.state().submit_scripts.push(Box::new(script));
    }

    /// Runs submitted under this `run_name` follow this script.
    pub fn on_run_name(&self, run_name: &str, script: Script) {
        let run_name = run_name.to_owned();
        self.on_submit(move |body| {
            let named = body.get("run_name").and_then(Value::as_str) == Some(run_name.as_str());
            named.then(|| script.clone())
        });
    }

    /// Changes how the workspace behaves.
    pub fn configure(&self, edit: impl FnOnce(&mut Settings)) {
        edit(&mut self.0.state().settings);
    }

    /// The workspace's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.0.state().clock.clone()
    }

    /// Sets a fault. The answer is its number, for [`Control::clear_fault`] and [`Control::fault_hits`].
    #[expect(clippy::must_use_candidate, reason = "most faults are never asked about again")]
    pub fn fault(&self, fault: Fault) -> u64 {
        self.0.state().faults.set(fault)
    }

    /// Takes one fault back.
    pub fn clear_fault(&self, id: u64) {
        self.0.state().faults.clear(Some(id));
    }

    /// Takes all faults back.
    pub fn clear_faults(&self) {
        self.0.state().faults.clear(None);
    }

    /// How many requests a fault has disturbed.
    #[must_use]
    pub fn fault_hits(&self, id: u64) -> u32 {
        self.0.state().faults.hits(id)
    }

    /// The faults that are set: number, requests disturbed, fault.
    #[must_use]
    pub fn faults(&self) -> Vec<(u64, u32, Fault)> {
        let state = self.0.state();
        state.faults.all().map(|(id, hits, fault)| (id, hits, fault.clone())).collect()
    }

    /// Accepts a personal access token, for ever or for a time.
    pub fn accept_token(&self, token: &str, principal: &str, lifetime: Option<Duration>) {
        let mut state = self.0.state();
        let expires = lifetime.map(|lifetime| state.clock.now() + millis(lifetime));
        state.tokens.accept(token, principal, expires);
    }

    /// Refuses a token from now on.
    pub fn revoke_token(&self, token: &str) {
        self.0.state().tokens.revoke(token);
    }

    /// Refuses every token this principal holds by now; the token endpoint gives new ones.
    pub fn revoke_tokens_of(&self, principal: &str) {
        self.0.state().tokens.revoke_all_of(principal);
    }

    /// An OAuth client. Its tokens act as the principal `client_id`. A known client gets a new secret.
    pub fn accept_client(&self, client_id: &str, secret: &str) {
        let client = Client { secret: secret.to_owned(), principal: client_id.to_owned() };
        self.0.state().tokens.clients.insert(client_id.to_owned(), client);
    }

    /// Gives the service principal with this application id access tokens for the tokens this policy describes. True
    /// unless it has as many policies as one may have.
    #[expect(clippy::must_use_candidate, reason = "only who adds very many wants to know")]
    pub fn federate(&self, client_id: &str, policy: FederationPolicy) -> bool {
        self.0.state().federation.add(client_id, policy)
    }

    /// Takes all federation policies of a service principal away. The access tokens it holds stay good.
    pub fn unfederate(&self, client_id: &str) {
        self.0.state().federation.forget(client_id);
    }

    /// Every credential that is known here: all that was ever sent to the workspace or to the login host beside it, good or
    /// not, and every access token that either gave or was told to accept.
    #[must_use]
    pub fn credentials(&self) -> BTreeSet<String> {
        let mut known = self.0.proofs.all();
        known.extend(self.0.state().tokens.all().map(str::to_owned));
        known
    }

    /// What a principal may do: with one job, or with the workspace.
    pub fn allow(&self, principal: &str, job: Option<i64>, access: Access) {
        self.0.state().tokens.set_access(principal, job, access);
    }

    /// Lets the tasks of a run that are at work end now, as their scripts say.
    pub fn finish(&self, run_id: i64) {
        let mut state = self.0.state();
        let now = state.clock.now();
        state.runs.change(run_id, |run| {
            if let Some(generation) = run.generations.last_mut() {
                generation.finished_at.get_or_insert(now);
            }
        });
    }

    /// All runs the workspace still has, newest first.
    #[must_use]
    pub fn runs(&self) -> Vec<RunRecord> {
        self.runs_where(|_| true)
    }

    /// The runs started with this idempotency token. More than one is what must never be.
    #[must_use]
    pub fn runs_by_token(&self, token: &str) -> Vec<RunRecord> {
        self.runs_where(|run| run.idempotency_token.as_deref() == Some(token))
    }

    /// The run with this id, or with a task that has it.
    #[must_use]
    pub fn run(&self, id: i64) -> Option<RunRecord> {
        let state = self.0.state();
        let run = state.find(id, state.clock.now())?;
        Some(RunRecord::of(&state, run))
    }

    /// How many runs were ever started, those deleted since included.
    #[must_use]
    pub fn runs_started(&self) -> usize {
        self.0.state().runs.ever_started()
    }

    fn runs_where(&self, wanted: impl Fn(&RunRecord) -> bool) -> Vec<RunRecord> {
        let state = self.0.state();
        let now: Millis = state.clock.now();
        let runs = state.runs.newest_first(None, now).map(|run| RunRecord::of(&state, run));
        runs.filter(wanted).collect()
    }

    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Entry> {
        self.0.log.all()
    }

    /// How many requests there were so far.
    #[must_use]
    pub fn requests_so_far(&self) -> usize {
        self.0.log.count(|_| true)
    }

    /// Every request from this number on: the first is 0.
    #[must_use]
    pub fn requests_from(&self, number: usize) -> Vec<Entry> {
        self.0.log.from(number)
    }

    /// The requests for one call so far.
    #[must_use]
    pub fn requests_for(&self, operation: Operation) -> Vec<Entry> {
        let mut entries = self.requests();
        entries.retain(|entry| entry.operation == operation);
        entries
    }

    /// How many requests there were for one call.
    #[must_use]
    pub fn count(&self, operation: Operation) -> usize {
        self.0.log.count(|entry| entry.operation == operation)
    }

    /// Start requests that arrived while another with the same idempotency token was under way. Must stay empty.
    #[must_use]
    pub fn overlaps(&self) -> Vec<Entry> {
        let mut entries = self.requests();
        entries.retain(|entry| entry.overlaps);
        entries
    }

    /// How many access tokens were asked for.
    #[must_use]
    pub fn token_requests(&self) -> usize {
        self.count(Operation::Token)
    }

    /// Calls of runs/cancel-all, which nothing here may ever make.
    #[must_use]
    pub fn violations(&self) -> usize {
        self.count(Operation::CancelAll)
    }

    /// The first request for this call that matches, past or to come. Gives up after three minutes.
    pub async fn wait_for_request(
        &self,
        operation: Operation,
        matches: impl Fn(&Entry) -> bool,
    ) -> Result<Entry, NoSuchRequest> {
        let found = self.0.log.wait(PATIENCE, |entry| entry.operation == operation && matches(entry)).await;
        found.ok_or_else(|| NoSuchRequest { operation, asked: self.story() })
    }

    /// The request log in lines, for messages of failed tests.
    #[must_use]
    pub fn story(&self) -> String {
        let line = |entry: &Entry| {
            let status = entry.status.map_or("-".to_owned(), |status| status.to_string());
            let run = entry.run_id.map(|id| format!(" run {id}")).unwrap_or_default();
            let faults =
                if entry.faults.is_empty() { String::new() } else { format!(" [{}]", entry.faults.join(", ")) };
            format!("{:>5} {status} {} {}{run}{faults}", entry.number, entry.method, entry.path)
        };
        self.requests().iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
