//! The runs while they go: a table that changes in place on a terminal, and a line per change anywhere else.

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::screen::{Screen, Tone};
use crate::stage::RunView;

/// A run in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    name: String,
    state: String,
    result: String,
    run_id: String,
    duration: String,
    message: String,
}

impl Row {
    pub(super) fn of(run: &RunView) -> Self {
        let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        let status = run.0.status.as_ref();
        let since_start = || {
            let seconds = Timestamp::now().as_second() - status?.start_time.as_ref()?.0.as_second();
            Some(format!("{}s", seconds.max(0)))
        };
        let duration = run.text("duration");
        Self {
            name: run.0.name_any(),
            state: or_dash(run.text("state")),
            result: or_dash(run.text("resultState")),
            run_id: or_dash(run.text("runId")),
            duration: or_dash(if duration.is_empty() { since_start().unwrap_or_default() } else { duration }),
            message: run.message("Ready").lines().next().unwrap_or_default().to_owned(),
        }
    }

    /// The tone of a state, as `status.state` spells it.
    fn tone(&self) -> Tone {
        match self.state.as_str() {
            "Succeeded" => Tone::Good,
            "Failed" | "TimedOut" | "Canceled" | "Skipped" | "Rejected" => Tone::Bad,
            "-" => Tone::Faint,
            _ => Tone::Busy,
        }
    }

    fn line(&self, screen: &Screen) -> String {
        let state = screen.paint(self.tone(), format_args!("{:<10}", self.state));
        let Self { name, result, run_id, duration, message, .. } = self;
        format!("{name:<14} {state} {result:<8} {run_id:<20} {duration:>8}  {message}")
    }
}

/// The table on the screen.
pub(super) struct Table {
    begun: Instant,
    /// Lines that the next drawing writes over.
    drawn: usize,
    told: HashMap<String, Row>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), drawn: 0, told: HashMap::new() }
    }

    /// Shows the runs as they are now.
    pub(super) fn show(&mut self, screen: &mut Screen, rows: &[Row]) -> io::Result<()> {
        let heading =
            format!("{:<14} {:<10} {:<8} {:<20} {:>8}  MESSAGE", "NAME", "STATE", "RESULT", "RUN ID", "DURATION");
        let heading = screen.paint(Tone::Faint, heading);
        if screen.is_terminal() { self.redraw(screen, &heading, rows) } else { self.append(screen, &heading, rows) }
    }

    /// Long lines are cut by the terminal, which knows its width: its wrapping is off while a table is written. The rest of such a
    /// line all lands in the last column, which is blanked.
    fn redraw(&mut self, screen: &mut Screen, heading: &str, rows: &[Row]) -> io::Result<()> {
        let up = if self.drawn == 0 { String::new() } else { format!("\x1b[{}A", self.drawn) };
        let lines: Vec<String> =
            rows.iter().map(|row| format!("\x1b[2K  {}\x1b[999G\x1b[K\n", row.line(screen))).collect();
        self.drawn = rows.len() + 1;
        screen.write(&format!("{up}\x1b[?7l\x1b[2K  {heading}\n{}\x1b[?7h", lines.concat()))
    }

    fn append(&mut self, screen: &mut Screen, heading: &str, rows: &[Row]) -> io::Result<()> {
        if self.told.is_empty() {
            screen.line(format_args!("       {heading}"))?;
        }
        for row in rows {
            // Time passes in every row; that alone is no news.
            let news =
                self.told.get(&row.name).is_none_or(|told| (&told.state, &told.message) != (&row.state, &row.message));
            if news {
                let seconds = self.begun.elapsed().as_secs_f64();
                screen.line(format_args!("{seconds:>5.1}s {}", row.line(screen)))?;
                self.told.insert(row.name.clone(), row.clone());
            }
        }
        Ok(())
    }
}
