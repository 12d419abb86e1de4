//! Marks: texts that stand nowhere unless somebody copied them there, and the search for them, whole or in part, as they are or
//! as programs write what they mean to hide: in base64, in hexadecimal, as a list of bytes.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use data_encoding::{BASE64, BASE64URL, HEXLOWER};

/// The shortest piece that is looked for. What is shorter may be anything.
const PIECE: usize = 12;
/// Characters of a mark.
const LENGTH: usize = 32;
/// Shown around a find.
const CONTEXT: usize = 160;

/// The marks that were made, and other texts that must not be found.
#[derive(Default)]
pub(super) struct Marks {
    /// Pieces, with what they are of.
    pieces: HashMap<[u8; PIECE], String>,
}

impl Marks {
    /// A new mark, for this.
    pub(super) fn mark(&mut self, what: &str) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let letter = |_| char::from(LETTERS[rand::random_range(0..LETTERS.len())]);
        let mark: String = (0..LENGTH).map(letter).collect();
        self.know(what, &mark);
        mark
    }

    /// A text that is as little to be found as a mark.
    pub(super) fn know(&mut self, what: &str, text: &str) {
        for form in forms(text) {
            for piece in form.as_bytes().array_windows::<PIECE>() {
                self.pieces.entry(*piece).or_insert_with(|| what.to_owned());
            }
        }
    }

    /// What is found in a text: of what, with the first place.
    pub(super) fn found_in(&self, text: &str) -> BTreeMap<&str, String> {
        let mut found = BTreeMap::new();
        for (at, window) in text.as_bytes().array_windows::<PIECE>().enumerate() {
            if let Some(what) = self.pieces.get(window) {
                let around = text.floor_char_boundary(at.saturating_sub(CONTEXT))
                    ..text.ceil_char_boundary((at + CONTEXT).min(text.len()));
                found.entry(what.as_str()).or_insert_with(|| text[around].to_owned());
            }
        }
        found
    }

    /// Fails if anything is found.
    #[track_caller]
    pub(super) fn assert_none_in(&self, place: &str, text: &str) {
        let found = self.found_in(text);
        assert!(found.is_empty(), "found in {place}: {found:#?}");
    }
}

/// The ways in which a text may be written. Letters and digits are the same when percent-encoded.
fn forms(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut forms = vec![text.to_owned(), HEXLOWER.encode(bytes), listed(bytes)];
    for encoding in [BASE64, BASE64URL] {
        // In the middle of something else it begins at any of three places of a group.
        for before in ["", "-", "--"] {
            let encoded = encoding.encode(format!("{before}{text}").as_bytes());
            let from = if before.is_empty() { 0 } else { 4 };
            let to = encoded.len() - if text.len().is_multiple_of(3) { 0 } else { 4 };
            forms.push(encoded.get(from..to).unwrap_or_default().to_owned());
        }
    }
    forms
}

/// As `Debug` writes bytes.
fn listed(bytes: &[u8]) -> String {
    let mut list = String::new();
    for byte in bytes {
        // Writing to a text cannot fail.
        let _ = write!(list, "{byte}, ");
    }
    list
}

#[test]
fn a_mark_is_found_whole_and_in_part_in_whatever_way_it_is_written() {
    let mut marks = Marks::default();
    let mark = marks.mark("the mark");
    let encoded = BASE64.encode(format!("id:{mark}").as_bytes());
    for text in [
        mark.clone(),
        format!("… {} …", &mark[3..17]),
        format!("key={encoded}"),
        BASE64URL.encode(mark.as_bytes()),
        HEXLOWER.encode(mark.as_bytes()),
        format!("{:?}", mark.as_bytes()),
    ] {
        assert_eq!(marks.found_in(&text).keys().collect::<Vec<_>>(), [&"the mark"], "{text}");
    }
    for text in ["", "nothing of it", &mark[..PIECE - 1]] {
        assert!(marks.found_in(text).is_empty(), "{text}");
    }
}
