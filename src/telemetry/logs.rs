//! Logs on standard error, as text for people or JSON for machines, at a level that can be changed while the process runs.

mod object;

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use object::OneObject;
use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::reload;

/// The crate whose level a bare word such as `debug` sets.
const OURS: &str = "databricks_run_operator";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One line for people, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = LogsError;

    fn from_str(text: &str) -> Result<Self, LogsError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(LogsError::Format(other.to_owned())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Why logging could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogsError {
    /// No such format.
    #[error("log format `{0}` is not known; use `text` or `json`")]
    Format(String),
    /// The level is neither a word nor a list of directives.
    #[error(
        "log level `{level}` is not understood ({cause}); use `error`, `warn`, `info`, `debug`, `trace`, or directives \
         such as `info,kube=debug`"
    )]
    Level {
        /// What was given.
        level: String,
        /// Why it is not understood.
        cause: String,
    },
    /// Somebody has set up logging already.
    #[error("logging is set up already")]
    Again,
    /// The level stays as it was.
    #[error("the log level cannot be changed: {0}")]
    Fixed(String),
}

/// A level: one word for the operator itself (libraries then stay at `info`, or at the word if that is quieter), or
/// `tracing` directives (`info,kube=debug`) for everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(String);

impl FromStr for LogLevel {
    type Err = LogsError;

    fn from_str(text: &str) -> Result<Self, LogsError> {
        let directives = match text {
            "off" | "error" | "warn" | "info" => text.to_owned(),
            // hyper and rustls say more at these levels than anyone has asked for.
            "debug" | "trace" => format!("info,{OURS}={text}"),
            other => other.to_owned(),
        };
        let is_named = !directives.trim().is_empty() && directives.split(',').all(is_directive);
        let level = |cause: String| LogsError::Level { level: text.to_owned(), cause };
        if !is_named {
            return Err(level("no such level".to_owned()));
        }
        EnvFilter::try_new(&directives).map_err(|error| level(error.to_string()))?;
        Ok(Self(directives))
    }
}

impl LogLevel {
    fn filter(&self) -> Result<EnvFilter, LogsError> {
        EnvFilter::try_new(&self.0)
            .map_err(|error| LogsError::Level { level: self.0.clone(), cause: error.to_string() })
    }
}

/// A level, or something with `=` or `[`. `EnvFilter` takes any other word for a crate whose every line is wanted, so
/// that a misspelt level would silently switch everything else off.
fn is_directive(text: &str) -> bool {
    let text = text.trim();
    text.contains(['=', '[']) || ["off", "error", "warn", "info", "debug", "trace"].contains(&text)
}

impl Default for LogLevel {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The level of this process's logs, which may be changed. Clones are one.
#[derive(Clone)]
pub struct LevelSwitch(Arc<Switch>);

struct Switch {
    level: Mutex<LogLevel>,
    set: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
}

impl LevelSwitch {
    fn new(level: &LogLevel, set: impl Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Switch { level: Mutex::new(level.clone()), set: Box::new(set) }))
    }

    /// The level now.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        self.0.level.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it, from the next line on. The change itself is told at a level that is seldom switched off.
    pub fn change(&self, level: LogLevel) -> Result<(), LogsError> {
        let mut now = self.0.level.lock().unwrap_or_else(PoisonError::into_inner);
        tracing::warn!(from = %now, to = %level, "the log level is changed");
        (self.0.set)(level.filter()?).map_err(|error| LogsError::Fixed(error.to_string()))?;
        *now = level;
        Ok(())
    }
}

/// Sends all logs of this process to standard error. Once per process.
pub fn init(format: LogFormat, level: &LogLevel) -> Result<LevelSwitch, LogsError> {
    let (subscriber, switch) = subscriber(format, level, io::stderr, io::stderr().is_terminal())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogsError::Again)?;
    Ok(switch)
}

fn subscriber<W>(
    format: LogFormat,
    level: &LogLevel,
    writer: W,
    colour: bool,
) -> Result<(Box<dyn Subscriber + Send + Sync>, LevelSwitch), LogsError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(level.filter()?).with_writer(writer).with_ansi(colour);
    Ok(match format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(builder.finish()), LevelSwitch::new(level, move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let builder = builder.fmt_fields(JsonFields::new()).event_format(OneObject).with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(builder.finish()), LevelSwitch::new(level, move |filter| handle.reload(filter)))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer that keeps what is written.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str, log: impl FnOnce(&LevelSwitch)) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let level = level.parse().unwrap();
        let (subscriber, switch) = subscriber(format, &level, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, || log(&switch));
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_carry_their_fields_at_the_top() {
        let text = logged(LogFormat::Json, "info", |_| {
            tracing::info!(target: OURS, namespace = "data", run_id = 7, "run started");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((line["namespace"].as_str(), line["run_id"].as_i64()), (Some("data"), Some(7)));
        assert_eq!((line["message"].as_str(), line["level"].as_str()), (Some("run started"), Some("INFO")));
    }

    #[test]
    fn a_json_line_carries_what_it_is_about_and_its_own_word_counts_more() {
        let text = logged(LogFormat::Json, "error", |_| {
            let theirs = tracing::error_span!(target: "kube_runtime", "theirs", foreign = true);
            let run = tracing::error_span!(target: OURS, "run", namespace = "data", name = "nightly", attempt = tracing::field::Empty);
            let _in = (theirs.entered(), run.clone().entered());
            run.record("attempt", 2);
            tracing::error!(target: OURS, name = "other", "look");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["namespace"], "data");
        assert_eq!((&line["name"], &line["attempt"]), (&"other".into(), &2.into()), "{line}");
        assert_eq!((&line["message"], &line["target"]), (&"look".into(), &OURS.into()), "{line}");
        assert!(line.get("foreign").is_none() && line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }

    #[test]
    fn the_level_changes_while_lines_are_written_and_the_change_is_told() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, "info", |switch| {
                let details = |word: &str| tracing::debug!(target: OURS, word, "details");
                details("before");
                switch.change("debug".parse().unwrap()).unwrap();
                details("meanwhile");
                assert_eq!(switch.level().to_string(), format!("info,{OURS}=debug"));
                switch.change("warn".parse().unwrap()).unwrap();
                details("after");
            });
            assert!(text.contains("meanwhile") && !text.contains("before") && !text.contains("after"), "{text}");
            assert_eq!(text.matches("the log level is changed").count(), 2, "{text}");
        }
    }

    #[test]
    fn text_lines_are_without_colour_away_from_a_terminal() {
        let text = logged(LogFormat::Text, "info", |_| tracing::warn!(target: OURS, "careful"));
        assert!(text.contains("WARN") && text.contains("careful") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_bare_debug_is_about_the_operator_and_not_its_libraries() {
        let text = logged(LogFormat::Text, "debug", |_| {
            tracing::debug!(target: OURS, "ours");
            tracing::debug!(target: "hyper", "theirs");
        });
        assert!(text.contains("ours") && !text.contains("theirs"), "{text}");
    }

    #[test]
    fn what_is_no_level_or_format_is_refused_with_the_choices() {
        for level in ["loud", "", "info,loud", "kube=loud"] {
            let error = level.parse::<LogLevel>().unwrap_err().to_string();
            assert!(error.contains("use `error`"), "{level}: {error}");
        }
        let error = "xml".parse::<LogFormat>().unwrap_err().to_string();
        assert!(error.contains("`text` or `json`"), "{error}");
    }
}
