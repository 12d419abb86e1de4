//! The rules of a run's life, one file per theme, one fact per test. Each drives a [`World`](crate::lifecycle::world): one
//! object, one operator process, and a test that plays Databricks.

mod deletion;
mod exactly_once;
mod holds;
mod pin;
mod random_walk;
mod reruns;
mod restored;
mod verdict_and_doubt;
mod writes;
