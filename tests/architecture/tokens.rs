//! Rust source as the few tokens that paths are made of. Comments, strings and characters are dropped, so that a room
//! named in prose is not taken for a room in use; what is inside a macro call is read like any other code.

/// A token and the line it is on, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// An identifier or keyword; a raw identifier without its `r#`.
    Word(&'a str),
    /// `::`
    Separator,
    /// Any other character that matters to nobody but the one who looks for it.
    Sign(char),
}

pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut reader = Reader { rest: source, line: 1, found: Vec::new() };
    while reader.step() {}
    reader.found
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    found: Vec<Token<'a>>,
}

impl<'a> Reader<'a> {
    /// Reads one token or skips one thing that is none. False at the end.
    fn step(&mut self) -> bool {
        let rest = self.rest;
        let Some(first) = rest.chars().next() else { return false };
        if rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.skip(block_comment(rest));
        } else if let Some(length) = string(rest) {
            self.skip(length);
        } else if first == '\'' {
            self.skip(character_or_lifetime(rest));
        } else if rest.starts_with("::") {
            self.push(Kind::Separator, 2);
        } else if let Some(raw) = rest.strip_prefix("r#").filter(|raw| word(raw) > 0) {
            self.skip(2);
            self.push(Kind::Word(&raw[..word(raw)]), word(raw));
        } else if first.is_ascii_digit() {
            self.skip(word(rest));
        } else if word(rest) > 0 {
            self.push(Kind::Word(&rest[..word(rest)]), word(rest));
        } else if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else {
            self.push(Kind::Sign(first), first.len_utf8());
        }
        true
    }

    fn push(&mut self, kind: Kind<'a>, length: usize) {
        self.found.push(Token { kind, line: self.line });
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        self.line += self.rest[..length].matches('\n').count();
        self.rest = &self.rest[length..];
    }
}

/// Length of the identifier or number at the start.
fn word(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// Length of the block comment at the start; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of the string literal at the start, whatever its prefix.
fn string(text: &str) -> Option<usize> {
    let prefix = text.find(|c: char| !matches!(c, 'b' | 'c' | 'r')).unwrap_or(text.len());
    let (kind, body) = text.split_at(prefix);
    if !matches!(kind, "" | "b" | "c" | "r" | "br" | "cr") {
        return None;
    }
    if kind.ends_with('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        let content = body[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = content.find(&end).map_or(content.len(), |at| at + end.len());
        Some(prefix + hashes + 1 + length)
    } else {
        let content = body.strip_prefix('"')?;
        Some(prefix + 1 + escaped(content, '"'))
    }
}

/// Length up to and with the closing quote, past escapes.
fn escaped(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// Length of `'x'`, of an escape in quotes, or of a lifetime.
fn character_or_lifetime(text: &str) -> usize {
    let body = &text[1..];
    let mut characters = body.chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => 1 + escaped(body, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 1 + word(body),
    }
}

#[test]
fn only_code_is_left_of_a_source() {
    let source = r##"
        // crate::a
        /* crate::b /* crate::c */ crate::d */
        let x = "crate::e \" crate::f"; let y = r#"crate::g " crate::h"#; let z = '\''; let q = '"';
        fn f<'a>(x: &'a str, c: char) { r#use::it(c == '\u{7f}', 1_000.5e3) } // crate::i
    "##;
    let words: Vec<_> = tokens(source)
        .into_iter()
        .filter_map(|token| if let Kind::Word(word) = token.kind { Some(word) } else { None })
        .collect();
    assert_eq!(
        words,
        ["let", "x", "let", "y", "let", "z", "let", "q", "fn", "f", "x", "str", "c", "char", "use", "it", "c"]
    );
}

#[test]
fn a_token_knows_its_line() {
    let found = tokens("a\n/* \n */ b \"\n\" c");
    assert_eq!(found.iter().map(|token| token.line).collect::<Vec<_>>(), [1, 3, 4]);
}
