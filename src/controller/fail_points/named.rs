//! The points by name. The environment names one, `NAME` or `NAME:NTH`; the process announces that it has come there on
//! standard error and does nothing more: nobody but SIGKILL ends it.

use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::When;
use crate::api::run::RunObject;
use crate::api::status::DatabricksRunStatus;
use crate::controller::ports::Place;
use crate::lifecycle::{Effect, MetadataChange};

/// The environment variable that names the point.
pub const VARIABLE: &str = "DBRUN_FAIL_POINT";
/// What a line that announces a point begins with; the name and the object follow.
pub const ANNOUNCEMENT: &str = "fail point reached: ";

macro_rules! fail_points {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// A point between two steps.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FailPoint {
            $($(#[$doc])* $name,)+
        }

        impl FailPoint {
            /// All of them, in the order in which a run comes by.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

fail_points! {
    /// The finalizer and the mark are about to be written.
    BeforeHold = "before-hold",
    /// They are written.
    AfterHold = "after-hold",
    /// The intent is about to be written.
    BeforeIntent = "before-intent",
    /// It is written, and nothing is sent yet.
    AfterIntent = "after-intent",
    /// Another process's intent is about to be taken over.
    BeforeTakeOver = "before-take-over",
    /// It is taken over, and nothing is sent yet.
    AfterTakeOver = "after-take-over",
    /// The request that starts the run is about to be sent.
    BeforeSend = "before-send",
    /// It was answered, if it was answered; the answer is not used yet.
    AfterSend = "after-send",
    /// The run id is known and about to be recorded.
    BeforeRunId = "before-run-id",
    /// It is recorded.
    AfterRunId = "after-run-id",
    /// A failed attempt is about to be put among the past ones, and the wait for the next to begin.
    BeforeBackoff = "before-backoff",
    /// That is written.
    AfterBackoff = "after-backoff",
    /// A failed run is about to be read afresh, before anything more is made of it.
    BeforeRead = "before-read",
    /// It was read, if it was answered.
    AfterRead = "after-read",
    /// A repair is about to be written ahead.
    BeforeRepairIntent = "before-repair-intent",
    /// It is written, and nothing is sent yet.
    AfterRepairIntent = "after-repair-intent",
    /// The request for the repair is about to be sent.
    BeforeRepair = "before-repair",
    /// It was answered, if it was answered; the answer is not used yet.
    AfterRepair = "after-repair",
    /// The repair's id is known and about to be recorded.
    BeforeRepairId = "before-repair-id",
    /// It is recorded.
    AfterRepairId = "after-repair-id",
    /// The cause of a cancellation is about to be written.
    BeforeCancelCause = "before-cancel-cause",
    /// It is written, and nothing is cancelled yet.
    AfterCancelCause = "after-cancel-cause",
    /// A cancellation is about to be sent.
    BeforeCancel = "before-cancel",
    /// It was answered, if it was answered.
    AfterCancel = "after-cancel",
    /// The end of the request is about to be written.
    BeforeVerdict = "before-verdict",
    /// It is written, and the object still held.
    AfterVerdict = "after-verdict",
    /// The object is about to be let go of.
    BeforeRelease = "before-release",
    /// It is let go of.
    AfterRelease = "after-release",
    /// A finished object is about to be deleted, for its time is up.
    BeforeDelete = "before-delete",
    /// That is told to Kubernetes.
    AfterDelete = "after-delete",
}

/// There is no point of this name.
#[derive(Debug, thiserror::Error)]
#[error("there is no fail point `{0}`")]
pub struct NoSuchPoint(String);

impl FromStr for FailPoint {
    type Err = NoSuchPoint;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|point| point.as_str() == name).ok_or_else(|| NoSuchPoint(name.to_owned()))
    }
}

/// Where this process is to stop, and at which of its visits, counted from 1.
static ARMED: LazyLock<Option<(FailPoint, u32)>> = LazyLock::new(|| {
    let asked = std::env::var(VARIABLE).ok()?;
    let (name, nth) = asked.split_once(':').unwrap_or((&asked, "1"));
    let armed = name.parse().ok().zip(nth.parse().ok());
    if armed.is_none() {
        eprintln!("{VARIABLE}={asked}: no such fail point; this process stops nowhere");
    }
    armed
});
/// Visits so far.
static VISITS: AtomicU32 = AtomicU32::new(0);
/// The point has been reached: whoever comes by any other point stops there, too.
static REACHED: AtomicBool = AtomicBool::new(false);

/// A change of the status.
pub(in crate::controller) fn of_write(when: When, place: &Place, before: &RunObject, after: &DatabricksRunStatus) {
    let none = DatabricksRunStatus::default();
    let before = before.status.as_ref().unwrap_or(&none);
    let pair = match (&before.intent, &after.intent) {
        (Some(old), Some(new)) if old.serial == new.serial && old.holder != new.holder => {
            (FailPoint::BeforeTakeOver, FailPoint::AfterTakeOver)
        }
        (Some(old), Some(new)) if old.serial == new.serial => return,
        (_, Some(_)) => (FailPoint::BeforeIntent, FailPoint::AfterIntent),
        (Some(_), None) if after.run_id.is_some() => (FailPoint::BeforeRunId, FailPoint::AfterRunId),
        _ if before.repair.is_none() && after.repair.is_some() => {
            (FailPoint::BeforeRepairIntent, FailPoint::AfterRepairIntent)
        }
        _ if repair_id(before).is_none() && repair_id(after).is_some() => {
            (FailPoint::BeforeRepairId, FailPoint::AfterRepairId)
        }
        _ if before.backoff.is_none() && after.backoff.is_some() => (FailPoint::BeforeBackoff, FailPoint::AfterBackoff),
        _ if before.cancel.is_none() && after.cancel.is_some() => {
            (FailPoint::BeforeCancelCause, FailPoint::AfterCancelCause)
        }
        _ if before.completion_time.is_none() && after.completion_time.is_some() => {
            (FailPoint::BeforeVerdict, FailPoint::AfterVerdict)
        }
        _ => return,
    };
    come_by(when, place, pair);
}

fn repair_id(status: &DatabricksRunStatus) -> Option<&String> {
    status.repair.as_ref()?.repair_id.as_ref()
}

/// A change of the metadata.
pub(in crate::controller) fn of_mark(when: When, place: &Place, change: &MetadataChange) {
    let pair = match change {
        MetadataChange::Hold { .. } => (FailPoint::BeforeHold, FailPoint::AfterHold),
        MetadataChange::Release { .. } => (FailPoint::BeforeRelease, FailPoint::AfterRelease),
    };
    come_by(when, place, pair);
}

/// A call to Databricks.
pub(in crate::controller) fn of_call(when: When, place: &Place, effect: &Effect) {
    let pair = match effect {
        Effect::Submit { .. } => (FailPoint::BeforeSend, FailPoint::AfterSend),
        Effect::Cancel { .. } => (FailPoint::BeforeCancel, FailPoint::AfterCancel),
        Effect::ReadRun { .. } => (FailPoint::BeforeRead, FailPoint::AfterRead),
        Effect::Repair { .. } => (FailPoint::BeforeRepair, FailPoint::AfterRepair),
        _ => return,
    };
    come_by(when, place, pair);
}

/// The deletion of an object by itself.
pub(in crate::controller) fn of_delete(when: When, place: &Place) {
    come_by(when, place, (FailPoint::BeforeDelete, FailPoint::AfterDelete));
}

fn come_by(when: When, place: &Place, (before, after): (FailPoint, FailPoint)) {
    let Some((armed, nth)) = *ARMED else { return };
    let point = match when {
        When::Before => before,
        When::After => after,
    };
    if !REACHED.load(Ordering::SeqCst) {
        if point != armed || VISITS.fetch_add(1, Ordering::SeqCst) + 1 != nth {
            return;
        }
        REACHED.store(true, Ordering::SeqCst);
        eprintln!("{ANNOUNCEMENT}{} at {place}", point.as_str());
    }
    loop {
        std::thread::park();
    }
}
