//! Replicas that elect one which works: standbys send nothing, and whenever the leader goes, another goes on where it was.
//!
//! `E2E_LEADER_KILLS=50` for the full measure; hand-over times are printed and never asserted.

use std::time::{Duration, Instant};

use e2e::stage::{Goes, HandOvers, LEASE, Load, OperatorProcess, Stage};
use e2e::wait::eventually;
use e2e::workspace::{Fault, Kind, Operation};
use futures::future::join_all;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::run_now;

const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");

/// A replica with the stage's own ServiceAccount, which leads.
async fn leader(stage: &Stage) -> OperatorProcess {
    let leader = candidate(stage);
    leader.logs("leading").await;
    leader
}

fn candidate(stage: &Stage) -> OperatorProcess {
    stage.candidate(OPERATOR, stage.rights.kubeconfig())
}

/// Two replicas, the first of which leads.
async fn leader_and_standby(stage: &Stage) -> (OperatorProcess, OperatorProcess) {
    let leader = leader(stage).await;
    let standby = candidate(stage);
    standby.logs("all objects are known").await;
    standby.logs("standing by").await;
    (leader, standby)
}

/// Has the leader go, and waits until another leads; how long that took.
async fn hand_over(stage: &Stage, mut leader: OperatorProcess, goes: Goes) -> Duration {
    let before = stage.leader().await;
    let begun = Instant::now();
    match goes {
        Goes::Killed => leader.kill(),
        Goes::Asked => {
            leader.terminate();
            assert!(leader.ended_well());
        }
    }
    stage.led_by_another_than(before.as_deref()).await;
    begun.elapsed()
}

#[tokio::test]
async fn a_standby_watches_and_sends_nothing_until_it_leads() {
    let stage = Stage::set("standby-silent").await;
    let job = stage.databricks.job("nightly").id();
    let leader = leader(&stage).await;
    let replica = stage.rights.replica().await.unwrap();
    let standby = stage.candidate(OPERATOR, replica.kubeconfig());
    standby.logs("all objects are known").await;
    standby.logs("standing by").await;
    stage.apply(&stage.run("first", run_now(job))).await;
    stage.finished("first").await;
    let looks = |entries: &[e2e::cluster::AuditEntry]| {
        entries.iter().filter(|entry| entry.object_ref.resource == "leases" && entry.verb == "get").count()
    };
    eventually("the standby to look at the Lease a few times", async || {
        let asked = replica.asked(&stage.rights).map_err(|error| error.to_string())?;
        if looks(&asked) > 3 { Ok(()) } else { Err(format!("{} looks", looks(&asked))) }
    })
    .await;
    let asked = replica.asked(&stage.rights).unwrap();
    let sent: Vec<_> = asked.iter().filter(|entry| !["list", "watch"].contains(&entry.verb.as_str())).collect();
    assert_eq!(sent.len(), looks(&asked), "a standby asks for nothing but the Lease: {sent:#?}");

    let took = hand_over(&stage, leader, Goes::Asked).await;
    println!("hand-over after SIGTERM: {took:?}");
    stage.apply(&stage.run("second", run_now(job))).await;
    let run = stage.finished("second").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    let writes = replica.asked(&stage.rights).unwrap();
    assert!(writes.iter().any(|entry| entry.is_write() && entry.object_ref.subresource == "status"));
    stage.assert_started_once_each(2);
}

/// Where a run is when its leader goes.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// It was sent, and its answer is still out.
    Starting,
    /// Databricks executes it.
    Running,
    /// Its object was deleted, and Databricks does not cancel it yet.
    Canceling,
    /// It could not be started, and is to be tried again.
    Waiting,
}

