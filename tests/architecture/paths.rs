//! The paths a source file mentions, in `use` trees and in place, each resolved to where it leads: into this crate or out
//! of it. Read from tokens and not from a syntax tree, because paths inside macro calls count as well.

use crate::tokens::{Kind, Token, tokens};

/// A path as far as it is spelt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) target: Target,
    /// It ends in `*` or `as`: whatever lies below can be reached through it.
    pub(crate) open: bool,
    /// The line it is on, from 1.
    pub(crate) line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Segments below the root of this crate.
    Inside(Vec<String>),
    /// Segments from the name of another crate.
    Outside(Vec<String>),
}

/// Every path in `source`, which is the module `module` of this crate (empty for its root).
pub(crate) fn mentions(source: &str, module: &[&str]) -> Vec<Mention> {
    let mut walk = Walk {
        tokens: tokens(source),
        at: 0,
        module: module.iter().map(ToString::to_string).collect(),
        depth: 0,
        inline: Vec::new(),
        found: Vec::new(),
    };
    while walk.at < walk.tokens.len() {
        walk.step();
    }
    walk.found
}

struct Walk<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    module: Vec<String>,
    /// Braces open here.
    depth: usize,
    /// The depth inside each inline `mod x { … }` that is open here.
    inline: Vec<usize>,
    found: Vec<Mention>,
}

impl<'a> Walk<'a> {
    fn step(&mut self) {
        match (self.kind(0), self.kind(1), self.kind(2)) {
            (Some(Kind::Word("mod")), Some(Kind::Word(name)), Some(Kind::Sign('{'))) => {
                self.module.push(name.to_owned());
                self.depth += 1;
                self.inline.push(self.depth);
                self.at += 3;
            }
            (Some(Kind::Word("use")), ..) => {
                self.at += 1;
                self.tree(&[]);
            }
            (Some(Kind::Word("extern")), Some(Kind::Word("crate")), Some(Kind::Word(name))) => {
                self.record(vec![name.to_owned()], true);
                self.at += 3;
            }
            (Some(Kind::Word(_)), Some(Kind::Separator), _) if self.starts_a_path() => {
                let path = self.segments();
                self.record(path, false);
            }
            (Some(Kind::Sign('{')), ..) => {
                self.depth += 1;
                self.at += 1;
            }
            (Some(Kind::Sign('}')), ..) => {
                if self.inline.last() == Some(&self.depth) {
                    self.inline.pop();
                    self.module.pop();
                }
                self.depth = self.depth.saturating_sub(1);
                self.at += 1;
            }
            _ => self.at += 1,
        }
    }

