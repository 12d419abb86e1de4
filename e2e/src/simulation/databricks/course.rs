//! The course a run takes: where it is and when, and how it ends, drawn by lot when it begins. Each face carries the
//! verdict that it is, if it is one, in words of its own: the operator's verdicts are held against them.

use std::time::Duration;

use crate::simulation::chance::Chance;

/// What a verdict says: the state and the reason.
pub(in crate::simulation) type Word = (&'static str, &'static str);

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulation) struct Ending {
    pub(super) life: &'static str,
    pub(super) result: &'static str,
    pub(super) status: &'static str,
    pub(super) code: &'static str,
    pub(super) word: Word,
    /// Whether a task of it failed.
    pub(super) fails: bool,
}

const fn ending(
    life: &'static str,
    result: &'static str,
    status: &'static str,
    code: &'static str,
    word: Word,
    fails: bool,
) -> Ending {
    Ending { life, result, status, code, word, fails }
}

const SUCCEEDED: Ending =
    ending("TERMINATED", "SUCCESS", "TERMINATED", "SUCCESS", ("Succeeded", "RunSucceeded"), false);
/// What becomes of a run that is cancelled.
pub(super) const CANCELED: Ending =
    ending("TERMINATED", "CANCELED", "TERMINATED", "USER_CANCELED", ("Canceled", "RunCanceled"), false);

/// The endings of runs that take an ordinary course.
const ORDINARY: [(u32, Ending); 4] = [
    (4, SUCCEEDED),
    (3, ending("TERMINATED", "FAILED", "TERMINATED", "RUN_EXECUTION_ERROR", ("Failed", "RunFailed"), true)),
    (3, ending("INTERNAL_ERROR", "FAILED", "TERMINATED", "CLOUD_FAILURE", ("Failed", "RunFailed"), true)),
    (1, ending("TERMINATED", "FAILED", "TERMINATED", "DRIVER_ERROR", ("Failed", "RunFailed"), true)),
];

/// Endings that are rare, old, or should not be.
const STRANGE: [(u32, Ending); 9] = [
    (2, ending("TERMINATED", "SUCCESS", "", "", ("Succeeded", "RunSucceeded"), false)),
    (2, ending("", "", "TERMINATED", "SUCCESS", ("Succeeded", "RunSucceeded"), false)),
    (
        2,
        ending(
            "TERMINATED",
            "SUCCESS_WITH_FAILURES",
            "TERMINATED",
            "SUCCESS_WITH_FAILURES",
            ("Succeeded", "RunSucceededWithFailures"),
            true,
        ),
    ),
    (2, ending("TERMINATED", "TIMEDOUT", "TERMINATED", "CANCELED", ("TimedOut", "RunTimedOut"), true)),
    (2, ending("SKIPPED", "", "TERMINATED", "MAX_CONCURRENT_RUNS_EXCEEDED", ("Skipped", "RunSkipped"), false)),
    (2, ending("INTERNAL_ERROR", "", "", "", ("Failed", "RunFailed"), true)),
    (2, ending("TERMINATED", "", "TERMINATED", "", ("Failed", "ResultMissing"), false)),
    // The older description never learns of the end.
    (1, ending("RUNNING", "", "TERMINATED", "SUCCESS", ("Succeeded", "RunSucceeded"), false)),
    (1, ending("TERMINATED", "BRAND_NEW_RESULT", "TERMINATED", "BRAND_NEW_CODE", ("Failed", "RunFailed"), true)),
];

/// Where a run is, as it is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulation) struct Face {
    pub(super) life: &'static str,
    pub(super) result: &'static str,
    pub(super) status: &'static str,
    pub(super) code: &'static str,
    /// The verdict that this face is.
    pub(in crate::simulation) word: Option<Word>,
    pub(super) fails: bool,
    /// Whether a task executes or has.
    pub(super) executes: bool,
}

impl Face {
    const fn active(life: &'static str, status: &'static str, executes: bool) -> Self {
        Self { life, result: "", status, code: "", word: None, fails: false, executes }
    }

    pub(super) const fn ended(ending: Ending) -> Self {
        Self {
            life: ending.life,
            result: ending.result,
            status: ending.status,
            code: ending.code,
            word: Some(ending.word),
            fails: ending.fails,
            executes: true,
        }
    }
}

pub(super) const PENDING: Face = Face::active("PENDING", "PENDING", false);
const QUEUED: Face = Face::active("QUEUED", "QUEUED", false);
pub(super) const RUNNING: Face = Face::active("RUNNING", "RUNNING", true);
pub(super) const TERMINATING: Face = Face::active("TERMINATING", "TERMINATING", true);
/// Faces that no verdict may be made of, however they look: they pass within two minutes.
const PUZZLES: [Face; 9] = [
    Face::active("HIBERNATING", "DREAMING", true),
    Face::active("HIBERNATING", "", true),
    Face::active("", "DREAMING", true),
    Face { result: "SUCCESS", ..Face::active("HIBERNATING", "", true) },
    Face { result: "FAILED", code: "DRIVER_ERROR", ..Face::active("HIBERNATING", "DREAMING", true) },
    Face { code: "SUCCESS", ..Face::active("", "DREAMING", true) },
    Face { result: "SUCCESS", ..Face::active("TERMINATED", "RUNNING", true) },
    Face { result: "FAILED", code: "INTERNAL_ERROR", ..Face::active("RUNNING", "TERMINATED", true) },
    Face { result: "SUCCESS", code: "SUCCESS", ..Face::active("TERMINATING", "TERMINATING", true) },
];

/// A run's course: each face and how long after the one before.
pub(super) fn course(chance: &mut Chance, strange: u32) -> Vec<(Duration, Face)> {
    let mut course = Vec::new();
    if chance.odds(3000) {
        course.push((Duration::ZERO, QUEUED));
        course.push((chance.seconds(1..=200), PENDING));
    } else {
        course.push((Duration::ZERO, PENDING));
    }
    course.push((chance.seconds(1..=60), RUNNING));
    if chance.odds(strange) {
        let puzzle = chance.pick(&PUZZLES);
        course.push((chance.seconds(1..=100), puzzle));
        course.push((chance.seconds(1..=110), RUNNING));
    }
    let work = if chance.odds(3000) { chance.seconds(300..=1500) } else { chance.seconds(1..=200) };
    course.push((work, TERMINATING));
    let ending = if chance.odds(strange) { chance.weighted(&STRANGE) } else { chance.weighted(&ORDINARY) };
    course.push((chance.seconds(1..=5), Face::ended(ending)));
    course
}

/// What a repair of a failed run leads to.
pub(super) fn repair(chance: &mut Chance) -> Vec<(Duration, Face)> {
    let ending = chance.weighted(&[(3, SUCCEEDED), (1, ORDINARY[1].1)]);
    vec![(chance.seconds(1..=30), RUNNING), (chance.seconds(5..=200), Face::ended(ending))]
}
