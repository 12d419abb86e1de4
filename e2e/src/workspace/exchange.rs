//! One request from its arrival to its answer: logged, disturbed if a fault says so, authenticated, answered.
//!
//! The work is done on a task of its own, so that a client that hangs up does not undo what it asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use serde_json::Value;

use super::arguments::{self, Query};
use super::catalog;
use super::change;
use super::clock::Millis;
use super::disturbance::{Disturbance, Sent, Target};
use super::errors::ApiError;
use super::log::{Arrival, Log};
use super::oauth;
use super::operations::{Operation, Route, route};
use super::passage::{Answer, Passage, Watch};
use super::proofs::Proofs;
use super::rate::Bucket;
use super::read;
use super::server::Service;
use super::start;
use super::state::{Call, State};

/// The Jobs API takes no larger request.
const MAX_REQUEST: usize = 10 * 1024 * 1024;
const JSON: &str = "application/json";

/// What every connection shares.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) log: Arc<Log>,
    pub(super) bucket: Mutex<Bucket>,
    pub(super) proofs: Proofs,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Millis {
        self.state().clock.now()
    }
}

/// A request that has been read, with its place in the log.
struct Exchange {
    number: usize,
    parts: Parts,
    query: Query,
    bytes: Bytes,
    route: Route,
}

impl Service for Arc<Shared> {
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send + use<> {
        serve(Arc::clone(self), request)
    }
}

async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = axum::body::to_bytes(Body::new(body), MAX_REQUEST).await else {
        return Answer::Hangup;
    };
    if parts.uri.path().starts_with(super::door::PREFIX) {
        return super::door::answer(&super::Control(shared), &parts, &bytes);
    }
    let query = query_of(parts.uri.query().unwrap_or_default());
    let route = route(parts.method.as_str(), parts.uri.path());
    let number = shared.log.open(arrival(&shared, &parts, &query, &bytes, &route));
    let exchange = Exchange { number, parts, query, bytes, route };
    let watch = Watch { log: Arc::clone(&shared.log), number };
    let answer = tokio::spawn(exchange.run(shared)).await;
    drop(watch);
    answer.unwrap_or(Answer::Hangup)
}

fn arrival(shared: &Shared, parts: &Parts, query: &Query, bytes: &[u8], route: &Route) -> Arrival {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = arguments::body(bytes).unwrap_or_default();
    let in_query = query.integer("run_id").ok().flatten();
    Arrival {
        received: shared.now(),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        version: route.version.clone(),
        operation: route.operation,
        idempotency_token: start::token_of(&body).map(str::to_owned),
        run_id: arguments::integer(&body, "run_id").ok().flatten().or(in_query),
        user_agent: header("user-agent").unwrap_or_default(),
        workspace_id: header("x-databricks-workspace-id"),
    }
}

/// Reads a query, or a form, which is written the same way.
pub(super) fn query_of(text: &str) -> Query {
    let pairs = format!("/?{text}")
        .parse()
        .ok()
        .and_then(|uri| axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
    Query(pairs.map(|pairs| pairs.0).unwrap_or_default())
}

impl Exchange {
    async fn run(self, shared: Arc<Shared>) -> Answer {
        let (disturbance, latency) = self.meet(&shared);
        let passage = Passage { log: &shared.log, number: self.number, now: &|| shared.now() };
        passage.go(disturbance, latency, || self.perform(&shared), |answered| finished(&shared, answered)).await
    }

    /// The faults this request meets, and how long the service takes for it.
    fn meet(&self, shared: &Shared) -> (Disturbance, Duration) {
        let body = arguments::body(&self.bytes).unwrap_or_default();
        let sent = Sent::new(&self.parts.headers, &self.bytes);
        shared.proofs.note(sent.authorization, &query_of(sent.body));
        let in_body = arguments::integer(&body, "run_id").ok().flatten();
        let target = Target {
            operation: self.route.operation,
            run_id: in_body.or_else(|| self.query.integer("run_id").ok().flatten()),
            idempotency_token: start::token_of(&body),
            sent,
        };
        let mut state = shared.state();
        let now = system_time(state.clock.now());
        let State { faults, random, settings, .. } = &mut *state;
        let disturbance = faults.meet(&target, random, now);
        let latency = settings.latency.map_or(Duration::ZERO, |(low, high)| {
            let bound = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
            Duration::from_micros(random.between(bound(low), bound(high)))
        });
        drop(state);
        (disturbance, latency)
    }

    /// The effect.
    fn perform(&self, shared: &Shared) -> Result<Response<Body>, ApiError> {
        let operation = self.route.operation;
        let path = self.parts.uri.path();
        if operation.is_open() {
            return self.perform_open(shared);
        }
        self.check_rate(shared)?;
        let mut state = shared.state();
        let known = self.route.version.as_ref().is_none_or(|version| state.settings.versions.contains(version));
        if operation == Operation::Unknown || !known {
            return Err(ApiError::bad_target(path));
        }
        let now = state.clock.now();
        let principal = self.authenticate(&state, now)?;
        shared.log.update(self.number, |entry| {
            entry.principal = Some(principal.clone());
        });
        let body = match self.parts.method.as_str() {
            "POST" => arguments::body(&self.bytes)?,
            _ => Value::Null,
        };
        let call = Call {
            query: &self.query,
            body: &body,
            principal: &principal,
            version: self.route.version.as_deref().unwrap_or_default(),
            now,
        };
        let answer = dispatch(operation, &mut state, &call)?;
        drop(state);
        let Some(answer) = answer else {
            return Ok(Response::new(Body::empty()));
        };
        if let Some(run_id) = answer.get("run_id").and_then(Value::as_i64).filter(|_| operation.starts_a_run()) {
            shared.log.update(self.number, |entry| entry.run_id = Some(run_id));
        }
        if let Some(rows) = answer.get("runs").and_then(Value::as_array) {
            let ids = rows.iter().filter_map(|row| row.get("run_id")?.as_i64()).collect();
            shared.log.update(self.number, |entry| entry.listed = ids);
        }
        Ok(plain(200, JSON, answer.to_string().into_bytes()))
    }

    fn perform_open(&self, shared: &Shared) -> Result<Response<Body>, ApiError> {
        let mut state = shared.state();
        let answer = if self.route.operation == Operation::Token {
            let form = query_of(std::str::from_utf8(&self.bytes).unwrap_or_default());
            oauth::token(&mut state, &form, self.header("authorization"))?
        } else {
            oauth::discovery(&state, self.parts.uri.path())
        };
        Ok(plain(200, JSON, answer.to_string().into_bytes()))
    }

    fn check_rate(&self, shared: &Shared) -> Result<(), ApiError> {
        let (rate, retry_after) = {
            let state = shared.state();
            (state.settings.requests_per_second, state.settings.retry_after)
        };
        let mut bucket = shared.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if rate.is_none_or(|rate| bucket.take(rate)) {
            return Ok(());
        }
        let now = system_time(shared.now());
        shared.log.update(self.number, |entry| {
            entry.faults.push("rate limit".to_owned());
        });
        Err(ApiError::rate_limited(retry_after.map(|retry_after| retry_after.header(now))))
    }

    fn authenticate(&self, state: &State, now: Millis) -> Result<String, ApiError> {
        let token = self.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| {
            ApiError::unauthenticated("Credential was not sent or was of an unsupported type for this API.")
        })?;
        let principal = state.tokens.principal(token, now, state.token_margin());
        principal.map(str::to_owned).map_err(|refused| ApiError::unauthenticated(refused.message()))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }
}

