//! The workspace's troubles during a series of kills. The answer to the workspace's own check stays as it is: an outage of
//! everything is another test's, and here it would only keep people waiting.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::workspace::{Control, Fault, Kind, Operation, RetryAfter};

/// What has an effect that must not come twice.
const STARTS: [Operation; 3] = [Operation::RunNow, Operation::Submit, Operation::Repair];
const OTHERS: [Operation; 3] = [Operation::GetRun, Operation::Cancel, Operation::GetOutput];
/// Longer than the deadline of a start: its effect lands when nobody waits for it any more.
const TOO_LATE: Duration = Duration::from_millis(1200);

/// Longer than it takes until another has taken over: its effect lands beside the other's.
const MUCH_TOO_LATE: Duration = Duration::from_millis(5500);

/// Draws the weather of a series.
pub(super) fn set(databricks: &Control, random: &mut StdRng) {
    databricks.clear_faults();
    let starts =
        |kind: Kind, share: u32| Fault { operations: STARTS.to_vec(), ..Fault::everywhere(kind).per_mille(share) };
    let others =
        |kind: Kind, share: u32| Fault { operations: OTHERS.to_vec(), ..Fault::everywhere(kind).per_mille(share) };
    let faults = match random.random_range(0..9) {
        0..3 => vec![],
        3 => vec![starts(Kind::LoseAnswer, 400)],
        4 => vec![starts(Kind::late_effect(TOO_LATE), 400)],
        5 => vec![starts(Kind::late_effect(MUCH_TOO_LATE), 250)],
        6 => vec![starts(Kind::unavailable(), 250), others(Kind::unavailable(), 250)],
        7 => vec![
            starts(Kind::throttled(Some(RetryAfter::Seconds(1))), 250),
            others(Kind::throttled(Some(RetryAfter::Seconds(1))), 250),
        ],
        _ => vec![starts(Kind::Reset, 200), starts(Kind::Truncate, 200), others(Kind::Reset, 200)],
    };
    for fault in faults {
        databricks.fault(fault);
    }
}
