//! What Argo CD makes of an object: its health, the actions it offers, and the patch that an action sends.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{program, repository};

/// Keeps a hook's object until the hook has ended; Argo CD puts it on every one.
pub const HOOK_FINALIZER: &str = "argocd.argoproj.io/hook-finalizer";

/// What a health script may answer.
const CODES: [&str; 6] = ["Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"];

/// The health of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `Healthy`, `Progressing`, `Degraded` or `Suspended`.
    pub status: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
}

/// A script and the object it is about.
#[derive(Serialize)]
pub struct Request {
    /// Lua.
    pub script: String,
    /// The object.
    pub object: Value,
}

/// What came of it: a value, or an error in words.
#[derive(Debug, Deserialize)]
struct Answer {
    returned: Option<Value>,
    patch: Option<Value>,
    error: Option<String>,
}

/// The scripts for one kind.
#[derive(Debug, Clone)]
pub struct Scripts {
    /// Their folder.
    pub folder: PathBuf,
}

#[expect(clippy::expect_used, clippy::panic, clippy::missing_panics_doc, reason = "a script that fails fails the test")]
impl Scripts {
    /// Those for an object's kind.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        Self::of_kind(object["kind"].as_str().expect("an object has a kind"))
    }

    /// Those for a kind.
    #[must_use]
    pub fn of_kind(kind: &str) -> Self {
        Self { folder: repository("config/argocd/resource_customizations/dbrun.dev").join(kind) }
    }

    /// One of them.
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        let path = self.folder.join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The names of all actions that are defined.
    #[must_use]
    pub fn defined(&self) -> Vec<String> {
        let actions = std::fs::read_dir(self.folder.join("actions")).into_iter().flatten().flatten();
        let mut names: Vec<_> = actions
            .filter(|entry| entry.path().join("action.lua").is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// The health that Argo CD shows of an object.
    #[must_use]
    pub fn health(&self, object: &Value) -> Health {
        let metadata = &object["metadata"];
        let hook = metadata["finalizers"].as_array().is_some_and(|all| all.iter().any(|it| it == HOOK_FINALIZER));
        if !metadata["deletionTimestamp"].is_null() && !hook {
            return Health { status: "Progressing".to_owned(), message: "Pending deletion".to_owned() };
        }
        let request = Request { script: self.read("health.lua"), object: object.clone() };
        let health = run(&[request]).remove(0).unwrap_or_else(|error| panic!("health.lua: {error}\n{object:#}"));
        let health: Health = serde_json::from_value(health).expect("health.lua returns a status and a message");
        assert!(CODES.contains(&health.status.as_str()), "health.lua returned {health:?}");
        health
    }

    /// What Argo CD offers to do with an object, each with the way it is shown.
    #[must_use]
    pub fn actions(&self, object: &Value) -> BTreeMap<String, Value> {
        let request = Request { script: self.read("actions/discovery.lua"), object: object.clone() };
        match run(&[request]).remove(0).unwrap_or_else(|error| panic!("discovery.lua: {error}\n{object:#}")) {
            Value::Object(actions) => actions.into_iter().collect(),
            // An empty table.
            Value::Array(none) if none.is_empty() => BTreeMap::new(),
            other => panic!("discovery.lua returned {other}"),
        }
    }

    /// The merge patch that Argo CD sends for an action.
    #[must_use]
    pub fn patch(&self, action: &str, object: &Value) -> Value {
        let script = self.read(&format!("actions/{action}/action.lua"));
        let answer = ask(&[Request { script, object: object.clone() }]).remove(0);
        match answer {
            Answer { patch: Some(patch), .. } => patch,
            other => panic!("{action} returned no object: {other:?}"),
        }
    }
}

/// Runs scripts, each on its object; what each returned, or why it failed.
#[must_use]
pub fn run(requests: &[Request]) -> Vec<Result<Value, String>> {
    let returned = |answer: Answer| answer.error.map_or(Ok(answer.returned.unwrap_or_default()), Err);
    ask(requests).into_iter().map(returned).collect()
}

#[expect(clippy::expect_used, reason = "a machine that does not answer fails the test")]
fn ask(requests: &[Request]) -> Vec<Answer> {
    let mut machine = Command::new(program::path());
    machine.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut machine = machine.spawn().expect("the Lua machine can be started");
    let mut stdin = BufWriter::new(machine.stdin.take().expect("its standard input is ours"));
    let output = std::thread::scope(|scope| {
        // It answers while it is asked: who first asks everything would wait for ever when the answers fill the pipe.
        scope.spawn(move || {
            for request in requests {
                // One that does not read any more has said why.
                let _ = serde_json::to_writer(&mut stdin, request);
            }
            let _ = stdin.flush();
        });
        machine.wait_with_output().expect("the Lua machine ends")
    });
    let answers: Result<Vec<Answer>, _> = serde_json::Deserializer::from_slice(&output.stdout).into_iter().collect();
    let answers = answers.expect("the Lua machine answers in JSON");
    assert_eq!(answers.len(), requests.len(), "the Lua machine ended early: {}", output.status);
    answers
}
