//! The rules as tables and the check of one file against them. `docs/architecture.md` draws the same arrows, and a test
//! compares the two.

use crate::paths::{Mention, Target, mentions};

/// Lines a file may have. A longer one holds a second room.
pub(crate) const MAX_LINES: usize = 500;

/// What a room may use.
pub(crate) enum Uses {
    /// Every room: these put the house together.
    Any,
    /// These rooms or parts of rooms, and no other.
    Only(&'static [&'static str]),
}

/// The rooms of `src/`. A room that is not here is an error: decide what it may use before it is built.
pub(crate) const ROOMS: &[(&str, Uses)] = &[
    ("lib", Uses::Any),
    ("main", Uses::Any),
    ("cli", Uses::Any),
    ("server", Uses::Any),
    ("fuzzing", Uses::Any),
    ("controller", Uses::Only(&["poller", "lifecycle", "databricks", "api", "leader", "telemetry"])),
    ("lifecycle", Uses::Only(&["api", "databricks::model", "databricks::error", "databricks::ids"])),
    ("poller", Uses::Only(&["databricks", "telemetry"])),
    ("leader", Uses::Only(&["telemetry"])),
    ("telemetry", Uses::Only(&[])),
    ("databricks", Uses::Only(&[])),
    ("api", Uses::Only(&[])),
];

/// What does something or knows the time; a pure room gets the answer handed in.
const EFFECTS: &[&str] = &[
    "axum",
    "hyper",
    "kube::Api",
    "kube::Client",
    "kube::client",
    "kube::runtime",
    "rand",
    "reqwest",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "tokio",
];
/// `X::now()` of any of these reads a clock.
const CLOCKS: &[&str] = &["Instant", "SystemTime", "Timestamp", "Zoned"];
const KUBERNETES: &[&str] = &["k8s_openapi", "kube"];

/// Crates that a room must not touch, with the reason a reader is given.
const CLOSED: &[(&str, &[&str], &str)] = &[
    ("api", EFFECTS, "it is types and pure functions"),
    ("lifecycle", EFFECTS, "it decides and does nothing"),
    ("databricks", KUBERNETES, "it is used without Kubernetes"),
    ("poller", KUBERNETES, "it knows runs by opaque keys"),
];
/// Rooms that are told the time.
const TIMELESS: &[&str] = &["api", "lifecycle"];

/// What is wrong with `file` (a path below `src/`), one sentence each.
pub(crate) fn violations(file: &str, source: &str) -> Vec<String> {
    let module = module_of(file);
    let room = room_of(file);
    let Some((_, uses)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!(
            "src/{file}: no room `{room}` in ROOMS of tests/architecture/rules.rs; say there what it may use"
        )];
    };
    let mut wrong = shape(&format!("src/{file}"), source);
    for mention in mentions(source, &module) {
        let complaint = match &mention.target {
            Target::Inside(path) => arrow(room, uses, path),
            Target::Outside(path) => closed(room, path, &mention),
        };
        wrong.extend(complaint.map(|complaint| format!("src/{file}:{}: {complaint}", mention.line)));
    }
    wrong
}

/// Length and opening words.
pub(crate) fn shape(file: &str, source: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = source.lines().count();
    if lines > MAX_LINES {
        wrong
            .push(format!("{file}: {lines} lines, more than {MAX_LINES}; find the second thing in it and move it out"));
    }
    let opening = source.lines().take_while(|line| line.starts_with("//!")).count();
    let least = if file.ends_with("/mod.rs") { 2 } else { 1 };
    if opening < least && !is_tests(file) {
        wrong.push(format!(
            "{file}: opens with {opening} lines of `//!`, not {least}; say what it is for and what it must never do"
        ));
    }
    wrong
}

/// Tests say in their names what they are about.
fn is_tests(file: &str) -> bool {
    file.ends_with("tests.rs") || file.contains("tests/")
}

fn arrow(room: &str, uses: &Uses, path: &[String]) -> Option<String> {
    let Uses::Only(allowed) = uses else { return None };
    let spelt = path.join("::");
    let target = path.first().map_or("", String::as_str);
    if target == room {
        return None;
    }
    if !ROOMS.iter().any(|(name, _)| *name == target) {
        return Some(format!("`{room}` uses `crate::{spelt}`, which names no room; spell the room out"));
    }
    let fits = |arrow: &&str| path.iter().map(String::as_str).take(arrow.split("::").count()).eq(arrow.split("::"));
    (!allowed.iter().any(fits)).then(|| {
        format!(
            "`{room}` uses `crate::{spelt}`; it may use {}",
            if allowed.is_empty() { "no room".into() } else { allowed.join(", ") }
        )
    })
}

fn closed(room: &str, path: &[String], mention: &Mention) -> Option<String> {
    let spelt = path.join("::");
    let reads_clock = TIMELESS.contains(&room)
        && matches!(path, [.., owner, last] if last == "now" && CLOCKS.contains(&owner.as_str()));
    if reads_clock {
        return Some(format!("`{room}` calls `{spelt}`; it is told the time"));
    }
    let (_, forbidden, why) = CLOSED.iter().find(|(name, ..)| *name == room)?;
    let meets = |rule: &&&str| {
        let below = |long: &str, short: &str| long == short || long.starts_with(&format!("{short}::"));
        below(&spelt, rule) || (mention.open && below(rule, &spelt))
    };
    let rule = forbidden.iter().find(meets)?;
    Some(format!("`{room}` uses `{spelt}`, and `{rule}` is closed to it: {why}"))
}

