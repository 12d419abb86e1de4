//! The official Python SDK drives the fake workspace, so that the fake is not our own imagination.
//!
//! The SDK lives in a virtual environment in the user's cache, made once per set of pinned packages and Python version,
//! and shared by all checkouts.
#![expect(clippy::expect_used, clippy::panic, reason = "a test says what went wrong by panicking")]

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use e2e::workspace::{Options, Script, Workspace};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance");
const REQUIREMENTS: &str = include_str!("../conformance/requirements.txt");

#[test]
fn the_official_sdk_agrees_with_the_fake_workspace() {
    let python = environment();
    let workspace = Workspace::start(Options::default().speed(20)).expect("a workspace");
    // Long enough that it is still there when it is looked for; the script moves the clock past it.
    workspace
        .on_run_name("enchanted", Script::new().passing_through("ENCHANTED", "ENCHANTED", Duration::from_hours(20)));
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let ca = scratch.path().join("ca.crt");
    std::fs::write(&ca, workspace.ca_pem()).expect("the CA to be written");
    let (client_id, client_secret) = workspace.client();
    // Nothing of the caller's: the SDK reads DATABRICKS_* and ~/.databrickscfg, and proxies must not see loopback.
    let ran = Command::new(python)
        .arg(Path::new(FOLDER).join("conformance.py"))
        .env_clear()
        .env("HOME", scratch.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("REQUESTS_CA_BUNDLE", &ca)
        .env("FAKE_HOST", workspace.host())
        .env("FAKE_TOKEN", workspace.token())
        .env("FAKE_CLIENT_ID", client_id)
        .env("FAKE_CLIENT_SECRET", client_secret)
        .output()
        .expect("python to start");
    let told = text(&ran);
    println!("{told}");
    assert!(ran.status.success(), "{told}\nThe last requests:\n{}", last_lines(&workspace.story(), 40));
    assert!(workspace.overlaps().is_empty(), "{}", workspace.story());
    assert_eq!(workspace.violations(), 0);
}

/// The Python of an environment that has the SDK. Made under a lock: test binaries of several checkouts may ask at once.
fn environment() -> PathBuf {
    let version = Command::new("python3").arg("--version").output();
    let Ok(version) = version else {
        panic!("python3 is missing: install Python 3.10 or newer with its venv module to run the official SDK");
    };
    let mut hasher = DefaultHasher::new();
    (REQUIREMENTS, text(&version)).hash(&mut hasher);
    let folder = cache().join(format!("{:016x}", hasher.finish()));
    std::fs::create_dir_all(&folder).expect("the cache folder to be made");
    let lock = File::create(folder.join("lock")).expect("the lock file to be made");
    lock.lock().expect("the lock to be had");
    let (home, ready) = (folder.join("venv"), folder.join("ready"));
    let python = home.join("bin/python");
    if !ready.exists() {
        println!("installing the official SDK into {}", home.display());
        // `--clear` for the half-made one of a test that was killed.
        run(
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home),
            "install Python 3.10 or newer with its venv module (python3-venv on Debian)",
        );
        run(
            Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"])
                .arg(Path::new(FOLDER).join("requirements.txt")),
            "see that pip can reach a package index that has these versions",
        );
        File::create(&ready).expect("the environment to be marked as ready");
    }
    python
}

fn cache() -> PathBuf {
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from).or_else(home);
    base.expect("HOME or XDG_CACHE_HOME to be set").join("databricks-run-operator/conformance")
}

fn run(command: &mut Command, remedy: &str) {
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {remedy}"));
    assert!(ran.status.success(), "{command:?} failed; {remedy}\n{}", text(&ran));
}

fn text(ran: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
