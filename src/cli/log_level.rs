//! `databricks-run-operator log-level`: asks a running operator for its log level, or changes it.
//!
//! The two speak through a socket without a file (Linux' abstract namespace), which leads nowhere but to processes of the same
//! Pod; the operator listens to those of its own user. So whoever may `kubectl exec` may do this, and nobody else, and there
//! is no port to guard. Why: `docs/adr/0026-log-level-from-inside-the-pod.md`.

use std::time::Duration;

use clap::Args;

use crate::telemetry::logs::{LevelSwitch, LogLevel};

/// The longest question.
const LONGEST: u64 = 4096;
/// Whoever asks has so long to say what, and as long to hear the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to ask for.
#[derive(Debug, Args)]
pub struct LogLevelArgs {
    /// The level from now on, as for `run --log-level`. Without it the level is told and stays as it is.
    level: Option<LogLevel>,

    /// The operator's process. In its container it is the first.
    #[arg(long, value_name = "PID", default_value = "1")]
    pid: u32,
}

impl LogLevelArgs {
    /// Asks, and returns what to print: the level that counts now.
    pub fn ask(&self) -> Result<String, String> {
        let question = self.level.as_ref().map(ToString::to_string).unwrap_or_default();
        let answer = linux::ask(self.pid, &question).map_err(|error| {
            format!(
                "no operator with the process id {} answers here: {error}; run this in its container (kubectl exec), or name \
                 the process with --pid",
                self.pid
            )
        })?;
        match answer.split_once(' ') {
            Some(("level", level)) => Ok(level.to_owned()),
            _ => Err(answer),
        }
    }
}

/// Answers such questions for this process until the runtime ends. That it cannot is no reason not to work.
pub(super) fn serve(switch: LevelSwitch) {
    if let Err(error) = linux::serve(std::process::id(), switch) {
        tracing::warn!(%error, "the log level of this process cannot be changed while it runs");
    }
}

/// What is answered: `level` and the level that counts now, or why it is not changed.
fn answer(question: &str, switch: &LevelSwitch) -> String {
    let changed = match question.trim() {
        "" => Ok(()),
        level => level.parse::<LogLevel>().and_then(|level| switch.change(level)),
    };
    changed.map_or_else(|error| error.to_string(), |()| format!("level {}", switch.level()))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, Read, Write};
    use std::net::Shutdown;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{LONGEST, LevelSwitch, PATIENCE, answer};

    fn address(pid: u32) -> io::Result<SocketAddr> {
        SocketAddr::from_abstract_name(format!("databricks-run-operator/{pid}/log-level"))
    }

    pub(super) fn ask(pid: u32, question: &str) -> io::Result<String> {
        let stream = UnixStream::connect_addr(&address(pid)?)?;
        match put(stream, question) {
            Ok(answer) if !answer.is_empty() => Ok(answer),
            Err(error) if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                Err(error)
            }
            // It has hung up.
            Ok(_) | Err(_) => Err(io::Error::other("it does not answer processes of another user")),
        }
    }

    fn put(mut stream: UnixStream, question: &str) -> io::Result<String> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(question.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    pub(super) fn serve(pid: u32, switch: LevelSwitch) -> io::Result<()> {
        let own_user = std::fs::metadata("/proc/self")?.uid();
        let listener = UnixListener::bind_addr(&address(pid)?)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) if stream.peer_cred().is_ok_and(|peer| peer.uid() == own_user) => {
                        // One after the other; whoever says nothing is not waited for.
                        let _ = tokio::time::timeout(PATIENCE, converse(stream, &switch)).await;
                    }
                    Ok(_) => tracing::warn!("a process of another user asked for the log level and was not answered"),
                    // Out of file descriptors, for example.
                    Err(_) => tokio::time::sleep(PATIENCE).await,
                }
            }
        });
        Ok(())
    }

    async fn converse(mut stream: tokio::net::UnixStream, switch: &LevelSwitch) -> io::Result<()> {
        let mut question = String::new();
        (&mut stream).take(LONGEST).read_to_string(&mut question).await?;
        stream.write_all(answer(&question, switch).as_bytes()).await
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    use std::io;

    pub(super) fn ask(_: u32, _: &str) -> io::Result<String> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn serve(_: u32, _: super::LevelSwitch) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
