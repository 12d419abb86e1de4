//! Answers of `runs/get`, and what becomes of a run by them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| databricks_run_operator::fuzzing::run_answer(bytes));
