//! What GitOps tools make of our objects: Argo CD by the Lua scripts of `config/argocd`, run in the machine it runs them in; Flux
//! and Helm by the rules of kstatus; older versions of Flux by the CEL expressions of `config/flux`.
//!
//! [`stages`] says for each stage of a run what each of them must make of it. The objects it is held to, `testdata/` in
//! `config/argocd`, are made by the operator: `e2e/tests/operator/gitops` leads real objects into each stage and compares.

pub mod argocd;
pub mod flux;
pub mod foreign;
pub mod kstatus;
pub mod normal;
mod program;
pub mod stages;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

/// A file or folder of the repository.
#[must_use]
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Compares a file with what it must hold, or writes it when `UPDATE` is set.
///
/// # Panics
/// When it holds something else, with the command that writes it.
#[expect(clippy::panic, clippy::expect_used, reason = "a file that is not as it must be fails the test")]
pub fn hold(path: &Path, text: &str, command: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
        std::fs::write(path, text).expect("the file can be written");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    if found != text {
        let same = found.lines().zip(text.lines()).take_while(|(a, b)| a == b).count();
        let line = |text: &str| text.lines().nth(same).unwrap_or("(its end)").to_owned();
        panic!(
            "{} differs from line {}:\n  there: {}\n  now:   {}\nif that is right, run: UPDATE=1 {command}",
            path.display(),
            same + 1,
            line(&found),
            line(text)
        );
    }
}
