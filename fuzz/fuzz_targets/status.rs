//! Statuses as they are stored.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| databricks_run_operator::fuzzing::status(bytes));
