//! What the fuzz targets in `fuzz/` do with the bytes they are given: each reads them as one kind of text that others
//! write, has the operator deal with it, and holds what comes of it against a promise that is told beside the target.
//! It is compiled for fuzzing (`--cfg fuzzing`) and for tests, which replay the committed corpora, and for nothing else.

#![expect(clippy::missing_panics_doc, reason = "to panic is how a target tells what it has found")]

mod answers;
mod check;
mod errors;
mod headers;
mod hosts;
mod life;
mod specs;
mod statuses;
#[cfg(test)]
mod tests;
mod tokens;

pub use answers::{output_answer, run_answer};
pub use errors::error_answer;
pub use headers::headers;
pub use hosts::host;
pub use specs::spec;
pub use statuses::status;
pub use tokens::token_answer;

/// A target: its name, which is that of its corpus and its program in `fuzz/`, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("error_answer", error_answer),
    ("headers", headers),
    ("host", host),
    ("output_answer", output_answer),
    ("run_answer", run_answer),
    ("spec", spec),
    ("status", status),
    ("token_answer", token_answer),
];

/// Stands for whatever nobody may be told.
const SECRET: &str = "dapi-MARKED~secret+0123456789";

/// Whether a text holds a part of the secret that could be of use.
fn tells_the_secret(text: &str) -> bool {
    SECRET.as_bytes().windows(8).any(|piece| text.as_bytes().windows(8).any(|window| window == piece))
}
