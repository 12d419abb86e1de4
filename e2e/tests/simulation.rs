//! The simulation in the suite: the same worlds each time, enough of them to meet every fault there is.

use e2e::simulation::{AfterFailure, many};

/// Worlds lived through.
const WORLDS: u64 = 800;
/// At once. Tests of other files run beside this one.
const THREADS: usize = 2;

#[test]
fn in_worlds_where_everything_goes_wrong_no_promise_is_broken() {
    let findings = many(0, WORLDS, THREADS, AfterFailure::GoOn);
    assert!(findings.failures.is_empty(), "run `cargo simulate --seed N` for a story: {:#?}", findings.failures);
    assert_eq!(findings.worlds, WORLDS);
    let tally = &findings.tally;
    for (group, name) in [
        ("processes", "killed"),
        ("processes", "stood still"),
        ("Databricks", "answer lost"),
        ("Databricks", "effect after the time-out"),
        ("Databricks", "executed, and answered with an error"),
        ("Kubernetes", "answer lost"),
        ("watch", "several changes at once"),
        ("watch", "listed an older state than before"),
        ("clocks", "jumped"),
        ("takeovers", "of an open intent"),
        ("elections", "won"),
        ("elections", "lost"),
        ("elections", "given back"),
        ("starts", "repeated: the run there is"),
        ("starts", "a repair began"),
        ("people", "restored an object that had been run"),
        ("at rest", "finished"),
    ] {
        assert!(tally.of(group, name) > 0, "not one world with {group}: {name}\n{tally}");
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    let story = |seed| {
        let metrics = std::sync::Arc::new(databricks_run_operator::telemetry::Metrics::new());
        e2e::simulation::run(seed, e2e::simulation::Telling::Told, &metrics).story
    };
    for seed in [3, 58, 1204] {
        assert_eq!(story(seed), story(seed), "seed {seed}");
    }
    assert_ne!(story(3), story(4));
}
