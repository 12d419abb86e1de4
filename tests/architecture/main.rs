//! The arrows between the rooms of `src/`, held by reading the imports; and that `docs/architecture.md` tells of the house
//! as it is. The rules are in `rules.rs`, with bad input that they must refuse.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test, as it should")]

mod docs;
mod paths;
mod rules;
mod tokens;

use std::path::{Path, PathBuf};

use rules::{shape, violations};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `folder`, with its path from there, in order.
fn sources(folder: &str) -> Vec<(String, String)> {
    let top = root().join(folder);
    let mut open = vec![top.clone()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&top).unwrap().to_string_lossy().replace('\\', "/");
        (name, std::fs::read_to_string(path).unwrap())
    };
    files.into_iter().map(read).collect()
}

#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn arrows_between_rooms_go_one_way() {
    let files = sources("src");
    assert!(files.iter().any(|(name, _)| name == "lib.rs"), "src/lib.rs was not read");
    none(&files.iter().flat_map(|(name, source)| violations(name, source)).collect::<Vec<_>>());
}

#[test]
fn the_test_kit_keeps_to_one_thing_per_file() {
    let wrong = |folder: &str| {
        let named = |(name, source): &(String, String)| shape(&format!("{folder}/{name}"), source);
        sources(folder).iter().flat_map(named).collect::<Vec<_>>()
    };
    none(&[wrong("e2e"), wrong("tests")].concat());
}
