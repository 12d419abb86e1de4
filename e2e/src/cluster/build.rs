//! Builds the control plane from a pinned Go module, once per user and version.
//!
//! The result lies in `${XDG_CACHE_HOME:-~/.cache}/databricks-run-operator/control-plane/VERSION-HASH/`, where the hash covers all
//! that the result depends on: a changed pin is another folder, never a stale one. Processes that need it at the same time wait for
//! the one that builds. The folder appears under its name when it is complete, so a build that was killed leaves nothing wrong.

use std::{
    collections::VecDeque,
    env, fs,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{binaries::on_path, error::Error, pins::Pin};

/// How many lines of a failed build are shown.
const SHOWN_LINES: usize = 40;

/// The folder with the programs, built if need be.
pub(super) fn ensure() -> Result<PathBuf, Error> {
    let pin = Pin::asked_for()?;
    once(&cache("control-plane")?, &format!("{}-{}", pin.version, fingerprint(pin)), |folder| build(pin, folder))
}

/// Makes `root/name` with `make` unless it is there; only one process at a time makes anything in `root`.
pub(crate) fn once(root: &Path, name: &str, make: impl FnOnce(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
    let complete = root.join(name);
    if complete.is_dir() {
        return Ok(complete);
    }
    fs::create_dir_all(root).map_err(Error::system("create", root))?;
    let lock_path = root.join("lock");
    // The lock ends with the process that holds it, however that ends.
    let lock = fs::File::create(&lock_path).map_err(Error::system("create", &lock_path))?;
    if lock.try_lock().is_err() {
        say(&format!("{}: waiting for another process that builds it", root.display()));
        lock.lock().map_err(Error::system("lock", &lock_path))?;
    }
    if complete.is_dir() {
        return Ok(complete);
    }
    let parts = tempfile::Builder::new().prefix("building-").tempdir_in(root);
    let parts = parts.map_err(Error::system("create a folder in", root))?;
    make(parts.path())?;
    fs::rename(parts.keep(), &complete).map_err(Error::system("create", &complete))?;
    Ok(complete)
}

/// Where this user keeps what was built of a kind.
pub(crate) fn cache(kind: &str) -> Result<PathBuf, Error> {
    let absolute = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let cache = cache.ok_or_else(|| {
        let unset = io::Error::other("neither XDG_CACHE_HOME nor HOME is set; set one of them");
        Error::system("find", "the user's cache folder")(unset)
    })?;
    Ok(cache.join("databricks-run-operator").join(kind))
}

/// Whatever changes the programs changes this.
fn fingerprint(pin: &Pin) -> String {
    let mut hash = Sha256::new();
    for part in [env::consts::OS, env::consts::ARCH, pin.go_mod, pin.go_sum, &arguments(pin, Path::new("")).join("\n")]
    {
        hash.update(part);
        hash.update([0]);
    }
    HEXLOWER.encode(&hash.finalize()[..8])
}

/// Of `go`, for programs in `folder`.
fn arguments(pin: &Pin, folder: &Path) -> Vec<String> {
    let (version, release) = (pin.version, pin.release());
    let (major, minor) = release.split_once('.').unwrap_or_default();
    let stamps = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].map(|package| {
        // Without these the API server calls itself v0.0.0-master, and clients and charts refuse it.
        format!(
            "-X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} \
             -X {package}.gitTreeState=clean"
        )
    });
    // `go build` takes what it is told for a file unless it ends with a slash.
    let output = format!("{}/", folder.display());
    let ldflags = format!("-s -w {}", stamps.join(" "));
    ["build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", &ldflags, "-o", &output, "tool"]
        .map(str::to_owned)
        .to_vec()
}

fn build(pin: &Pin, folder: &Path) -> Result<(), Error> {
    let go = on_path("go").ok_or(Error::NoGo)?;
    let module = tempfile::tempdir().map_err(Error::system("create a folder in", env::temp_dir()))?;
    for (name, content) in [("go.mod", pin.go_mod), ("go.sum", pin.go_sum)] {
        let file = module.path().join(name);
        fs::write(&file, content).map_err(Error::system("write", &file))?;
    }
    let mut child = Command::new(&go)
        .args(arguments(pin, folder))
        .current_dir(module.path())
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        // For this machine, whatever else is being built here.
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::system("start", &go))?;
    let output = follow(&mut child, pin);
    let status = child.wait().map_err(Error::system("wait for", &go))?;
    if !status.success() {
        return Err(Error::Build { status, output });
    }
    // The tool is named after its package's folder.
    let (server, etcd) = (folder.join("server"), folder.join("etcd"));
    fs::rename(&server, etcd).map_err(Error::system("rename", &server))
}

