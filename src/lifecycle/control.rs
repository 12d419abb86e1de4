//! What a command does to a request, by where the request stands: one table. `decide` asks it, its test walks through all
//! of it, and docs/run-lifecycle.md shows it. The row above outranks the row below: delete, cancel, suspend, replace.

use super::decide::Phase;
use super::observed::Subject;
use super::report::current_reason;
use super::request::accepted;
use crate::api::conditions::Reason;
use crate::api::status::DatabricksRunStatus;

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Nobody has looked at it yet.
    None,
    /// Nothing was sent: suspended, or something is in the way.
    Held,
    /// The intent is written, its run is not known yet.
    IntentOpen,
    /// Its run is under way.
    Live,
    /// Its run was told to stop, or will be: the cause is written.
    Canceling,
    /// Its run failed and the next attempt is waited for.
    Backoff,
    /// It has ended.
    Terminal,
}

/// What can be asked of an object, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// `kubectl delete`.
    Delete,
    /// `spec.cancel`, or a new token of `dbrun.dev/cancel-requested-at`.
    Cancel,
    /// `spec.suspend`.
    Suspend,
    /// A new token of `dbrun.dev/rerun-requested-at`, or another `spec.rerunToken`.
    Rerun,
    /// Another request: `workspaceRef`, `runNow`, `submit` or `jobName` were changed.
    Edit,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reaction {
    /// Nothing.
    Nothing,
    /// The newest request begins.
    Begin,
    /// Nothing starts until the object is resumed.
    Hold,
    /// The request ends without a run, or as its last run did.
    End,
    /// Surely not sent: as `Hold`, `End` or `Begin`. Perhaps sent: the run is found by the same request, then cancelled.
    Close,
    /// The cause is written, the run is cancelled, its end is awaited.
    Cancel,
    /// With `onSpecChange: Wait` as `AtTheEnd`; with `Replace` as `Close` or `Cancel`.
    BySpecChange,
    /// Takes effect when the run has ended.
    AtTheEnd,
    /// The object is let go of.
    Release,
}

impl Stage {
    /// All of them, in the order of the table's columns.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Held, Self::IntentOpen, Self::Live, Self::Canceling, Self::Backoff, Self::Terminal];

    /// Where the request that a status speaks of stands.
    #[must_use]
    pub fn of(status: &DatabricksRunStatus) -> Self {
        match Phase::of(status) {
            Phase::Open(_) if status.cancel.is_none() => Self::IntentOpen,
            Phase::Backoff(_) => Self::Backoff,
            Phase::Live(_) | Phase::Repairing(_) if status.cancel.is_none() => Self::Live,
            Phase::Open(_) | Phase::Live(_) | Phase::Repairing(_) | Phase::Unreadable => Self::Canceling,
            Phase::Idle if status.completion_time.is_some() => Self::Terminal,
            Phase::Idle if status.run_key.is_some() => Self::Held,
            Phase::Idle => Self::None,
        }
    }

    fn column(self) -> usize {
        Self::ALL.iter().position(|stage| *stage == self).unwrap_or_default()
    }
}

impl Command {
    /// All of them, the strongest first.
    pub const ALL: [Self; 5] = [Self::Delete, Self::Cancel, Self::Suspend, Self::Rerun, Self::Edit];
}

/// One row of the table: what a command does at each stage.
#[must_use]
pub fn row(command: Command) -> [Reaction; 7] {
    use Reaction::{AtTheEnd, Begin, BySpecChange, Cancel, Close, End, Hold, Nothing, Release};
    match command {
        //                  none     held     intent open   live          canceling backoff  terminal
        Command::Delete => [Release, Release, Close, Cancel, AtTheEnd, Release, Release],
        Command::Cancel => [End, End, Close, Cancel, AtTheEnd, End, Nothing],
        Command::Suspend => [Hold, Hold, Close, Cancel, AtTheEnd, Hold, Nothing],
        Command::Rerun | Command::Edit => [Begin, Begin, BySpecChange, BySpecChange, AtTheEnd, Begin, Begin],
    }
}

