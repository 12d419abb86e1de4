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

/// The targets still to come of this round through all of them.
pub(super) struct Plan {
    round: Vec<Target>,
    rounds: u32,
}

impl Plan {
    pub(super) fn new() -> Self {
        Self { round: Vec::new(), rounds: 0 }
    }

    pub(super) fn next(&mut self, random: &mut StdRng) -> Target {
        loop {
            if let Some(target) = self.round.pop() {
                return target;
            }
            self.round = self.another_round(random);
        }
    }

    fn another_round(&mut self, random: &mut StdRng) -> Vec<Target> {
        let mut nth = || random.random_range(1..=3);
        let mut points: Vec<_> = FailPoint::ALL.iter().map(|point| Target::Point(*point, nth())).collect();
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

    /// Whether a series is played by two operators at once.
    #[expect(clippy::unused_self, reason = "it is the plan that says so")]
    pub(super) fn is_for_two(&self, random: &mut StdRng) -> bool {
        random.random_bool(0.35)
    }
}
