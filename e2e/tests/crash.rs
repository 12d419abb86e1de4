//! A short crash test: operators die at every step of a start, and no run is started twice. `cargo crash-test` plays a long one.

use e2e::crash::{Options, play};

#[tokio::test(flavor = "multi_thread")]
async fn operators_that_are_killed_at_every_step_start_each_run_once() {
    let program = env!("CARGO_BIN_EXE_operator").to_owned();
    let report = play(&Options { kills: 10, seed: 4, program, progress: |_| () }).await;
    let report = report.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.is_clean(), "{report}\n{}", report.logs());
    assert!(report.kills_within_a_start() >= 3, "the kills hit nothing:\n{report}");
}
