//! Objects as users write them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| databricks_run_operator::fuzzing::spec(bytes));