/// The answer with the headers all answers have.
fn finished(shared: &Shared, answered: Result<Response<Body>, ApiError>) -> Response<Body> {
    let (request_id, now, workspace_id, further) = {
        let mut state = shared.state();
        let settings = state.settings.clone();
        (state.random.hex(), state.clock.now(), settings.workspace_id, settings.headers)
    };
    let mut response = rendered(answered, &request_id, now);
    let own = [("x-request-id", request_id), ("x-databricks-org-id", workspace_id.to_string())];
    add_headers(&mut response, &own.map(|(name, value)| (name.to_owned(), value)));
    add_headers(&mut response, &further);
    response
}

/// Adds those that can be headers.
pub(super) fn add_headers(response: &mut Response<Body>, further: &[(String, String)]) {
    for (name, value) in further {
        if let (Ok(name), Ok(value)) = (name.parse::<hyper::header::HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// The answer, or the error in its place, with its date.
pub(super) fn rendered(answered: Result<Response<Body>, ApiError>, request_id: &str, now: Millis) -> Response<Body> {
    let mut response = answered.unwrap_or_else(|error| {
        let (body, kind) = error.render(request_id);
        let mut response = plain(error.status, kind.unwrap_or_default(), body);
        if let Some(retry_after) = error.retry_after.as_ref().and_then(|text| text.parse().ok()) {
            response.headers_mut().insert(RETRY_AFTER, retry_after);
        }
        response
    });
    // The clock of this workspace, not of this machine: clients compare the times of runs with it.
    if let Ok(date) = httpdate::fmt_http_date(system_time(now)).parse() {
        response.headers_mut().insert(DATE, date);
    }
    response
}

/// The calls. None is the empty body of those that answer nothing.
fn dispatch(operation: Operation, state: &mut State, call: &Call<'_>) -> Result<Option<Value>, ApiError> {
    match operation {
        Operation::RunNow => start::run_now(state, call).map(Some),
        Operation::Submit => start::submit(state, call).map(Some),
        Operation::GetRun => read::get_run(state, call).map(Some),
        Operation::GetOutput => read::get_output(state, call).map(Some),
        Operation::ListRuns => read::list_runs(state, call).map(Some),
        Operation::Cancel => change::cancel(state, call).map(|()| None),
        Operation::CancelAll => change::cancel_all(state, call).map(|()| None),
        Operation::Delete => change::delete(state, call).map(|()| None),
        Operation::Repair => change::repair(state, call).map(Some),
        Operation::GetJob => catalog::get_job(state, call).map(Some),
        Operation::ListJobs => catalog::list_jobs(state, call).map(Some),
        Operation::Me => Ok(Some(catalog::me(call))),
        Operation::Token | Operation::Discovery | Operation::Unknown => Ok(None),
    }
}

/// An answer with this status, content type (none if empty) and body.
pub(super) fn plain(status: u16, kind: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    if !kind.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    }
    response
}

pub(super) fn system_time(at: Millis) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap_or(0))
}
