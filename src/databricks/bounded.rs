//! Bounds on what an answer may hold. A body is bounded already, but a few bytes of it can become a hundred times as
//! many in memory, and what is kept of a run is kept as long as the run lives, thousands of runs at a time.
//!
//! (How deep JSON may go needs no bound here: what is not read is passed over without recursion, what is read has a
//! form, and an error of any form is read down to `serde_json`'s 128 levels.)

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Bytes of a text that are kept: the longest name Databricks takes, and more than a status shows of any message.
const TEXT: usize = 4096;
/// Bytes that are kept of a word nobody knows: a state or a code of tomorrow.
const WORD: usize = 256;
/// Items of one list. Databricks gives a hundred a page; a thousand tasks and their attempts where it has no pages.
const ITEMS: usize = 10_000;

/// The beginning of a text.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<Text>::deserialize(deserializer).map(|text| text.map(|Text(text)| text))
}

/// Cut before it is copied. (A `Cow` would always be an owned one, and copied twice.)
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        seen(deserializer, |text| Self(beginning(text, TEXT).to_owned()))
    }
}

/// What is made of a text that is only looked at: nothing is copied but what is made of it.
pub(super) fn seen<'de, D: Deserializer<'de>, T>(deserializer: D, make: impl FnOnce(&str) -> T) -> Result<T, D::Error> {
    deserializer.deserialize_str(Seen(make, PhantomData))
}

struct Seen<F, T>(F, PhantomData<T>);

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Seen<F, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok((self.0)(text))
    }
}

/// The same of a text that is always there.
pub(super) fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text(deserializer).map(Option::unwrap_or_default)
}

/// The beginning of a word.
pub(super) fn word(text: &str) -> &str {
    beginning(text, WORD)
}

/// A list that is not too long; nothing counts as an empty one.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::<List<T>>::deserialize(deserializer).map(|list| list.map(|List(items)| items).unwrap_or_default())
}

struct List<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<List<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            if items.len() == ITEMS {
                return Err(A::Error::custom("a list has more items than can be"));
            }
            items.push(item);
        }
        // It is kept for as long as its run lives, and a vector grows by doubling.
        items.shrink_to_fit();
        Ok(List(items))
    }
}

fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::databricks::model::{LifeCycleState, Run, RunTask};

    fn run(changes: &serde_json::Value) -> Result<Run, serde_json::Error> {
        let mut run = json!({"run_id": 1});
        let fields = changes.as_object().unwrap().clone();
        run.as_object_mut().unwrap().extend(fields);
        serde_json::from_value(run)
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let long = "ä".repeat(1 << 20);
        let read = run(&json!({
            "run_name": format!("x{long}"),
            "run_page_url": long,
            "state": {"state_message": long, "queue_reason": long, "life_cycle_state": long},
            "status": {"queue_details": {"code": long, "message": long}, "termination_details": {"code": long, "message": long}},
            "tasks": [{"task_key": long, "run_page_url": long, "job_cluster_key": long, "existing_cluster_id": long}],
            "repair_history": [{"type": long}],
        }));
        let read = read.unwrap();
        assert_eq!(read.run_name.as_ref().map(String::len), Some(super::TEXT - 1));
        let Some(LifeCycleState::Other(word)) = read.state.as_ref().unwrap().life_cycle_state.clone() else {
            panic!("a known state")
        };
        assert_eq!(word.len(), super::WORD);
        assert!(format!("{read:?}").len() < 20 * super::TEXT, "nothing is kept whole");
    }

    #[test]
    fn what_is_missing_or_null_is_nothing() {
        let read = run(&json!({"tasks": null, "repair_history": null, "run_name": null, "state": {}})).unwrap();
        assert!(read.tasks.is_empty() && read.repair_history.is_empty() && read.run_name.is_none());
        assert_eq!(run(&json!({})).unwrap().tasks, Vec::<RunTask>::new());
    }

    #[test]
    fn a_list_without_end_is_no_list() {
        let tasks = |count| vec![json!({"task_key": "a"}); count];
        assert_eq!(run(&json!({"tasks": tasks(super::ITEMS)})).unwrap().tasks.len(), super::ITEMS);
        let error = run(&json!({"tasks": tasks(super::ITEMS + 1)})).unwrap_err().to_string();
        assert!(error.contains("more items than can be"), "{error}");
    }
}
