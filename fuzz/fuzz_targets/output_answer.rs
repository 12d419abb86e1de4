//! Answers of `runs/get-output`, and what of them stands in a status.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| databricks_run_operator::fuzzing::output_answer(bytes));
