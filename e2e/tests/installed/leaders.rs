//! The leading Pod is deleted, by force and as Kubernetes does it by default, again and again.
//!
//! `E2E_LEADER_KILLS=50` for the full measure; hand-over times are printed and never asserted.

use std::time::{Duration, Instant};

use e2e::stage::{Goes, HandOvers, Load, Stage};
use e2e::wait::eventually;

use crate::kit::Installed;

/// How often, unless the environment says so.
fn kills() -> usize {
    std::env::var("E2E_LEADER_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(3)
}

/// The Pod that leads; a holder is called after its Pod.
async fn leading_pod(installed: &Installed, stage: &Stage, ready: &[String]) -> (String, String) {
    eventually("one of the ready Pods to lead", async || {
        let holder = stage.leader().await.unwrap_or_default();
        match ready.iter().find(|pod| holder.starts_with(pod.as_str())) {
            Some(pod) => Ok((pod.clone(), holder)),
            None => Err(format!("{holder:?} leads, ready are {ready:?}, of {}", installed.pods(stage).await.len())),
        }
    })
    .await
}

#[tokio::test]
async fn leading_pods_that_are_deleted_under_load_cost_no_run_and_no_verdict() {
    let Some(installed) = Installed::find().await else { return };
    let stage = installed.stage("leaders-go").await;
    let mut load = Load::working_for(&stage, Duration::from_secs(20));
    let mut hand_overs = HandOvers::default();
    let _alone = installed.pods_to_oneself().await;
    for kill in 0..kills() {
        let ready = installed.ready_pods(&stage, 2).await;
        let (pod, holder) = leading_pod(&installed, &stage, &ready).await;
        load.add(5).await;
        // Not a wait for anything: the moment at which a leader goes is what this test draws.
        let pause = Duration::from_millis(rand::random_range(0..3000));
        tokio::time::sleep(pause).await;
        let (goes, how): (_, &[&str]) = match kill % 2 {
            0 => (Goes::Killed, &["--grace-period=0", "--force"]),
            _ => (Goes::Asked, &[]),
        };
        let begun = Instant::now();
        installed.kubectl(&stage, &[&["delete", "pod", &pod, "--wait=false"], how].concat()).await;
        stage.led_by_another_than(Some(&holder)).await;
        let took = begun.elapsed();
        println!("{kill}: {pod} {goes:?} after {pause:?}, hand-over {took:.1?}");
        hand_overs.add(goes, took);
    }
    println!("{hand_overs}");
    load.assert_true_verdicts().await;
}
