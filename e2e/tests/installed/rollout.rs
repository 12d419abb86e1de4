//! A rolling restart while runs are live.
//!
//! `E2E_ROLLOUT_RUNS=200` for the full measure.

use std::time::{Duration, Instant};

use e2e::stage::{LEASE, Load};
use e2e::wait::eventually;

use crate::kit::Installed;

fn runs() -> usize {
    std::env::var("E2E_ROLLOUT_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(30)
}

#[tokio::test]
async fn a_rolling_restart_under_live_runs_starts_none_again_and_misses_no_verdict() {
    let Some(installed) = Installed::find().await else { return };
    let stage = installed.stage("rollout").await;
    let mut load = Load::working_for(&stage, Duration::MAX);
    // From the begin on: runs hardly start while the leader goes every few seconds.
    let _alone = installed.pods_to_oneself().await;
    load.add(runs()).await;
    load.all_running().await;
    let before = installed.ready_pods(&stage, 2).await;
    let holder = stage.leader().await;
    let begun = Instant::now();
    let deployment = format!("deployment/{LEASE}");
    installed.kubectl(&stage, &["rollout", "restart", &deployment]).await;
    // Half of them end while Pods come and go, and half when another leads.
    let live = stage.databricks.runs();
    let (early, late) = live.split_at(live.len() / 2);
    for run in early {
        stage.databricks.finish(run.id);
    }
    stage.led_by_another_than(holder.as_deref()).await;
    println!("another led {:.1?} after the restart was asked for", begun.elapsed());
    load.add(runs() / 10).await;
    for run in late {
        stage.databricks.finish(run.id);
    }
    installed.kubectl(&stage, &["rollout", "status", &deployment, "--timeout=180s"]).await;
    println!("the rollout was done after {:.1?}", begun.elapsed());
    let after = installed.ready_pods(&stage, 2).await;
    assert!(after.iter().all(|pod| !before.contains(pod)), "{before:?} then {after:?}");
    // Those that came during the restart; what has not begun to work yet cannot be finished.
    let all = runs() + runs() / 10;
    eventually("every run to have ended in the workspace", async || {
        let active: Vec<_> = stage.databricks.runs().into_iter().filter(|run| run.active).collect();
        for run in &active {
            stage.databricks.finish(run.id);
        }
        match stage.databricks.runs_started() {
            started if started >= all && active.is_empty() => Ok(()),
            started => Err(format!("{started} of {all} were started, {} are active", active.len())),
        }
    })
    .await;
    load.assert_true_verdicts().await;
}