async fn goes_in(phase: Phase, goes: Goes) {
    let stage = Stage::set("leader-goes").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let (leader, standby) = leader_and_standby(&stage).await;
    let run = stage.run("once", run_now(job));
    match phase {
        Phase::Starting => {
            stage.databricks.fault(Fault::on(Operation::RunNow, Kind::HoldAnswer).once());
            stage.apply(&run).await;
            stage.until_started(1).await;
        }
        Phase::Running => {
            stage.apply(&run).await;
            stage.running("once").await;
        }
        Phase::Canceling => {
            stage.databricks.fault(Fault::on(Operation::Cancel, Kind::unavailable()));
            stage.apply(&run).await;
            stage.running("once").await;
            stage.delete("once").await;
            stage.databricks.wait_for_request(Operation::Cancel, |entry| entry.answered.is_some()).await.unwrap();
        }
        Phase::Waiting => {
            stage.databricks.fault(Fault::on(Operation::RunNow, Kind::unavailable()).once());
            stage.apply(&run).await;
            stage.databricks.wait_for_request(Operation::RunNow, |entry| entry.answered.is_some()).await.unwrap();
        }
    }
    let took = hand_over(&stage, leader, goes).await;
    println!("{goes:?} while {phase:?}: hand-over after {took:?}");
    stage.databricks.clear_faults();
    standby.logs("leading").await;
    if matches!(phase, Phase::Canceling) {
        stage.gone("once").await;
        let runs = stage.databricks.runs();
        assert!(runs[0].ended.is_some(), "cancelled before its object went: {runs:#?}");
    } else {
        stage.running("once").await;
        stage.databricks.finish(stage.databricks.runs()[0].id);
        let run = stage.finished("once").await;
        assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    }
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn whenever_the_leader_is_killed_the_standby_goes_on_and_each_run_is_started_once() {
    let phases = [Phase::Starting, Phase::Running, Phase::Canceling, Phase::Waiting];
    join_all(phases.map(|phase| goes_in(phase, Goes::Killed))).await;
}

#[tokio::test]
async fn whenever_the_leader_is_asked_to_go_the_standby_goes_on_and_each_run_is_started_once() {
    let phases = [Phase::Starting, Phase::Running, Phase::Canceling, Phase::Waiting];
    join_all(phases.map(|phase| goes_in(phase, Goes::Asked))).await;
}

/// Writes somebody's name into the Lease.
async fn take(stage: &Stage, times: i32) {
    let spec = json!({"holderIdentity": "somebody", "leaseDurationSeconds": 15, "leaseTransitions": 1000 + times});
    let patch = Patch::Merge(json!({"spec": spec}));
    stage.leases().patch(LEASE, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_leader_whose_lease_somebody_took_does_nothing_more_until_it_has_it_again() {
    let stage = Stage::set("lease-taken").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let mut operator = leader(&stage).await;
    stage.apply(&stage.run("live", run_now(job))).await;
    stage.running("live").await;
    take(&stage, 0).await;
    operator.logs("no longer leading").await;
    let asked = stage.databricks.requests().len();
    stage.apply(&stage.run("new", run_now(job))).await;
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let of_leases = || {
        let used = stage.rights.asked().unwrap();
        used.into_iter().filter(|entry| entry.object_ref.resource == "leases" && entry.verb == "get").count()
    };
    // Long enough for many polls, and for the Lease to have run out if it were not renewed.
    for round in 1..=3 {
        let before = of_leases();
        eventually("the operator to look at the Lease", async || match of_leases() {
            now if now >= before + 4 => Ok(()),
            now => Err(format!("{} looks", now - before)),
        })
        .await;
        take(&stage, round).await;
    }
    assert_eq!(stage.databricks.requests().len(), asked, "{}", stage.databricks.story());
    assert_eq!(stage.now("live").await.text("state"), "Running");
    assert_eq!(stage.now("new").await.generation_seen(), -1);
    operator.check().unwrap();
    let freed = Patch::Merge(json!({"spec": {"holderIdentity": null}}));
    stage.leases().patch(LEASE, &PatchParams::default(), &freed).await.unwrap();
    let run = stage.finished("live").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.running("new").await;
    stage.assert_started_once_each(2);
}

/// Kills of the random test: one of each kind, or as many as the environment says.
fn kills() -> usize {
    std::env::var("E2E_LEADER_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(2)
}

#[tokio::test]
async fn leaders_that_go_at_random_under_load_cost_no_run_and_no_verdict() {
    let stage = Stage::set("leaders-go").await;
    let mut load = Load::working_for(&stage, Duration::from_secs(20));
    let (mut leads, mut waits) = leader_and_standby(&stage).await;
    let mut hand_overs = HandOvers::default();
    for kill in 0..kills() {
        // Some in the middle of a start, some at any later time.
        load.add(5).await;
        // Not a wait for anything: the moment at which a leader goes is what this test draws.
        let pause = Duration::from_millis(rand::random_range(0..3000));
        tokio::time::sleep(pause).await;
        let goes = if kill % 2 == 0 { Goes::Killed } else { Goes::Asked };
        let took = hand_over(&stage, leads, goes).await;
        println!("{kill}: {goes:?} after {pause:?}, hand-over {took:.1?}");
        hand_overs.add(goes, took);
        leads = waits;
        waits = candidate(&stage);
        waits.logs("standing by").await;
    }
    println!("{hand_overs}");
    load.assert_true_verdicts().await;
}
