//! How often a run is read: as its spec asks, or every 5 s at first and every 60 s at last.

use super::observe::Looked;
use super::ports::Pace;

pub(super) fn pace(looked: &Looked<'_>) -> Pace {
    const INITIAL: u32 = 5;
    const MAX: u32 = 60;
    let polling = looked.spec().ok().and_then(|spec| spec.polling);
    let seconds =
        |asked: Option<i32>, default: u32| asked.and_then(|asked| u32::try_from(asked).ok()).unwrap_or(default).max(1);
    let initial_seconds = seconds(polling.and_then(|polling| polling.initial_seconds), INITIAL);
    let max_seconds = seconds(polling.and_then(|polling| polling.max_seconds), MAX).max(initial_seconds);
    Pace { initial_seconds, max_seconds }
}
