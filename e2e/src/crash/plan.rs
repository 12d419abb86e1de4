//! Which process dies where, drawn from the seed.

use databricks_run_operator::controller::fail_points::FailPoint;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// Kills before the next is made to wait until everything has recovered.
pub(super) const SERIES: u32 = 8;

/// Kills at random times in a round through all points.
const AT_RANDOM: usize = 4;

/// Where a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// At the nth visit of a point.
    Point(FailPoint, u32),
    /// Wherever it is.
    Anywhere,
}

/// Who is there beside the processes that die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// Nobody.
    Alone,
    /// Another operator.
    Pair,
    /// Another that is frozen after a while and wakes up with an old view when all is over.
    Sleeper,
}

/// Whether a process that dies here may leave a start in doubt: those come twice as often.
pub(super) fn is_within_a_start(point: FailPoint) -> bool {
    matches!(
        point,
        FailPoint::AfterIntent
            | FailPoint::BeforeTakeOver
            | FailPoint::AfterTakeOver
            | FailPoint::BeforeSend
            | FailPoint::AfterSend
            | FailPoint::BeforeRunId
    )
}

fn is_take_over(target: Target) -> bool {
    matches!(target, Target::Point(FailPoint::BeforeTakeOver | FailPoint::AfterTakeOver, _))
}

/// Whether a process comes by so seldom that it must not be waited for twice.
fn is_rare(point: FailPoint) -> bool {
    matches!(
        point,
        FailPoint::BeforeTakeOver
            | FailPoint::AfterTakeOver
            | FailPoint::BeforeBackoff
            | FailPoint::AfterBackoff
            | FailPoint::BeforeRead
            | FailPoint::AfterRead
            | FailPoint::BeforeRepairIntent
            | FailPoint::AfterRepairIntent
            | FailPoint::BeforeRepair
            | FailPoint::AfterRepair
            | FailPoint::BeforeRepairId
            | FailPoint::AfterRepairId
            | FailPoint::BeforeDelete
            | FailPoint::AfterDelete
    )
}

/// The targets still to come of this round through all of them.
pub(super) struct Plan {
    round: Vec<Target>,
    rounds: u32,
}

impl Plan {
    pub(super) fn new() -> Self {
        Self { round: Vec::new(), rounds: 0 }
    }

    /// The next target. Nobody waits at a take-over before there is something to take over.
    pub(super) fn next(&mut self, random: &mut StdRng, may_take_over: bool) -> Target {
        loop {
            let fits = |target: &Target| may_take_over || !is_take_over(*target);
            if let Some(position) = self.round.iter().rposition(fits) {
                return self.round.remove(position);
            }
            let mut round = self.another_round(random);
            round.append(&mut self.round);
            self.round = round;
        }
    }

    fn another_round(&mut self, random: &mut StdRng) -> Vec<Target> {
        let mut points = Vec::new();
        for point in FailPoint::ALL {
            let nth = if is_rare(*point) { 1 } else { random.random_range(1..=3) };
            points.push(Target::Point(*point, nth));
        }
        let mut within: Vec<_> = FailPoint::ALL.iter().filter(|point| is_within_a_start(**point)).collect();
        within.reverse();
        let mut within: Vec<_> = within.into_iter().map(|point| Target::Point(*point, 1)).collect();
        points.extend([Target::Anywhere; AT_RANDOM]);
        points.shuffle(random);
        self.rounds += 1;
        if self.rounds > 1 {
            points.append(&mut within);
            points.shuffle(random);
        } else {
            // Whoever asks for few kills sees the most interesting.
            points.append(&mut within);
        }
        points
    }

    /// Puts a target that nobody came to back, for later.
    pub(super) fn again(&mut self, target: Target) {
        self.round.insert(0, target);
    }

    /// Who else plays in a series.
    #[expect(clippy::unused_self, reason = "it is the plan that says so")]
    pub(super) fn company(&self, random: &mut StdRng) -> Company {
        match random.random_range(0..10) {
            0..6 => Company::Alone,
            6..8 => Company::Pair,
            _ => Company::Sleeper,
        }
    }
}
