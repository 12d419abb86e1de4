//! The test kit.

pub mod bench;
pub mod cluster;
pub mod crash;
pub mod demo;
pub mod gitops;
pub mod jwt;
pub mod mutations;
pub mod simulation;
pub mod stage;
pub mod wait;
pub mod workspace;