/// Shows how the build goes until it ends; returns the last lines it said.
fn follow(build: &mut Child, pin: &Pin) -> String {
    let (said, saying) = mpsc::channel();
    let stderr = build.stderr.take();
    thread::spawn(move || {
        let lines = stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).lines()).map_while(Result::ok);
        lines.map(|line| said.send(line)).take_while(Result::is_ok).for_each(drop);
    });
    let mut progress = Progress::begin(pin);
    let mut last_lines = VecDeque::new();
    loop {
        match saying.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                progress.count(&line);
                last_lines.push_back(line);
                if last_lines.len() > SHOWN_LINES {
                    last_lines.pop_front();
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        progress.show();
    }
    progress.end();
    last_lines.make_contiguous().join("\n")
}

/// What a person sees of a build that takes minutes: a line that changes on a terminal, a line now and then in a log.
struct Progress {
    start: Instant,
    shown: Option<Instant>,
    modules: u32,
    packages: u32,
    on_terminal: bool,
}

impl Progress {
    fn begin(pin: &Pin) -> Self {
        say(&format!(
            "control plane: building Kubernetes {} and etcd, once for this user; some 4 minutes on two cores",
            pin.version
        ));
        let on_terminal = io::stderr().is_terminal();
        Self { start: Instant::now(), shown: None, modules: 0, packages: 0, on_terminal }
    }

    fn count(&mut self, line: &str) {
        if line.starts_with("go: downloading ") {
            self.modules += 1;
        } else if !line.starts_with("go: ") {
            self.packages += 1;
        }
    }

    fn show(&mut self) {
        let interval = Duration::from_secs(if self.on_terminal { 1 } else { 15 });
        if self.shown.is_some_and(|shown| shown.elapsed() < interval) {
            return;
        }
        self.shown = Some(Instant::now());
        let line = format!(
            "control plane: {} s, {} modules fetched, {} packages compiled",
            self.start.elapsed().as_secs(),
            self.modules,
            self.packages
        );
        if self.on_terminal {
            // A terminal that cannot be written to is no reason to stop.
            let _ = write!(io::stderr(), "\r{line}");
        } else {
            say(&line);
        }
    }

    fn end(&self) {
        if self.on_terminal {
            say("");
        }
    }
}

/// Straight to standard error: `eprintln!` would be held back until the test ends, and this is for those who wait.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn those_who_need_a_build_at_the_same_time_build_once() {
        let root = tempfile::tempdir().unwrap();
        let builds = AtomicU32::new(0);
        let build = |folder: &Path| {
            builds.fetch_add(1, Ordering::SeqCst);
            fs::write(folder.join("etcd"), "").map_err(Error::system("write", folder))
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(once(root.path(), "v1", build).unwrap().join("etcd").is_file()));
            }
        });
        assert_eq!(builds.into_inner(), 1);
    }

    #[test]
    fn a_failed_build_leaves_nothing_to_be_taken_for_a_good_one() {
        let root = tempfile::tempdir().unwrap();
        let failure = once(root.path(), "v1", |folder| {
            fs::write(folder.join("etcd"), "half").unwrap();
            Err(Error::NoGo)
        });
        assert!(matches!(failure, Err(Error::NoGo)));
        let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }
}
