//! A short crash test: operators die at every step of a start, and no run is started twice. `cargo crash-test` plays a long one.

use e2e::crash::{Options, Report, play};

#[expect(clippy::panic, reason = "a failure fails the test, with its own words")]
async fn clean(kills: u32, election: bool, seed: u64) -> Report {
    let program = env!("CARGO_BIN_EXE_operator").to_owned();
    let report = play(&Options { kills, election, seed, program, progress: |_| () }).await;
    let report = report.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.is_clean(), "{report}\n{}", report.logs());
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_that_are_killed_at_every_step_start_each_run_once() {
    let report = clean(10, false, 4).await;
    assert!(report.kills_within_a_start() >= 3, "the kills hit nothing:\n{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_elect_a_leader_are_killed_wherever_they_are_and_start_each_run_once() {
    clean(5, true, 4).await;
}
