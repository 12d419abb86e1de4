//! What a [`Book`](super::Book) knows of one key, and what an answer does to it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::snapshot::{Absent, Failing, Seen, digest, life_cycle};
use super::sweep::Row;
use super::{Learned, Now, Read, Recorded, Schedule, Snapshot};
use crate::databricks::Whereabouts;

/// When the rate limit is the bottleneck, runs are asked about in the order in which they fell due. A poke goes as if
/// it had been due for so long: ahead of routine, but never starving it.
const POKE_HEAD_START: Duration = Duration::from_mins(1);

/// A wake that is not acknowledged is repeated after so long, doubling up to [`LAST_REPEAT`].
pub(super) const FIRST_REPEAT: Duration = Duration::from_secs(5);
/// The longest time between two wakes for one unacknowledged snapshot.
pub(super) const LAST_REPEAT: Duration = Duration::from_mins(1);

/// Whether somebody waits for a reading that is newer than his question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poke {
    /// Nobody.
    None,
    /// A get must be sent for it.
    Waiting,
    /// The get in flight was sent after it.
    Asked,
}

/// One key of a [`Book`](super::Book).
#[derive(Debug)]
pub(super) struct Entry {
    /// Decides between equal times, in place of the key.
    pub(super) id: u64,
    pub(super) schedule: Schedule,
    /// The wait before the next get, unjittered; none before the first answer.
    pub(super) wait: Option<Duration>,
    /// When the next get is due. The key is in `Book::gets` (or `Book::held`) under this time unless a get is in flight.
    pub(super) due: Duration,
    /// Whether the rate limit has named that time.
    pub(super) held: bool,
    /// When it was due before the rate limit put it off.
    pub(super) put_off: Option<Duration>,
    pub(super) poke: Poke,
    /// When the last get that answered a poke was sent.
    pub(super) poke_answered: Option<Duration>,
    pub(super) wake: Option<Wake>,
    /// How it stands in the list of live runs, if it was seen there.
    pub(super) looks: Option<Looks>,
    /// The last sweep that saw it.
    pub(super) swept: u64,
    /// Whether it was missing in the list since its life-cycle state has last changed.
    pub(super) unlisted: bool,
    /// What was on record of it, until a reading takes its place or is asked for.
    pub(super) recorded: Option<Recorded>,
    /// When the page was asked for that first showed it where it was on record, if no page has shown it elsewhere since; of one
    /// whose reading was put away, when that was asked for.
    pub(super) vouched: Option<Duration>,
    /// What the reading said that was put away: [`digest`].
    pub(super) put_away: Option<u64>,
    /// Whether it was looked at: by a reading, or by such a page.
    pub(super) looked_at: bool,
    pub(super) snapshot: Arc<Snapshot>,
}

/// How a run stands in the list of live runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks {
    /// By the list.
    pub(super) digest: u64,
    /// When the page was asked for that first showed it like this.
    pub(super) since: Duration,
}

/// A wake to come, in `Book::wakes` under its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wake {
    pub(super) at: Duration,
    pub(super) repeat_after: Duration,
}

impl Entry {
    pub(super) fn is_unread(&self) -> bool {
        self.snapshot.version == 0
    }

    /// The wait between its gets as things are.
    pub(super) fn current_wait(&self) -> Duration {
        self.wait.unwrap_or(self.schedule.first())
    }

    /// When the last get that told of it was sent.
    pub(super) fn read_at(&self) -> Option<Duration> {
        self.snapshot.seen.as_ref().map(|seen| seen.at.monotonic)
    }

    /// When it was last told of: by a get that was sent then, or by a page that vouched for what is on record.
    pub(super) fn told_at(&self) -> Option<Duration> {
        self.read_at().or(self.vouched)
    }

    /// Whether a page is to show that it is where it was on record.
    pub(super) fn waits_for_list(&self) -> bool {
        self.recorded.is_some() && self.vouched.is_none()
    }

    /// How it stands in the list by this first row, if the last reading has told of it where the row shows it.
    pub(super) fn looks_as_read(&self, row: &Row) -> Option<Looks> {
        let seen = self.snapshot.seen.as_ref().filter(|_| self.snapshot.absent.is_none())?;
        let is_there = row.whereabouts.is_some() && Whereabouts::of_run(&seen.run) == row.whereabouts;
        is_there.then_some(Looks { digest: row.looks, since: seen.at.monotonic })
    }

    /// What is on record counts no more: only a reading tells.
    pub(super) fn distrust(&mut self) {
        self.recorded = None;
        self.vouched = None;
        self.put_away = None;
    }

