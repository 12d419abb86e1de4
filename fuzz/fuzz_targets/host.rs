//! Hosts, addresses and proxies, and the policies for them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| databricks_run_operator::fuzzing::host(bytes));
