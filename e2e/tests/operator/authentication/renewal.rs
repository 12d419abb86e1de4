//! Tokens that live for two minutes carry runs of six, whatever the number of runs, and nobody sees a renewal.
//!
//! Scaled down: a token is never used in its last forty seconds, which is a constant, so a token of two minutes serves for
//! eighty seconds and is renewed from the fortieth on. The tokens here live for 48 seconds, serve for eight and are renewed
//! from the fourth on; scripts go ten times faster, so a run of six minutes takes 36 seconds. A run sees nine renewals in both
//! cases. The workspace refuses tokens in their last thirty seconds, as Azure's does.

use std::time::{Duration, Instant};

use databricks_run_operator::api::conditions::Reason;
use e2e::stage::{History, RunView};
use e2e::wait::eventually;
use e2e::workspace::{Fault, Kind as Trouble, Operation, Options};
use futures::{StreamExt, stream};
use kube::api::ListParams;
use serde_json::json;

use super::{Kind, World};
use crate::run_now;

const FASTER: u32 = 10;
const LIFETIME: Duration = Duration::from_secs(48);
/// From here on a token of that life is renewed.
const RENEWED_AFTER: Duration = Duration::from_secs(4);
/// Up to here it is used.
const SERVES: Duration = Duration::from_secs(8);

/// No version of a run ever told of anything but the run.
fn assert_nothing_was_in_the_way(history: &History) {
    let versions = history.so_far();
    assert!(!versions.is_empty(), "nothing was seen, so nothing can be said");
    for version in versions {
        let reason = version.reason("Reconciling");
        let obstacle = Reason::ALL.iter().any(|known| known.as_str() == reason && known.is_obstacle());
        assert!(!obstacle && version.condition("Stalled").is_empty(), "{:#}", version.status());
    }
}

async fn renewals_are_not_seen(kind: Kind, runs: usize) {
    let world = World::with(&format!("renewal-{}", kind.name()), Options::default().speed(FASTER)).await;
    let databricks = &world.stage.databricks;
    databricks.configure(|settings| {
        settings.token_lifetime = LIFETIME;
        settings.token_margin = Duration::from_secs(30);
    });
    world.login.set_token_lifetime(LIFETIME);
    let job = databricks.job("nightly").running_for(Duration::from_mins(6)).id();
    world.grant(kind).await;
    world.connect(kind).await;
    let began = Instant::now();
    let _operator = world.operator().await;
    world.until(kind, "True", "WorkspaceReady").await;
    let history = world.stage.history_of_all();
    let objects = (0..runs).map(|number| {
        let mut run = world.stage.run(&format!("run-{number}"), run_now(job));
        run["spec"]["workspaceRef"]["name"] = json!(kind.name());
        run["spec"]["polling"] = json!({"initialSeconds": 4, "maxSeconds": 4});
        run
    });
    stream::iter(objects).for_each_concurrent(8, async |run| drop(world.stage.apply(&run).await)).await;
    world.stage.until_started(runs).await;
    eventually("all runs to have ended", async || {
        let objects = world.stage.runs().list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let ended = objects.items.into_iter().map(RunView).filter(|run| run.text("state") == "Succeeded").count();
        if ended == runs { Ok(()) } else { Err(format!("{ended} have")) }
    })
    .await;
    let took = began.elapsed();

    assert_nothing_was_in_the_way(&history);
    let refused: Vec<_> =
        databricks.requests().into_iter().filter(|entry| entry.status.is_some_and(|status| status != 200)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    // Each request for a token comes at the earliest when the token before it is due for renewal.
    let asked = databricks.token_requests() + world.login.token_requests();
    let at_most = 1 + took.as_secs() / RENEWED_AFTER.as_secs();
    tracing::info!(asked, at_most, "token requests");
    assert!(asked as u64 <= at_most, "{asked} token requests in {took:?}");
    let used = databricks.requests_for(Operation::GetRun);
    let (first, last) = (used.first().unwrap().received, used.last().unwrap().received);
    let at_least = (last - first) / i64::try_from(SERVES.as_millis()).unwrap();
    assert!(at_least >= 4 && i64::try_from(asked).unwrap() >= at_least, "{asked} tokens for {} ms", last - first);
    world.stage.assert_started_once_each(runs);
}

#[tokio::test]
async fn two_hundred_runs_outlive_many_exchanged_tokens_and_no_renewal_is_seen_or_made_twice() {
    renewals_are_not_seen(Kind::TokenFederation, 200).await;
}

#[tokio::test]
async fn runs_outlive_many_tokens_of_a_login_host_and_no_renewal_is_seen_or_made_twice() {
    renewals_are_not_seen(Kind::AzureWorkloadIdentity, 20).await;
}

#[tokio::test]
async fn a_login_host_that_is_down_when_a_token_is_renewed_is_not_seen_while_the_old_one_serves() {
    let world = World::set("login-down").await;
    // Serves for sixteen seconds, is renewed from the eighth on, and tried again every two.
    world.login.set_token_lifetime(Duration::from_secs(56));
    let kind = Kind::AzureServicePrincipal;
    let job = world.stage.databricks.job("nightly").running_forever().id();
    world.grant(kind).await;
    world.connect(kind).await;
    let _operator = world.operator().await;
    world.until(kind, "True", "WorkspaceReady").await;
    world.login.fault(Fault::everywhere(Trouble::unavailable()).times(2));
    let history = world.stage.history_of_all();
    let name = world.ask(kind, job).await;
    world.stage.running(&name).await;
    eventually("the token to be renewed at the third attempt", async || {
        let answers: Vec<_> = world.login.requests().iter().map(|entry| entry.status).collect();
        if answers == [200, 503, 503, 200].map(Some) { Ok(()) } else { Err(format!("{answers:?}")) }
    })
    .await;
    world.stage.databricks.finish(world.stage.databricks.runs()[0].id);
    let run = world.stage.finished(&name).await;
    assert_eq!(run.text("state"), "Succeeded", "{}", world.stage.story(&run));
    assert_nothing_was_in_the_way(&history);
}