    fn kind(&self, ahead: usize) -> Option<Kind<'a>> {
        self.tokens.get(self.at + ahead).map(|token| token.kind)
    }

    /// False in the middle of a path: after `a::`, `<T>::`.
    fn starts_a_path(&self) -> bool {
        let before = |back: usize| self.at.checked_sub(back).map(|at| self.tokens[at].kind);
        before(1) != Some(Kind::Separator) || !matches!(before(2), Some(Kind::Word(_) | Kind::Sign('>')))
    }

    /// Reads `a::b::c` and stands behind it.
    fn segments(&mut self) -> Vec<String> {
        let mut path = Vec::new();
        while let Some(Kind::Word(word)) = self.kind(0) {
            path.push(word.to_owned());
            self.at += 1;
            match (self.kind(0), self.kind(1)) {
                (Some(Kind::Separator), Some(Kind::Word(_))) => self.at += 1,
                _ => break,
            }
        }
        path
    }

    /// Reads one branch of a `use` and stands behind it.
    fn tree(&mut self, prefix: &[String]) {
        if self.kind(0) == Some(Kind::Separator) {
            self.at += 1;
        }
        let mut path = prefix.to_vec();
        path.extend(self.segments());
        if self.kind(0) == Some(Kind::Separator) {
            self.at += 1;
        }
        match self.kind(0) {
            Some(Kind::Sign('{')) => {
                self.at += 1;
                while !matches!(self.kind(0), None | Some(Kind::Sign('}'))) {
                    let before = self.at;
                    self.tree(&path);
                    if self.kind(0) == Some(Kind::Sign(',')) || self.at == before {
                        self.at += 1;
                    }
                }
                self.at += 1;
            }
            Some(Kind::Sign('*')) => {
                self.record(path, true);
                self.at += 1;
            }
            Some(Kind::Word("as")) => {
                self.record(path, true);
                self.at += 2;
            }
            _ if path.len() > prefix.len() => self.record(path, false),
            _ => {}
        }
    }

    fn record(&mut self, mut path: Vec<String>, open: bool) {
        // In `use a::{self}` the word stands for what is in front of it.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let line = self.tokens.get(self.at.saturating_sub(1)).map_or(0, |token| token.line);
        let rest = |from: usize| path[from..].to_vec();
        let target = match path.first().map(String::as_str) {
            Some("crate" | "databricks_run_operator") => Target::Inside(rest(1)),
            Some("self") => Target::Inside([self.module.clone(), rest(1)].concat()),
            Some("super") => {
                let up = path.iter().take_while(|segment| *segment == "super").count();
                let kept = self.module.len().saturating_sub(up);
                Target::Inside([self.module[..kept].to_vec(), rest(up)].concat())
            }
            _ => Target::Outside(path),
        };
        self.found.push(Mention { target, open, line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths as text: `crate::…` inside, bare outside, `…::*` when open.
    fn read(source: &str, module: &[&str]) -> Vec<String> {
        let text = |mention: Mention| {
            let (mut segments, prefix) = match mention.target {
                Target::Inside(segments) => (segments, Some("crate".to_owned())),
                Target::Outside(segments) => (segments, None),
            };
            segments.extend(mention.open.then(|| "*".to_owned()));
            prefix.into_iter().chain(segments).collect::<Vec<_>>().join("::")
        };
        mentions(source, module).into_iter().map(text).collect()
    }

    #[test]
    fn a_use_tree_is_read_to_its_leaves() {
        assert_eq!(
            read("pub use crate::{a::{self, b, c as d}, e::*, f}; use ::tokio::{sync, time::Instant};", &["x"]),
            [
                "crate::a",
                "crate::a::b",
                "crate::a::c::*",
                "crate::e::*",
                "crate::f",
                "tokio::sync",
                "tokio::time::Instant"
            ]
        );
    }

    #[test]
    fn a_path_in_place_is_read_wherever_it_stands() {
        assert_eq!(
            read(
                "fn f(x: crate::a::B<kube::Client>) -> i64 { log!(\"{}\", crate::c::d::<u8>(x)); <T as E>::g() }",
                &[]
            ),
            ["crate::a::B", "kube::Client", "crate::c::d"]
        );
        assert_eq!(read("fn f() { ::tokio::spawn(x) } pub(in crate::a) struct S;", &[]), ["tokio::spawn", "crate::a"]);
    }

    #[test]
    fn a_relative_path_is_resolved_from_its_module() {
        let source = "use super::b; use super::super::c::D; use self::e::F; mod tests { use super::*; fn f() { super::super::g::h() } } use super::i;";
        assert_eq!(
            read(source, &["room", "file"]),
            [
                "crate::room::b",
                "crate::c::D",
                "crate::room::file::e::F",
                "crate::room::file::*",
                "crate::room::g::h",
                "crate::room::i"
            ]
        );
    }

    #[test]
    fn the_library_under_its_own_name_is_this_crate() {
        assert_eq!(read("fn main() { databricks_run_operator::cli::run() }", &[]), ["crate::cli::run"]);
    }

    #[test]
    fn a_crate_brought_in_or_renamed_is_seen() {
        assert_eq!(read("extern crate tokio; use kube as k; use reqwest;", &[]), ["tokio::*", "kube::*", "reqwest"]);
    }

    #[test]
    fn precise_capturing_is_no_import() {
        assert_eq!(read("fn f<'a>() -> impl Sized + use<'a> { crate::a::b() }", &[]), ["crate::a::b"]);
    }
}
