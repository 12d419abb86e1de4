//! What always holds, and what the world remembers to tell. Nothing here asks the operator what it thinks: the promises are
//! held against the object store's versions, Databricks' runs and what was sent.

mod calls;
mod deadlines;
mod ends;
mod rest;
mod wishes;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use databricks_run_operator::api::status::WorkspacePin;
use databricks_run_operator::lifecycle::{Announcement, EventReason};

pub(super) use calls::{Post, asked_elsewhere, canceling, posting, repair_begins, repairing, run_begins};
pub(super) use rest::check_rest;
pub(super) use wishes::{Wish, not_heard};
pub(super) use writes::{Author, wrote};

use super::process::ProcessId;

macro_rules! invariants {
    ($($name:ident => $sentence:literal,)+) => {
        /// A promise.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Invariant {
            $(#[doc = $sentence] $name,)+
        }

        impl Invariant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What it says.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)+
                }
            }
        }
    };
}

invariants! {
    OneRunPerToken => "at most one run per uid and serial while the workspace remembers the token; else a second one only where the first had ended or was deleted",
    OneLiveRun => "no second run begins beside a live run of the same object",
    OneRunPerAsk => "no further intent for the same ask: a retry, a resumption or a re-run asked for apart",
    OneRepairPerRecord => "a repair that was recorded is made at most once",
    IntentFirst => "no run, and no request to start one, without an intent recorded before it, body and workspace unchanged",
    HeldFirst => "no intent without the finalizer and the start mark of its serial on the object",
    NewestSerial => "serials never decrease, and runId belongs to the newest",
    NoOverlap => "no two POSTs of one token on their way at once, but by a process that stood still between its last look at the clock and the send",
    Pinned => "nothing is sent, or asked to be sent, to a workspace other than the one pinned",
    RestoredStartsNothing => "a restored or copied object starts nothing until it is asked to",
    TrueVerdict => "no verdict that Databricks did not give at some instant; the exceptions have names",
    RejectedHasNoRun => "a request that ended as surely not started has no run, then or later",
    CauseFirst => "no run is cancelled without its cause in the status, unless the object has gone on without the run",
    DeadlineFirst => "nothing is cancelled or ended for a deadline before it has passed",
    DeletesItselfWhenDone => "an object deletes itself only when it is finished, nothing more was asked of it, and its time is up",
    NothingLeftBehind => "no live run is left by a deleted object with deletionPolicy Cancel, unless it was warned about or a person took the finalizer off",
    Conditions => "every status that is written says one of the things that the condition table allows",
    Bounded => "a status without its intent stays within 32 KiB",
    Heard => "what a person asks for calls for a look as soon as a watch tells of it",
    FinalizerGoes => "no deleted object is held for ever",
    Quiet => "two hours after the last fault and the last act of a person everything is at rest, on the newest request",
}

/// A promise that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// How, in words.
    pub how: String,
}

/// The intent behind a token.
#[derive(Debug, Default)]
struct Intended {
    uid: String,
    serial: i64,
    /// What may be sent for it and where. More than one only where a person has wiped the status.
    requests: Vec<(String, WorkspacePin)>,
}

/// What is remembered of an object, by its uid.
#[derive(Debug, Default)]
struct Known {
    highest_serial: i64,
    /// What was asked for when the newest run key was written.
    ask: Option<String>,
    /// Intents written since.
    intents_for_ask: u32,
    /// How many of them may be further attempts.
    retries_allowed: u32,
    /// Runs with whose id a cause of cancellation was recorded.
    causes: BTreeSet<String>,
    /// Notes of the events that told of a run left behind.
    orphans: Vec<String>,
    /// A person took the finalizer off.
    finalizer_taken: bool,
    /// A person wiped the status, and nothing was begun since.
    wiped: bool,
    /// A person wiped the status, and the workspace moved to another host.
    wiped_and_moved: bool,
    /// Repairs by run.
    repairs: BTreeMap<String, Repairs>,
    /// It came with another object's start mark; the re-run token that it came with.
    restored: Option<Restored>,
    /// Serials whose runs nobody answers for any more, with a warning.
    given_up: BTreeSet<i64>,
    /// Serials that ended as surely not started.
    not_started: BTreeSet<i64>,
    /// When it went, by whose hand, and whether its live runs were to be cancelled.
    gone: Option<(Duration, Author, bool)>,
}

/// That an object came from another, and with which re-run token.
#[derive(Debug)]
struct Restored {
    with: Option<String>,
}

/// Repairs of a run that were recorded, each with the one that came before it, and how many were made.
#[derive(Debug, Default)]
struct Repairs {
    after: Vec<Option<String>>,
    begun: usize,
}

/// A POST on its way.
#[derive(Debug)]
struct OnItsWay {
    token: String,
    by: ProcessId,
    until: Duration,
    /// Its sender stood still between its last look at the clock and the send.
    stood_still: bool,
}

/// All that is remembered.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    intents: BTreeMap<String, Intended>,
    objects: BTreeMap<String, Known>,
    on_their_way: Vec<OnItsWay>,
    deaths: BTreeMap<ProcessId, Duration>,
    /// Kubernetes answers nothing but errors until then.
    pub(super) kubernetes_down_until: Duration,
}

impl Ledger {
    fn known(&mut self, uid: &str) -> &mut Known {
        self.objects.entry(uid.to_owned()).or_default()
    }

    /// A process has died, and its connections with it.
    pub(super) fn died(&mut self, process: ProcessId, now: Duration) {
        self.deaths.insert(process, now);
        self.on_their_way.retain(|post| post.by != process);
    }

    /// An event is told, or tried to: events are best effort, the log has it too.
    pub(super) fn told(&mut self, uid: &str, announcement: &Announcement) {
        if announcement.reason == EventReason::RunOrphaned {
            self.known(uid).orphans.push(announcement.note.clone());
        }
    }

    /// An object came with another object's start mark.
    pub(super) fn restored(&mut self, uid: &str, rerun: Option<String>) {
        self.known(uid).restored = Some(Restored { with: rerun });
    }
}
