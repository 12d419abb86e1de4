//! The test kit.

pub mod workspace;
