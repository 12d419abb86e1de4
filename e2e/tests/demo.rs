//! `cargo demo` as a person runs it: what it shows, what it leaves up, and that it notices when a run does not end as promised.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The demo, killed if the test ends first.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::unwrap_used, reason = "a demo that cannot be started fails the test")]
fn demo(flag: &str) -> (Demo, BufReader<ChildStdout>) {
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_demo")).arg(flag).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let shown = BufReader::new(child.stdout.take().unwrap());
    (Demo(child), shown)
}

#[test]
fn the_demo_keeps_its_promises_and_stays_up_until_it_is_told_to_end() {
    let (mut demo, mut shown) = demo("--keep");
    let mut text = String::new();
    while !text.contains("Ctrl-C ends it") {
        assert_ne!(shown.read_line(&mut text).unwrap(), 0, "the demo ended:\n{text}");
    }
    for part in [
        "databricksrun.dbrun.dev/nightly-etl condition met",
        r#"{"day":"2026-11-23","rows":1204}"#,
        "FAILED,UPSTREAM_FAILED,SUCCESS",
        "failed: task `load`: AnalysisException: [TABLE_OR_VIEW_NOT_FOUND]",
        "Traceback (most recent call last)",
        "the run was started, the answer never arrived",
        "Runs in the workspace with that token: 1",
        "RUNNING before, TERMINATED CANCELED now",
        "task fields must stand in `submit.tasks`, not beside `run_name`",
        "All was as it should be",
    ] {
        assert!(text.contains(part), "there is no {part:?} in\n{text}");
    }
    assert!(!text.contains('\x1b'), "escape sequences where there is no terminal:\n{text}");
    let kubeconfig = text.lines().find_map(|line| line.trim().strip_prefix("export KUBECONFIG=")).unwrap();
    assert!(Path::new(kubeconfig).is_file(), "{kubeconfig} is not there");

    let asked = Command::new("kill").arg(demo.0.id().to_string()).status().unwrap();
    assert!(asked.success());
    let status = demo.0.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(!Path::new(kubeconfig).exists(), "{kubeconfig} is still there");
}

#[test]
fn a_run_that_ends_otherwise_than_promised_is_told_and_fails_the_demo() {
    let (mut demo, mut shown) = demo("--break-a-promise");
    let mut text = String::new();
    shown.read_to_string(&mut text).unwrap();
    assert_eq!(demo.0.wait().unwrap().code(), Some(1), "{text}");
    assert!(text.contains("Not as it should be"), "{text}");
    assert!(text.contains(r#"nightly-etl: state should be "Succeeded" but is "Failed""#), "{text}");
}
