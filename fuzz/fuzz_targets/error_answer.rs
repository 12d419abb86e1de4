//! Answers that are errors: what may be shown of them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| databricks_run_operator::fuzzing::error_answer(bytes));
