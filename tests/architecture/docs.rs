//! What `docs/architecture.md` says of the house is compared with the house: the arrows it draws with the table of rules,
//! the tests that it and other pages name with the tests there are.

use std::collections::BTreeSet;

use crate::rules::{ROOMS, Uses};
use crate::{none, root, sources};

/// The pages that name the tests which prove what they say.
const PAGES: [&str; 3] = ["docs/architecture.md", "docs/rbac.md", "docs/security.md"];

/// The arrows of a Mermaid flowchart, `a --> b` or `a -->|label| b`; dotted ones are told apart in words, not here.
fn drawn(page: &str) -> BTreeSet<(String, String)> {
    let diagram = page.split("```mermaid").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
    let arrow = |line: &str| {
        let (from, to) = line.split_once("-->")?;
        Some((from.trim().to_owned(), to.rsplit('|').next()?.trim().to_owned()))
    };
    diagram.lines().filter_map(arrow).collect()
}

/// The same arrows as the rules have them. `telemetry` is dotted in the drawing: nearly every room uses it.
fn ruled() -> BTreeSet<(String, String)> {
    let mut arrows = BTreeSet::new();
    for (room, uses) in ROOMS {
        let Uses::Only(allowed) = uses else { continue };
        let rooms = allowed.iter().filter_map(|arrow| arrow.split("::").next()).filter(|to| *to != "telemetry");
        arrows.extend(rooms.map(|to| ((*room).to_owned(), to.to_owned())));
    }
    arrows
}

/// The names of tests in a page: `` `like_this` `` in the last column of a table, where they stand alone in backticks.
fn named_tests(page: &str) -> Vec<&str> {
    page.lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.trim_end_matches([' ', '|']).rsplit('|').next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| {
            name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        })
        .collect()
}

#[test]
fn the_drawing_shows_the_arrows_of_the_rules() {
    let page = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    assert_eq!(drawn(&page), ruled());
}

#[test]
fn every_test_that_the_docs_name_is_there() {
    let code: Vec<_> = ["src", "e2e", "tests"].iter().flat_map(|folder| sources(folder)).collect();
    let missing = |name: &&str| !code.iter().any(|(_, source)| source.contains(&format!("fn {name}(")));
    let mut wrong = Vec::new();
    for path in PAGES {
        let page = std::fs::read_to_string(root().join(path)).unwrap();
        let names = named_tests(&page);
        assert!(!names.is_empty(), "{path} names no test");
        wrong.extend(names.into_iter().filter(missing).map(|name| format!("{path} names `{name}`: no such test")));
    }
    none(&wrong);
}

#[test]
fn an_arrow_is_read_with_and_without_its_label() {
    let page = "text a --> z\n```mermaid\nflowchart TD\n  a --> b\n  b -->|x, y| c\n  c -.-> d\n```\nd --> e\n";
    let arrows: Vec<_> = drawn(page).into_iter().map(|(from, to)| format!("{from}>{to}")).collect();
    assert_eq!(arrows, ["a>b", "b>c"]);
}

#[test]
fn names_of_tests_are_told_from_other_words() {
    let page = "`not_in_a_table`\n| a `first_column` | `a_test_name`, `decide`, `src/x_y.rs`, `b_2` |\n";
    assert_eq!(named_tests(page), ["a_test_name", "b_2"]);
}
