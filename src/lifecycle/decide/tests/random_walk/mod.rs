//! Random walks: crashes, lost answers, late effects, conflicts, two processes, edits, deletions, a workspace that comes and
//! goes, clocks that jump. After every step the promises hold; once the faults stop, everything comes to rest.
//!
//! The walks are the same in every run of the tests; `PROPTEST_CASES` asks for more of them.

mod databricks;
mod walk;

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::api::run::DeletionPolicy;
use crate::api::run_control::OnSpecChange;
use crate::lifecycle::control::Stage;
use walk::Walk;

/// What happens next.
#[derive(Debug, Clone)]
enum Happens {
    /// The process does its next step, and everything goes well.
    Step,
    /// The next step's write meets a conflict: nothing is written.
    Conflict,
    /// The next step's write is done, but its answer is lost.
    WriteAnswerLost,
    /// The next step's call has its effect, but the answer is lost.
    AnswerLost,
    /// The next step's call has its effect only later.
    EffectDelayed,
    /// What was delayed takes effect.
    EffectLands,
    /// The next step's call fails without an effect.
    CallFails(Failure),
    /// The process is paused between deciding for a call and sending it, and the other one goes on.
    Pause,
    /// The other process goes on (and sends what it was about to send).
    OtherProcess,
    /// The process dies, perhaps in the middle of a call that has its effect.
    Crash { in_a_call: bool },
    /// The run goes on, or ends like this.
    RunGoesOn(&'static str),
    /// A person deletes the run in Databricks.
    RunIsDeleted,
    /// The poller reads the run.
    Poll,
    /// So many seconds pass.
    Passes(u64),
    /// The wall clock alone jumps.
    ClockJumps(i64),
    /// The user edits the spec.
    Edit(u8),
    /// The user sets or removes the re-run annotation.
    Rerun(Option<u8>),
    /// The user sets the deletion policy.
    Policy(DeletionPolicy),
    /// A person repairs the run in Databricks.
    RunIsRepaired,
    /// The user suspends or resumes.
    Suspend(bool),
    /// The user sets `spec.cancel`.
    Cancel(bool),
    /// The user sets the cancel annotation.
    CancelToken(u8),
    /// The user sets the repair annotation.
    RepairToken(u8),
    /// The user sets `onSpecChange`.
    OnSpecChange(OnSpecChange),
    /// The user sets the number of further attempts, and whether they are repairs.
    Retries(i32, bool),
    /// The user sets the two deadlines.
    Deadlines(Option<i64>, Option<i64>),
    /// The user deletes the object.
    Delete,
    /// The workspace object changes.
    Workspace(View),
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    NotConnected,
    Refused,
    Unavailable,
    NotNow,
}

#[derive(Debug, Clone, Copy)]
enum View {
    Ready,
    Missing,
    Elsewhere,
    NotReady,
    NotAllowed,
    Retained,
}

fn happens() -> impl Strategy<Value = Happens> {
    let failure =
        prop::sample::select(vec![Failure::NotConnected, Failure::Refused, Failure::Unavailable, Failure::NotNow]);
    let view = prop::sample::select(vec![
        View::Ready,
        View::Ready,
        View::Missing,
        View::Elsewhere,
        View::NotReady,
        View::NotAllowed,
        View::Retained,
    ]);
    prop_oneof![
        40 => Just(Happens::Step),
        3 => Just(Happens::Conflict),
        3 => Just(Happens::WriteAnswerLost),
        8 => Just(Happens::AnswerLost),
        2 => Just(Happens::EffectDelayed),
        2 => Just(Happens::EffectLands),
        10 => failure.prop_map(Happens::CallFails),
        2 => Just(Happens::Pause),
        3 => Just(Happens::OtherProcess),
        3 => any::<bool>().prop_map(|in_a_call| Happens::Crash { in_a_call }),
        12 => prop::sample::select(vec!["RUNNING", "SUCCESS", "FAILED", "FAILED"]).prop_map(Happens::RunGoesOn),
        1 => Just(Happens::RunIsDeleted),
        12 => Just(Happens::Poll),
        10 => prop::sample::select(vec![1, 10, 30, 90, 300, 4_000, 90_000]).prop_map(Happens::Passes),
        1 => prop::sample::select(vec![-4_000, 4_000, 90_000]).prop_map(Happens::ClockJumps),
        4 => (0u8..3).prop_map(Happens::Edit),
        3 => prop::option::of(0u8..3).prop_map(Happens::Rerun),
        1 => prop::sample::select(vec![DeletionPolicy::Cancel, DeletionPolicy::Orphan]).prop_map(Happens::Policy),
        2 => Just(Happens::RunIsRepaired),
        3 => any::<bool>().prop_map(Happens::Suspend),
        2 => prop::sample::select(vec![true, false, false]).prop_map(Happens::Cancel),
        2 => (0u8..3).prop_map(Happens::CancelToken),
        8 => (0u8..9).prop_map(Happens::RepairToken),
        1 => prop::sample::select(vec![OnSpecChange::Wait, OnSpecChange::Replace]).prop_map(Happens::OnSpecChange),
        3 => (0i32..3, any::<bool>()).prop_map(|(limit, repair)| Happens::Retries(limit, repair)),
        1 => (deadline(), deadline()).prop_map(|(starting, active)| Happens::Deadlines(starting, active)),
        1 => Just(Happens::Delete),
        4 => view.prop_map(Happens::Workspace),
    ]
}

fn deadline() -> impl Strategy<Value = Option<i64>> {
    prop::sample::select(vec![None, Some(5), Some(100), Some(1_000), Some(10_000)])
}

#[test]
fn whatever_happens_no_promise_is_broken_and_everything_comes_to_rest() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let cases = Config::default().cases.max(400);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    let walks = prop::collection::vec(happens(), 1..150);
    let moves = RefCell::new(BTreeSet::new());
    let outcome = TestRunner::new_with_rng(config, rng).run(&walks, |events| {
        let mut walk = Walk::new();
        for event in &events {
            walk.goes_on(event);
        }
        moves.borrow_mut().extend(walk.ends());
        Ok(())
    });
    if let Err(TestError::Fail(why, events)) = outcome {
        let story: Vec<_> = events.iter().map(|event| format!("  {event:?}")).collect();
        panic!("{why}\nafter:\n{}", story.join("\n"));
    }
    let (walked, drawn) = (moves.into_inner(), drawn_moves());
    let undrawn: Vec<_> = walked.difference(&drawn).collect();
    let unwalked: Vec<_> = drawn.difference(&walked).collect();
    assert!(undrawn.is_empty(), "docs/run-lifecycle.md does not draw {undrawn:?}");
    assert!(unwalked.is_empty(), "docs/run-lifecycle.md draws what never happens: {unwalked:?}");
}

/// The arrows of the drawing in the documentation.
fn drawn_moves() -> BTreeSet<(Stage, Stage)> {
    let stage = |name: &str| Stage::ALL.into_iter().find(|stage| format!("{stage:?}") == name);
    let arrow = |line: &str| {
        let (from, rest) = line.trim().split_once(" --> ")?;
        let to = rest.split_once(':').map_or(rest, |(to, _)| to);
        Some((stage(from)?, stage(to)?))
    };
    include_str!("../../../../../docs/run-lifecycle.md").lines().filter_map(arrow).collect()
}
