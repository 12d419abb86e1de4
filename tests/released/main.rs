//! What holds for the released program as a whole, without a cluster: it is started with a kubeconfig that leads nowhere.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

/// The program, running; killed when dropped.
struct Program {
    process: Child,
    /// What it said of itself at its start.
    start: Value,
    /// What it says after that.
    log: Receiver<String>,
}

impl Program {
    fn start(name: &str) -> Self {
        let cluster = json!({"name": "nowhere", "cluster": {"server": "http://127.0.0.1:1"}});
        let context = json!({"name": "nowhere", "context": {"cluster": "nowhere", "user": "nobody"}});
        let user = json!({"name": "nobody", "user": {}});
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "nowhere",
            "clusters": [cluster], "contexts": [context], "users": [user],
        });
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.kubeconfig"));
        std::fs::write(&file, kubeconfig.to_string()).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_databricks-run-operator"))
            .args(["run", "--namespace=a", "--leader-elect=false", "--cluster-workspaces=false", "--log-format=json"])
            .args(["--health-address=127.0.0.1:0", "--metrics-address=127.0.0.1:0"])
            .env("KUBECONFIG", file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let lines = log.by_ref().map(|line| serde_json::from_str::<Value>(&line).unwrap_or(Value::String(line)));
        let start = lines.into_iter().find(|line| line["message"] == "starting");
        // Whoever writes must not wait for a reader.
        let (lines, rest) = channel();
        std::thread::spawn(move || log.for_each(|line| drop(lines.send(line))));
        Self { process, start: start.unwrap_or_else(|| panic!("it ended without a word of its start")), log: rest }
    }

    /// Asks for its log level, or changes it.
    fn log_level(&self, arguments: &[&str]) -> (String, bool) {
        log_level(&self.process.id().to_string(), arguments)
    }

    /// Waits for a line that says this.
    fn logs(&self, text: &str) -> Value {
        let line = self.log.iter().find(|line| line.contains(text));
        serde_json::from_str(&line.unwrap_or_else(|| panic!("it ended without saying {text}"))).unwrap()
    }

    fn scrape(&self) -> String {
        let mut stream = TcpStream::connect(self.start["metrics"].as_str().unwrap()).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// Runs `log-level` for the process; what it prints, and whether that is an error.
fn log_level(pid: &str, arguments: &[&str]) -> (String, bool) {
    let asked = Command::new(env!("CARGO_BIN_EXE_databricks-run-operator"))
        .args(["log-level", "--pid", pid])
        .args(arguments)
        .output()
        .unwrap();
    let told = if asked.status.success() { asked.stdout } else { asked.stderr };
    (String::from_utf8(told).unwrap(), !asked.status.success())
}

impl Drop for Program {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The value of a metric without labels.
fn value(scrape: &str, name: &str) -> f64 {
    let line = scrape.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in\n{scrape}")).parse().unwrap()
}

#[test]
fn the_allocator_is_jemalloc_with_the_settings_it_was_built_with() {
    let program = Program::start("allocator");
    // What stands in .cargo/config.toml has come into the program.
    let settings = "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,narenas:2";
    assert_eq!(program.start["allocator"], settings);
    let scrape = program.scrape();
    let allocated = value(&scrape, "databricks_operator_allocator_allocated_bytes");
    let resident = value(&scrape, "databricks_operator_allocator_resident_bytes");
    assert!(allocated > 0.0 && resident > allocated, "{scrape}");
    assert!(value(&scrape, "process_resident_memory_bytes") > allocated, "{scrape}");
}

#[test]
fn a_program_with_another_allocator_does_not_tell_of_this_one() {
    use databricks_run_operator::telemetry::memory;
    assert_eq!((memory::usage(), memory::settings()), (None, None));
}

#[test]
fn the_log_level_is_changed_while_it_runs() {
    let program = Program::start("log-level");
    assert_eq!(program.log_level(&[]), ("info\n".to_owned(), false));
    let debug = "info,databricks_run_operator=debug";
    assert_eq!(program.log_level(&["debug"]), (format!("{debug}\n"), false));
    let told = program.logs("the log level is changed");
    assert_eq!((told["from"].as_str(), told["to"].as_str()), (Some("info"), Some(debug)));
    assert_eq!(program.log_level(&[]), (format!("{debug}\n"), false));
    // Directives are taken as `run` takes them.
    let directives = "info,kube=debug";
    assert_eq!(program.log_level(&[directives]), (format!("{directives}\n"), false));
    let (why, is_error) = program.log_level(&["loud"]);
    assert!(is_error && why.contains("use `error`"), "{why}");
    assert_eq!(program.log_level(&[]).0, format!("{directives}\n"));
}

#[test]
fn where_no_operator_answers_it_is_said_how_to_reach_one() {
    // The process of this test is none.
    let nobody = std::process::id().to_string();
    let (why, is_error) = log_level(&nobody, &["debug"]);
    assert!(is_error && why.contains("kubectl exec") && why.contains(&nobody), "{why}");
}
