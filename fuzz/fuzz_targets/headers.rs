//! Headers of answers: waits and times.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| databricks_run_operator::fuzzing::headers(bytes));