/// What a command does at a stage.
#[must_use]
pub fn reaction(command: Command, stage: Stage) -> Reaction {
    row(command)[stage.column()]
}

/// What is asked of an object beyond running it, as far as it was not honoured yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// That the request is cancelled.
    pub cancel: bool,
    /// That nothing runs.
    pub suspend: bool,
}

impl Asked {
    /// Reads it off spec and annotations, against what this status has handled. An unreadable spec asks for nothing.
    #[must_use]
    pub fn of(subject: &Subject<'_>, status: &DatabricksRunStatus) -> Self {
        let spec = subject.spec.ok();
        let token = accepted(subject.cancel, status.last_handled_cancel.as_deref());
        // A token that was there before the first request belongs to that request, as one at creation does.
        let commanded = status.run_key.is_some() && token != status.last_handled_cancel;
        Self {
            cancel: spec.is_some_and(|spec| spec.cancel) || commanded,
            suspend: spec.is_some_and(|spec| spec.suspend),
        }
    }

    /// The strongest of these that does something at a stage.
    #[must_use]
    pub fn strongest(self, stage: Stage) -> Option<(Command, Reaction)> {
        [(Command::Cancel, self.cancel), (Command::Suspend, self.suspend)]
            .into_iter()
            .filter(|(_, asked)| *asked)
            .map(|(command, _)| (command, reaction(command, stage)))
            .find(|(_, reaction)| *reaction != Reaction::Nothing)
    }
}

/// Whether the status says that the object is suspended.
#[must_use]
pub fn is_suspended(status: &DatabricksRunStatus) -> bool {
    current_reason(status) == Some(Reason::Suspended.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reaction in the words of the documentation.
    fn word(reaction: Reaction) -> &'static str {
        match reaction {
            Reaction::Nothing => "nothing",
            Reaction::Begin => "begins",
            Reaction::Hold => "held",
            Reaction::End => "ends",
            Reaction::Close => "closed",
            Reaction::Cancel => "cancelled",
            Reaction::BySpecChange => "`onSpecChange`",
            Reaction::AtTheEnd => "at its end",
            Reaction::Release => "released",
        }
    }

    #[test]
    fn the_documentation_shows_the_table() {
        let page = include_str!("../../docs/run-lifecycle.md");
        for command in Command::ALL {
            let name = format!("{command:?}").to_lowercase();
            let cells = row(command).map(word).join(" | ");
            let line = format!("| **{name}** | {cells} |");
            assert!(page.lines().any(|it| it == line), "docs/run-lifecycle.md lacks the row\n{line}");
        }
    }

    #[test]
    fn a_start_or_a_run_that_has_a_cause_to_stop_is_canceling() {
        use crate::api::status::{CancelCause, CancelRecord, Intent};
        let cancel =
            Some(CancelRecord { cause: CancelCause::Suspension, since: crate::lifecycle::fixtures::now(0).stamp() });
        let open = DatabricksRunStatus { intent: Some(Intent::default()), ..DatabricksRunStatus::default() };
        let live = DatabricksRunStatus { run_id: Some("7".to_owned()), ..DatabricksRunStatus::default() };
        for (status, stage) in [(open, Stage::IntentOpen), (live, Stage::Live)] {
            assert_eq!(Stage::of(&status), stage);
            assert_eq!(Stage::of(&DatabricksRunStatus { cancel: cancel.clone(), ..status }), Stage::Canceling);
        }
    }

    #[test]
    fn a_stronger_command_never_does_less_to_what_is_under_way() {
        for stage in [Stage::IntentOpen, Stage::Live] {
            for command in [Command::Delete, Command::Cancel, Command::Suspend] {
                assert!(matches!(reaction(command, stage), Reaction::Close | Reaction::Cancel));
            }
        }
    }
}
