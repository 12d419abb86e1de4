//! Processes that cannot outlive this one.
//!
//! A test process may end in any way: return, panic, Ctrl-C, SIGKILL. No code of ours runs after the last, so each process is
//! started by a small shell that reads a pipe of which we hold the only other end. The kernel closes our end however we end;
//! the shell then kills its process. That needs nothing but a POSIX shell, and no unsafe code.
//!
//! Each shell leads a process group of its own, so that a Ctrl-C in the terminal reaches us alone and things end in our order.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
};

use super::{error::Error, folder::Folder};

/// Starts the process and tells its id, then passes on each signal that is named on a line of standard input and repeats the
/// name when it is done; at the end of the input it kills the process. Ends when the process has ended, with its status.
///
/// From then on it ignores SIGPIPE: it must come to the kill even when nobody reads what it says.
const SHELL: &str = r#"
exec 3<&0 </dev/null
log=$1; shift
"$@" >>"$log" 2>&1 3<&- &
child=$!
trap '' PIPE
echo "$child"
{
    while read -r signal <&3; do
        kill -s "$signal" "$child"
        echo "$signal"
    done
    kill -s KILL "$child"
} &
guard=$!
wait "$child"
status=$?
kill -s KILL "$guard"
exit "$status"
"#;

/// How much of a log is shown in an error.
const LOG_LINES: usize = 25;

/// How to start a program.
pub(crate) struct Launch {
    /// Names its log (`NAME.log`) and the file with its process id (`NAME.pid`).
    pub(crate) name: &'static str,
    /// The executable.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
}

/// A process that ends with this one at the latest.
pub(crate) struct Leash {
    name: &'static str,
    log: PathBuf,
    process_id: String,
    shell: Child,
    /// `None` once it is let go.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Leash {
    /// Starts a program with its log and process id in `folder`.
    pub(crate) fn start(launch: &Launch, folder: &Folder) -> Result<Self, Error> {
        let log = folder.file(&format!("{}.log", launch.name));
        let start_error = || Error::system("start", &launch.program);
        let mut shell = Command::new("sh")
            .args(["-c", SHELL, launch.name])
            .arg(&log)
            .arg(&launch.program)
            .args(&launch.arguments)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Nothing is said there: it tells the folder that it is in use.
            .stderr(folder.in_use().map_err(start_error())?)
            .spawn()
            .map_err(start_error())?;
        let (Some(orders), Some(answers)) = (shell.stdin.take(), shell.stdout.take()) else {
            return Err(start_error()(std::io::Error::other("its pipes are missing")));
        };
        let (orders, answers) = (Some(orders), BufReader::new(answers));
        let mut leash = Self { name: launch.name, log, process_id: String::new(), shell, orders, answers };
        leash.answer().map_err(start_error())?.trim().clone_into(&mut leash.process_id);
        let pid_file = folder.file(&format!("{}.pid", launch.name));
        fs::write(&pid_file, &leash.process_id).map_err(Error::system("write", &pid_file))?;
        Ok(leash)
    }

    /// Fails if the process has ended.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        match self.shell.try_wait().map_err(Error::system("watch", self.name))? {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    /// Sends a signal ("STOP", "CONT", "TERM") and returns when it is sent.
    pub(crate) fn signal(&mut self, signal: &'static str) -> Result<(), Error> {
        self.check()?;
        let sent = match &mut self.orders {
            Some(orders) => writeln!(orders, "{signal}"),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        sent.and_then(|()| self.answer()).map_err(Error::system("signal", self.name))?;
        Ok(())
    }

    /// Waits until the process ends on its own; how it ended.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus, Error> {
        self.shell.wait().map_err(Error::system("watch", self.name))
    }

    /// The process's id.
    pub(crate) fn process_id(&self) -> &str {
        &self.process_id
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_else(|error| format!("(cannot be read: {error})"))
    }

    /// The end of its log.
    pub(crate) fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn ended(&self, status: ExitStatus) -> Error {
        Error::Ended { program: self.name, status, log: self.log_end() }
    }

    fn answer(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }

    /// Kills the process and waits until it is gone, so that its port and its files are free.
    pub(crate) fn kill(&mut self) {
        self.orders = None;
        // It can only fail for a process that was waited for already.
        let _ = self.shell.wait();
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Launch {
        Launch { name: "sleeper", program: "sleep".into(), arguments: vec!["1000".into()] }
    }

    fn is_alive(process_id: &str) -> bool {
        let probe = Command::new("sh").args(["-c", "kill -0 $1 2>/dev/null", "sh", process_id]).status();
        probe.expect("sh runs").success()
    }

    fn process_id(folder: &Folder) -> String {
        fs::read_to_string(folder.file("sleeper.pid")).expect("the id was written").trim().to_owned()
    }

    #[test]
    fn a_process_is_gone_when_its_leash_is_dropped() {
        let folder = Folder::create().unwrap();
        let leash = Leash::start(&sleeper(), &folder).unwrap();
        let process_id = process_id(&folder);
        assert!(is_alive(&process_id));
        drop(leash);
        assert!(!is_alive(&process_id));
    }

    #[test]
    fn a_stopped_process_is_gone_when_its_leash_is_dropped() {
        let folder = Folder::create().unwrap();
        let mut leash = Leash::start(&sleeper(), &folder).unwrap();
        leash.signal("STOP").unwrap();
        let process_id = process_id(&folder);
        drop(leash);
        assert!(!is_alive(&process_id));
    }

    #[test]
    fn a_process_that_ends_on_its_own_is_told_with_its_log() {
        let folder = Folder::create().unwrap();
        let arguments = vec!["-c".into(), "echo the disk is full; exit 3".into()];
        let mut leash = Leash::start(&Launch { name: "brief", program: "sh".into(), arguments }, &folder).unwrap();
        let status = leash.shell.wait().unwrap();
        assert_eq!(status.code(), Some(3));
        let told = leash.check().unwrap_err().to_string();
        assert!(
            told.contains("brief ended on its own (exit status: 3)") && told.ends_with("the disk is full"),
            "{told}"
        );
    }

    #[test]
    fn a_folder_stays_until_the_last_process_in_it_is_gone() {
        let folder = Folder::create().unwrap();
        let path = folder.path().to_owned();
        let leash = Leash::start(&sleeper(), &folder).unwrap();
        let removal = std::thread::spawn(move || drop(folder));
        assert!(path.is_dir(), "the process still uses it");
        drop(leash);
        removal.join().unwrap();
        assert!(!path.exists());
    }
}
