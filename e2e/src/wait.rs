//! Waiting for what will be, never for time to pass.
//!
//! A test says what it waits for; when that does not come within the deadline, the failure shows the last reason why not (or
//! the object as it was last seen), because "timed out" alone explains nothing. The deadline is generous: it only ends tests
//! that would fail anyway, and nothing gets slower by raising it on a busy machine with `E2E_DEADLINE_SECONDS`.

use std::{fmt::Debug, pin::pin, time::Duration};

use futures::StreamExt;
use kube::{Api, Resource, runtime::watcher::watch_object};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout_at};

/// How long anything may take before a test gives up on it, unless the environment says otherwise: what takes seconds took
/// more than a minute where nine processes shared a core.
const DEADLINE: Duration = Duration::from_mins(3);

/// Between two looks: short beside what is waited for, long beside what a look costs.
const INTERVAL: Duration = Duration::from_millis(50);

/// What was waited for did not come.
#[derive(thiserror::Error)]
#[error("gave up after {} s waiting for {what}: {reason}\n(a slow machine? raise E2E_DEADLINE_SECONDS)", .deadline.as_secs())]
pub struct TimedOut {
    what: String,
    deadline: Duration,
    reason: String,
}

/// As [`std::fmt::Display`]: tests show errors with `Debug`, which would escape the line breaks of the object shown.
impl Debug for TimedOut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
    }
}

/// How long to wait for anything: three minutes, or `E2E_DEADLINE_SECONDS`.
#[must_use]
pub fn deadline() -> Duration {
    let from_environment = std::env::var("E2E_DEADLINE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    from_environment.map_or(DEADLINE, Duration::from_secs)
}

/// Tries until `attempt` answers `Ok`, and fails the test with the last `Err` when it does not.
///
/// # Panics
/// When the deadline has passed.
#[expect(clippy::panic, reason = "a wait in vain fails the test")]
pub async fn eventually<T>(what: &str, attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    try_eventually(what, attempt).await.unwrap_or_else(|timed_out| panic!("{timed_out}"))
}

/// As [`eventually`], for callers that have something better to do than to panic.
pub async fn try_eventually<T>(what: &str, attempt: impl AsyncFnMut() -> Result<T, String>) -> Result<T, TimedOut> {
    try_within(deadline(), what, attempt).await
}

async fn try_within<T>(
    deadline: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, TimedOut> {
    let end = Instant::now() + deadline;
    let mut reason = "the first attempt never answered".to_owned();
    loop {
        match timeout_at(end, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(why_not)) => reason = why_not,
            Err(_) => return Err(TimedOut { what: what.to_owned(), deadline, reason }),
        }
        if Instant::now() >= end {
            return Err(TimedOut { what: what.to_owned(), deadline, reason });
        }
        sleep(INTERVAL).await;
    }
}

/// Watches the object until `condition` holds and returns it as it was then; `what` says what is expected of it.
///
/// An object that does not exist yet is waited for, and an API server that is away for a while is forgiven.
///
/// # Panics
/// When the deadline has passed, with the object as last seen.
#[expect(clippy::panic, reason = "a wait in vain fails the test")]
pub async fn wait_for<K>(api: &Api<K>, name: &str, what: &str, condition: impl Fn(&K) -> bool) -> K
where
    K: Resource<DynamicType: Default> + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    try_wait_for(api, name, what, condition).await.unwrap_or_else(|timed_out| panic!("{timed_out}"))
}

/// As [`wait_for`], for callers that have something better to do than to panic.
pub async fn try_wait_for<K>(
    api: &Api<K>,
    name: &str,
    what: &str,
    condition: impl Fn(&K) -> bool,
) -> Result<K, TimedOut>
where
    K: Resource<DynamicType: Default> + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    watch_until(api, name, what, |object| object.filter(|object| condition(object)).cloned()).await
}

/// Watches until the object is gone.
///
/// # Panics
/// When the deadline has passed, with the object as last seen.
#[expect(clippy::panic, reason = "a wait in vain fails the test")]
pub async fn wait_gone<K>(api: &Api<K>, name: &str)
where
    K: Resource<DynamicType: Default> + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    try_wait_gone(api, name).await.unwrap_or_else(|timed_out| panic!("{timed_out}"));
}

/// As [`wait_gone`], for callers that have something better to do than to panic.
pub async fn try_wait_gone<K>(api: &Api<K>, name: &str) -> Result<(), TimedOut>
where
    K: Resource<DynamicType: Default> + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    watch_until(api, name, "gone", |object| object.is_none().then_some(())).await
}

async fn watch_until<K, T>(
    api: &Api<K>,
    name: &str,
    what: &str,
    found: impl Fn(Option<&K>) -> Option<T>,
) -> Result<T, TimedOut>
where
    K: Resource<DynamicType: Default> + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
{
    let deadline = deadline();
    let end = Instant::now() + deadline;
    let mut reason = "nothing was seen of it".to_owned();
    let mut seen = pin!(watch_object(api.clone(), name));
    while let Ok(Some(next)) = timeout_at(end, seen.next()).await {
        match next {
            Ok(object) => match found(object.as_ref()) {
                Some(value) => return Ok(value),
                None => reason = object.map_or_else(|| "it does not exist".to_owned(), show),
            },
            Err(error) => {
                reason = format!("it cannot be watched: {error}");
                sleep(INTERVAL).await;
            }
        }
    }
    let what = format!("{} {name} to be {what}", K::kind(&K::DynamicType::default()));
    Err(TimedOut { what, deadline, reason })
}

/// The object as a person would look at it: YAML, without the bookkeeping of field owners.
fn show<K: Resource + Serialize>(mut object: K) -> String {
    object.meta_mut().managed_fields = None;
    match serde_saphyr::to_string(&object) {
        Ok(yaml) => format!("it was last seen as\n{yaml}"),
        Err(error) => format!("it was seen but cannot be shown: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_is_repeated_until_it_succeeds() {
        let mut attempts = 0;
        let answer = eventually("three attempts", async || {
            attempts += 1;
            if attempts < 3 { Err(format!("only {attempts}")) } else { Ok("done") }
        });
        assert_eq!(answer.await, "done");
    }

    #[tokio::test]
    async fn a_wait_in_vain_tells_the_last_reason() {
        let attempt = async || Err("still blue".to_owned());
        let failure = try_within::<()>(Duration::ZERO, "the moon", attempt).await.unwrap_err();
        assert!(failure.to_string().contains("waiting for the moon: still blue"), "{failure}");
    }

    #[tokio::test]
    async fn an_attempt_that_hangs_does_not_hang_the_wait() {
        let failure = try_within::<()>(Duration::ZERO, "an answer", std::future::pending).await.unwrap_err();
        assert!(failure.to_string().contains("never answered"), "{failure}");
    }
}
