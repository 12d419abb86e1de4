//! What users install, as they install it: the chart with Helm 4 and Helm 3, `config/` with kustomize, on a real API server. What can
//! be told from the files alone is in `tests/delivery` of the operator, and what the chart does with each value in its own tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accepted;
mod agreement;
mod helm;
mod installed;
mod kit;