    /// Lets go of a reading of which all is on record, of a run that the list shows: it is up to a quarter of what a live run
    /// costs in memory. What is left is what tells a reading that says the same from one that does not.
    pub(super) fn put_away(&mut self, recorded: Recorded) {
        let is_listed = self.looks.is_some() && !self.unlisted && self.snapshot.absent.is_none();
        let Some(seen) = self.snapshot.seen.as_ref().filter(|_| is_listed && self.poke == Poke::None) else { return };
        if Whereabouts::of_run(&seen.run) != Some(recorded.whereabouts) {
            return;
        }
        self.put_away = Some(digest(&seen.run));
        self.vouched = Some(seen.at.monotonic);
        self.recorded = Some(recorded);
        Arc::make_mut(&mut self.snapshot).seen = None;
    }

    /// When it started, in epoch milliseconds, if it is live as far as anybody knows.
    pub(super) fn start_time(&self) -> Option<i64> {
        if let Some(recorded) = &self.recorded {
            return Some(recorded.start_time);
        }
        let seen = self.snapshot.seen.as_ref().filter(|_| self.snapshot.absent.is_none())?;
        (seen.run.start_time > 0 && seen.run.end_time == 0).then_some(seen.run.start_time)
    }

    /// Whether sweeps at this distance save it gets.
    pub(super) fn is_swept(&self, period: Duration) -> bool {
        !self.unlisted && self.schedule.longest() >= period && self.start_time().is_some()
    }

    /// When a get for a poke is due: at once, ahead of routine, but pokes that follow each other are no faster than the
    /// schedule's first wait, so that a caller who pokes at every answer does not become a storm.
    pub(super) fn poke_due(&self, now: Duration) -> Duration {
        match self.poke_answered.map(|last| last + self.schedule.first()) {
            Some(earliest) if earliest > now => earliest,
            _ => now.saturating_sub(POKE_HEAD_START),
        }
    }

    /// Settles what came of a get for the poke it was sent for; whether the poke has its answer now.
    pub(super) fn settle_poke(&mut self, answered: bool, asked: Now) -> bool {
        let was_asked = self.poke == Poke::Asked;
        match (was_asked, answered) {
            (true, true) => {
                self.poke = Poke::None;
                self.poke_answered = Some(asked.monotonic);
            }
            // It still waits, now for the schedule's next get.
            (true, false) => self.poke = Poke::Waiting,
            (false, _) => {}
        }
        was_asked && answered
    }

    pub(super) fn see(&mut self, read: Read, asked: Now, now: Now) -> Learned {
        let Read { run, server_time } = read;
        let is_as_put_away = self.put_away.take().is_some_and(|said| said == digest(&run));
        if is_as_put_away && self.poke == Poke::None {
            self.put_away = Some(digest(&run));
            self.vouched = Some(asked.monotonic);
            Arc::make_mut(&mut self.snapshot).failing = None;
            return Learned::Same;
        }
        let vouched = self.recorded.take().filter(|_| self.vouched.take().is_some());
        let is_where_it_was = vouched.is_some_and(|it| Whereabouts::of_run(&run) == Some(it.whereabouts));
        let snapshot = Arc::make_mut(&mut self.snapshot);
        snapshot.failing = None;
        if !is_where_it_was && snapshot.life_cycle() != Some(life_cycle(&run)) {
            self.wait = None;
            self.unlisted = false;
        }
        let old = snapshot.seen.as_ref().map(|seen| &seen.run);
        let is_same = snapshot.absent.take().is_none() && old.is_some_and(|old| digest(old) == digest(&run));
        let learned = if is_same {
            Learned::Same
        } else {
            let was_live = vouched.is_some() || old.is_some_and(|old| old.end_time == 0);
            let ended = was_live && run.end_time > 0;
            Learned::News { end_lag: ended.then(|| since_epoch_millis(run.end_time, server_time.unwrap_or(now.wall))) }
        };
        snapshot.seen = Some(Seen { run: Arc::new(run), at: asked, server_time });
        learned
    }

    pub(super) fn miss(&mut self, asked: Now) -> Learned {
        self.distrust();
        let snapshot = Arc::make_mut(&mut self.snapshot);
        snapshot.failing = None;
        if let Some(absent) = &mut snapshot.absent {
            absent.answers = absent.answers.saturating_add(1);
            absent.last = asked;
        } else {
            snapshot.absent = Some(Absent { answers: 1, first: asked, last: asked });
            self.wait = None;
        }
        Learned::Absent
    }

    pub(super) fn fail(&mut self, reason: &'static str, asked: Now) -> Learned {
        let since = self.snapshot.failing.map_or(asked, |failing| failing.since);
        Arc::make_mut(&mut self.snapshot).failing = Some(Failing { reason, since });
        Learned::Failed
    }
}

/// How long after an epoch time in milliseconds `now` is; zero if it is not.
fn since_epoch_millis(millis: i64, now: SystemTime) -> Duration {
    let then = UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    now.duration_since(then).unwrap_or_default()
}
