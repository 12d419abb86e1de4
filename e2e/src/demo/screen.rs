//! What the demo writes: headings, commands with what they answered, and colours where there is a terminal to show them.
//! It knows nothing of runs.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Nobody wants to read what took less.
const NOTICEABLE: Duration = Duration::from_millis(100);

/// What a word means, which is what its colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Busy,
    Strong,
    Faint,
}

/// Standard output.
pub(super) struct Screen {
    /// Lines can be written over.
    terminal: bool,
    colours: bool,
}

impl Screen {
    pub(super) fn standard_output() -> Self {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let terminal = io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|kind| kind != "dumb");
        Self { terminal, colours: terminal && !is_set("NO_COLOR") }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The text in the colour of its tone.
    pub(super) fn paint(&self, tone: Tone, text: impl Display) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Busy => "36",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Writes the text as it is, at once.
    #[expect(clippy::unused_self, reason = "whoever writes holds the screen")]
    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    pub(super) fn line(&mut self, text: impl Display) -> io::Result<()> {
        self.write(&format!("{text}\n"))
    }

    pub(super) fn heading(&mut self, title: &str) -> io::Result<()> {
        let title = self.paint(Tone::Strong, format_args!("── {title}"));
        self.line(format_args!("\n\n{title}"))
    }

    /// Every line of the text, indented.
    pub(super) fn block(&mut self, tone: Option<Tone>, text: &str) -> io::Result<()> {
        for line in text.trim_end().lines() {
            match tone {
                Some(tone) => self.line(format_args!("    {}", self.paint(tone, line)))?,
                None => self.line(format_args!("    {line}"))?,
            }
        }
        Ok(())
    }

    pub(super) fn command(&mut self, command: &str) -> io::Result<()> {
        let command = self.paint(Tone::Strong, command);
        self.line(format_args!("\n  $ {command}"))
    }

    /// Says what is being done, does it, and says how long it took if that was noticeable.
    pub(super) async fn step<T, E>(&mut self, what: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E>
    where
        E: From<io::Error>,
    {
        if self.terminal {
            self.write(&format!("  {} {what} …", self.paint(Tone::Busy, "·")))?;
        }
        let begun = Instant::now();
        let outcome = work.await;
        if self.terminal {
            self.write("\r\x1b[2K")?;
        }
        let mark = if outcome.is_ok() { self.paint(Tone::Good, "✓") } else { self.paint(Tone::Bad, "✗") };
        let took = format!("  {:.1} s", begun.elapsed().as_secs_f64());
        let took = if begun.elapsed() < NOTICEABLE { String::new() } else { self.paint(Tone::Faint, took) };
        self.line(format_args!("  {mark} {what}{took}"))?;
        outcome
    }
}
