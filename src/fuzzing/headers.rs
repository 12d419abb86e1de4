//! Headers of answers: waits and times, from clocks that nobody has set.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::life::Life;
use crate::databricks::error::Error;
use crate::databricks::fuzzing::{HttpAnswer, Judged};
use crate::databricks::limiter::{Asker, Core, Lane, Permission};

/// The longest that one answer may hold everybody.
const LONGEST: Duration = Duration::from_mins(5);
/// Within this time after it everybody has had a turn.
const SOON: Duration = Duration::from_mins(1);

/// An answer of HTTP, for its headers. No wait is longer than five minutes, the limiter that learns of it lets everybody go
/// on, and a run's deadlines are kept whatever time the answer bears.
pub fn headers(bytes: &[u8]) {
    let answer = HttpAnswer::read(bytes);
    for now in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)] {
        let Judged { error, retry_after, server_time } = answer.judged(&[], now);
        assert!(retry_after.is_none_or(|wait| wait <= LONGEST), "{retry_after:?}");
        if let Some(Error::Throttled { retry_after: told, .. }) = &error {
            assert_eq!(*told, retry_after);
        }
        goes_on_after(retry_after);
        times(server_time, error);
    }
}

/// A limiter after an answer that asks for this pause.
fn goes_on_after(pause: Option<Duration>) {
    let mut limiter = Core::new(15.0, Duration::ZERO);
    limiter.throttled(pause, Duration::ZERO);
    limiter.hold(pause.unwrap_or_default(), Duration::ZERO);
    let mut waiting: Vec<_> = (0..4).map(|n| (Lane::ALL[n], Asker { share: 1, call: n as u64 })).collect();
    let mut now = Duration::ZERO;
    while !waiting.is_empty() {
        let mut next = now + Duration::from_millis(10);
        waiting.retain(|(lane, who)| match limiter.ask(*lane, *who, now) {
            Permission::Now => false,
            Permission::At(at) => {
                assert!(at > now, "asked to come back at {at:?}, which is past");
                next = next.max(at);
                true
            }
        });
        now = next;
        assert!(now <= pause.unwrap_or_default() + SOON, "{waiting:?} wait until {now:?} for a pause of {pause:?}");
    }
}

/// A run with deadlines, of which Databricks tells by a clock like this.
fn times(server_time: Option<SystemTime>, error: Option<Error>) {
    let mut life = Life::of(json!({
        "workspaceRef": {"name": "prod"}, "runNow": {"job_id": 5},
        "startingDeadlineSeconds": 60, "activeDeadlineSeconds": 120,
    }));
    life.goes_on(2);
    let start = 1_800_000_000_000_i64;
    let waiting = json!({"run_id": 8, "start_time": start, "state": {"life_cycle_state": "PENDING"}});
    life.answer = serde_json::from_value(waiting).ok();
    life.server_time = server_time;
    life.error = error;
    life.goes_on(12);
    assert!(!life.has_ended(), "{:?}", life.status);
}
