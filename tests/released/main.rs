//! What holds for the released program as a whole, without a cluster: it is started with a kubeconfig that leads nowhere.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// The program, running; killed when dropped.
struct Program {
    process: Child,
    /// What it said of itself at its start.
    start: Value,
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
        std::thread::spawn(move || log.for_each(drop));
        Self { process, start: start.unwrap_or_else(|| panic!("it ended without a word of its start")) }
    }

    fn scrape(&self) -> String {
        let mut stream = TcpStream::connect(self.start["metrics"].as_str().unwrap()).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
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
