//! The control door: the same things over HTTP, for shells and other languages, under `/_control/` of the same address.
//!
//! It asks for no token. The fake listens on loopback unless someone says otherwise; whoever reaches it may do as they like.

use std::time::Duration;

use hyper::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Control;
use super::exchange::plain;
use super::faults::Fault;
use super::idempotency::IdempotencyMode;
use super::passage::Answer;

/// Where it is.
pub(super) const PREFIX: &str = "/_control";

const HELP: &str = "\
GET    /_control/runs                    every run
GET    /_control/requests                every request
GET    /_control/overlaps                start requests that overlapped under one idempotency token
GET    /_control/faults                  the faults that are set
POST   /_control/faults                  set one, e.g. {\"operations\": [\"run-now\"], \"times\": 1, \"kind\": \"lose_answer\"}
DELETE /_control/faults[/NUMBER]         take one or all back
POST   /_control/jobs                    {\"name\": \"nightly\"}: a job, made if there is none
POST   /_control/finish                  {\"run_id\": N}: let a run end now
POST   /_control/clock                   {\"advance_ms\": N}
POST   /_control/tokens                  {\"token\": \"…\", \"principal\": \"…\", \"lifetime_seconds\": N}
POST   /_control/revoke                  {\"token\": \"…\"}
POST   /_control/settings                {\"requests_per_second\": N, \"active_run_limit\": N, \"latency_ms\": [50, 200],
                                          \"token_lifetime_seconds\": N, \"idempotency\": \"remembered\" | \"only-active\" |
                                          \"forgotten-on-deletion\"}; 0 takes a limit away
Kinds of fault: {\"status\": {\"status\": 503, \"code\": \"…\", \"message\": \"…\", \"retry_after\": {\"seconds\": 2}}}, \"login_page\",
\"redirect\", \"garbage\", \"reset\", {\"delay\": {\"before_ms\": N, \"after_ms\": N}}, \"hold_effect\" and \"hold_answer\" (until
the fault is taken back), \"lose_answer\", \"truncate\", \"endless\",
{\"drip\": {\"every_ms\": N}}. Which requests: operations, run_id, idempotency_token, skip, times, per_mille, for_ms.
";

#[derive(Deserialize)]
struct NewJob {
    name: String,
}

#[derive(Deserialize)]
struct Finish {
    run_id: i64,
}

#[derive(Deserialize)]
struct Advance {
    advance_ms: u64,
}

#[derive(Deserialize)]
struct NewToken {
    token: String,
    principal: String,
    lifetime_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct Revoke {
    token: String,
}

/// What is not mentioned stays; zero takes a limit away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    requests_per_second: Option<u32>,
    active_run_limit: Option<usize>,
    latency_ms: Option<(u64, u64)>,
    token_lifetime_seconds: Option<u64>,
    idempotency: Option<IdempotencyMode>,
}

pub(super) fn answer(control: &Control, parts: &Parts, bytes: &[u8]) -> Answer {
    let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let answer = match (parts.method.as_str(), path) {
        ("GET", "" | "/") => {
            return Answer::Respond(plain(200, "text/plain; charset=utf-8", HELP.as_bytes().to_vec()));
        }
        ("GET", path) => read(control, path),
        ("DELETE", path) => clear(control, path),
        (_, path) => change(control, path, bytes),
    };
    let (status, body) = match answer {
        Ok(body) => (200, body),
        Err(complaint) => (400, json!({ "error": complaint, "help": format!("GET {PREFIX}") })),
    };
    Answer::Respond(plain(status, "application/json", body.to_string().into_bytes()))
}

fn read(control: &Control, path: &str) -> Result<Value, String> {
    match path {
        "/runs" => Ok(json!(control.runs())),
        "/requests" => Ok(json!(control.requests())),
        "/overlaps" => Ok(json!(control.overlaps())),
        "/faults" => {
            let told = |(id, hits, fault): (u64, u32, Fault)| json!({ "number": id, "hits": hits, "fault": fault });
            Ok(control.faults().into_iter().map(told).collect())
        }
        other => Err(format!("nothing to read at {PREFIX}{other}")),
    }
}

fn clear(control: &Control, path: &str) -> Result<Value, String> {
    match path.strip_prefix("/faults") {
        Some("") => control.clear_faults(),
        Some(number) => {
            let number = number.trim_start_matches('/');
            control.clear_fault(number.parse().map_err(|_| format!("'{number}' is not the number of a fault"))?);
        }
        None => return Err(format!("nothing to delete at {PREFIX}{path}")),
    }
    Ok(json!({}))
}

fn change(control: &Control, path: &str, bytes: &[u8]) -> Result<Value, String> {
    match path {
        "/faults" => return Ok(json!({ "number": control.fault(parse(bytes)?) })),
        "/jobs" => {
            let NewJob { name } = parse(bytes)?;
            return Ok(json!({ "job_id": control.job(&name).id() }));
        }
        "/finish" => {
            let Finish { run_id } = parse(bytes)?;
            control.finish(run_id);
        }
        "/clock" => {
            let Advance { advance_ms } = parse(bytes)?;
            control.clock().advance(Duration::from_millis(advance_ms));
        }
        "/tokens" => {
            let NewToken { token, principal, lifetime_seconds } = parse(bytes)?;
            control.accept_token(&token, &principal, lifetime_seconds.map(Duration::from_secs));
        }
        "/revoke" => {
            let Revoke { token } = parse(bytes)?;
            control.revoke_token(&token);
        }
        "/settings" => apply(control, &parse(bytes)?),
        other => return Err(format!("nothing to change at {PREFIX}{other}")),
    }
    Ok(json!({}))
}

fn apply(control: &Control, change: &Change) {
    control.configure(|settings| {
        if let Some(rate) = change.requests_per_second {
            settings.requests_per_second = Some(rate).filter(|rate| *rate > 0);
        }
        if let Some(limit) = change.active_run_limit {
            settings.active_run_limit = Some(limit).filter(|limit| *limit > 0);
        }
        if let Some((low, high)) = change.latency_ms {
            let range = (Duration::from_millis(low), Duration::from_millis(high));
            settings.latency = Some(range).filter(|_| high > 0);
        }
        if let Some(seconds) = change.token_lifetime_seconds {
            settings.token_lifetime = Duration::from_secs(seconds);
        }
        if let Some(mode) = change.idempotency {
            settings.idempotency = mode;
        }
    });
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}
