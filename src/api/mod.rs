//! What users write and read: the kinds of `dbrun.dev/v1alpha1`, their status and the words in it. Types and pure
//! functions only: no client, no tokio. The CRD YAML under `crds/` is generated from here.

pub mod status;