/// `api/run.rs` → `api`; `server.rs` → `server`.
fn room_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// `api/run.rs` → `[api, run]`; `api/mod.rs` → `[api]`; `lib.rs` → `[]`.
fn module_of(file: &str) -> Vec<&str> {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let mut module: Vec<&str> = path.split('/').collect();
    if matches!(module[..], ["lib" | "main"] | [.., "mod"]) {
        module.pop();
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The complaints about a file of one line of code.
    fn complaints(file: &str, code: &str) -> Vec<String> {
        violations(file, &format!("//! A room.\n//! Its rule.\n{code}\n"))
    }

    #[track_caller]
    fn refused(file: &str, code: &str, says: &str) {
        let complaints = complaints(file, code);
        assert!(complaints.iter().any(|complaint| complaint.contains(says)), "{code} in {file}: {complaints:?}");
    }

    #[track_caller]
    fn accepted(file: &str, code: &str) {
        assert_eq!(complaints(file, code), Vec::<String>::new(), "{code} in {file}");
    }

    #[test]
    fn an_arrow_of_the_table_is_accepted() {
        accepted("controller/observe.rs", "use crate::{api::status::X, lifecycle::{self, decide}, poller::Poller};");
        accepted(
            "lifecycle/cause.rs",
            "use crate::databricks::{ids::RunId, model::{Run, RunTask}}; use super::bounds;",
        );
        accepted("poller/mod.rs", "use crate::databricks::client::Client; use tokio::time::Instant;");
        accepted("cli.rs", "use crate::{api, controller, databricks, telemetry};");
        accepted("api/run.rs", "#[derive(kube::CustomResource)] struct S { time: k8s_openapi::jiff::Timestamp }");
    }

    #[test]
    fn an_arrow_backwards_is_refused() {
        refused(
            "api/run.rs",
            "use crate::lifecycle::decide;",
            "`api` uses `crate::lifecycle::decide`; it may use no room",
        );
        refused("databricks/client.rs", "fn f() { crate::telemetry::count() }", "it may use no room");
        refused("poller/mod.rs", "use super::controller::Context;", "`poller` uses `crate::controller::Context`");
        refused("telemetry/mod.rs", "use crate::{api::status::State};", "`telemetry` uses");
        refused("lifecycle/mod.rs", "use crate::telemetry;", "`lifecycle` uses `crate::telemetry`");
    }

    #[test]
    fn of_databricks_only_words_reach_the_lifecycle() {
        refused(
            "lifecycle/mod.rs",
            "use crate::databricks::{model, client::Client};",
            "`crate::databricks::client::Client`",
        );
        refused("lifecycle/mod.rs", "use crate::databricks;", "`crate::databricks`");
        refused("lifecycle/mod.rs", "use crate::databricks::*;", "`crate::databricks`");
        refused("lifecycle/mod.rs", "use crate::databricks::modelling::X;", "`crate::databricks::modelling::X`");
    }

    #[test]
    fn a_way_around_the_root_is_refused() {
        refused("poller/mod.rs", "use crate::*;", "names no room");
        refused("poller/mod.rs", "use crate as everything;", "names no room");
        refused("poller/mod.rs", "use crate::Reexported;", "names no room");
        refused("poller/sweep.rs", "mod tests { fn f() { super::super::super::api::g() } }", "`crate::api::g`");
    }

    #[test]
    fn a_test_module_obeys_like_the_rest() {
        refused("lifecycle/mod.rs", "#[cfg(test)] mod tests { use crate::controller::X; }", "`crate::controller::X`");
    }

    #[test]
    fn an_effect_in_a_pure_room_is_refused() {
        for code in [
            "use tokio::time;",
            "use {tokio::sync, std::fmt};",
            "fn f(c: kube::Client) {}",
            "use kube::*;",
            "use reqwest as r;",
            "extern crate tokio;",
            "use kube::{Resource, Api};",
            "fn f() { std::env::var(X) }",
        ] {
            refused("lifecycle/decide.rs", code, "is closed to it: it decides and does nothing");
            refused("api/run.rs", code, "is closed to it: it is types and pure functions");
        }
        for code in ["std::time::Instant::now()", "SystemTime::now()", "Timestamp::now()"] {
            refused("lifecycle/decide.rs", &format!("fn f() {{ {code}; }}"), "it is told the time");
        }
        accepted("lifecycle/decide.rs", "/// Not even `tokio::time`. \nfn now() { let now = \"Timestamp::now\"; }");
    }

    #[test]
    fn kubernetes_is_refused_where_it_is_not_known() {
        refused("databricks/mod.rs", "use k8s_openapi::jiff;", "it is used without Kubernetes");
        refused("poller/mod.rs", "fn f() { kube::Client::try_default() }", "it knows runs by opaque keys");
    }

    #[test]
    fn a_room_without_a_row_is_refused() {
        refused("helpers/mod.rs", "", "no room `helpers` in ROOMS");
        refused("utils.rs", "", "no room `utils` in ROOMS");
    }

    #[test]
    fn a_file_past_one_sitting_is_refused() {
        assert_eq!(violations("cli.rs", &format!("//! A.\n{}", "\n".repeat(MAX_LINES - 1))), Vec::<String>::new());
        assert_eq!(violations("cli.rs", &format!("//! A.\n{}", "\n".repeat(MAX_LINES))).len(), 1);
    }

    #[test]
    fn a_room_that_does_not_say_what_it_is_for_is_refused() {
        assert_eq!(violations("api/mod.rs", "//! One line.\n\npub mod run;").len(), 1);
        assert_eq!(violations("api/run.rs", "use std::fmt;").len(), 1);
        assert_eq!(violations("api/run/tests.rs", "use std::fmt;"), Vec::<String>::new());
    }

    #[test]
    fn a_complaint_names_file_and_line() {
        let found = violations("api/run.rs", "//! A.\n\nuse std::fmt;\nuse tokio::sync;\n");
        assert!(found[0].starts_with("src/api/run.rs:4: "), "{found:?}");
    }
}
