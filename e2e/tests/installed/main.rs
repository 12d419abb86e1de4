//! The operator as it is installed: by Helm, as Pods that a kubelet runs in a namespace that enforces the restricted profile.
//! `bash .ci/node-cluster` sets all of it up; without that each test says in a line what it lacks, and passes.
//!
//! `E2E_INSTALLED` names the namespace, `E2E_KUBECONFIG` the cluster, and `E2E_WORKSPACE_ADDRESS` an address of this machine that
//! Pods reach and the chart allows.
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod kit;
mod leaders;
mod lifecycle;
mod pods;
mod rollout;
