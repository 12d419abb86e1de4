//! What users write and read: the kinds of `dbrun.dev/v1alpha1`, their status and the words in it. Types, tables and pure
//! functions only: no client, no tokio, no other room. Request bodies are kept as the JSON the user wrote; the typed
//! structs in [`body`] exist for the schema alone and nothing is ever sent or hashed from them. The CRD YAML under
//! `crds/`, and `docs/api-reference.md`, are generated from here; `tests/generated.rs` fails when they drift.

pub mod admission;
pub mod body;
pub mod body_check;
pub mod cluster_workspace;
pub mod conditions;
pub mod crd;
pub mod run;
pub mod run_control;
pub mod schema;
pub mod status;
pub mod unknown_fields;
pub mod workspace;
pub mod workspace_auth;

/// The API group of every kind here.
pub const GROUP: &str = "dbrun.dev";
/// The version of every kind here.
pub const VERSION: &str = "v1alpha1";
