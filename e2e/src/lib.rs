//! The test kit.

pub mod cluster;
pub mod wait;
pub mod workspace;
