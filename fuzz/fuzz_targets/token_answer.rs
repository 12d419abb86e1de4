//! Answers of token endpoints, and the documents that name one.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| databricks_run_operator::fuzzing::token_answer(bytes));
