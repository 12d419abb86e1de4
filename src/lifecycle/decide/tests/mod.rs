//! The rules of a run's life, one file per theme, one fact per test. Each drives a [`World`](crate::lifecycle::world): one
//! object, one operator process, and a test that plays Databricks.

mod attempts;
mod commands;
mod deadlines;
mod deletion;
mod ends;
mod exactly_once;
mod holds;
mod pin;
mod random_walk;
mod repairs;
mod reruns;
mod restored;
mod time_to_live;
mod transitions;
mod verdict_and_doubt;
mod writes;
