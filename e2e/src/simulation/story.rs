//! What happened, in readable lines: virtual time, who, what. Only told when somebody listens: twenty thousand worlds
//! pass without a word.

use std::fmt::Write;
use std::time::Duration;

/// The lines of one world.
#[derive(Debug, Default)]
pub(super) struct Story {
    lines: Option<String>,
    /// Who did what last, and how often more.
    last: (String, String, u32),
}

impl Story {
    pub(super) fn new(told: bool) -> Self {
        Self { lines: told.then(String::new), last: Default::default() }
    }

    pub(super) fn is_told(&self) -> bool {
        self.lines.is_some()
    }

    pub(super) fn line(&mut self, at: Duration, who: &str, what: &str) {
        if self.last.0 == who && self.last.1 == what {
            self.last.2 += 1;
            return;
        }
        self.say_how_often();
        self.last = (who.to_owned(), what.to_owned(), 0);
        if let Some(lines) = &mut self.lines {
            // Writing into a string cannot fail.
            let _ = writeln!(lines, "{}  {who:<12}  {what}", instant(at));
        }
    }

    fn say_how_often(&mut self) {
        if let (Some(lines), count @ 1..) = (&mut self.lines, self.last.2) {
            let _ = writeln!(lines, "{:<13}  {:<12}  … the same {count} more times", "", "");
        }
    }

    pub(super) fn into_text(mut self) -> String {
        self.say_how_often();
        self.lines.unwrap_or_default()
    }
}

/// Hours, minutes, seconds and milliseconds since the world began.
pub(super) fn instant(at: Duration) -> String {
    let (seconds, millis) = (at.as_secs(), at.subsec_millis());
    format!("{:>3}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
