//! A copy of the source to break things in.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;

/// Copies what Git knows of `root`, as it is now, into `folder`. Files that are the same already are left alone, or cargo
/// would compile everything anew.
pub(super) fn copy(root: &Path, folder: &Path) -> Result<(), Error> {
    let failed = |what: &Path, error: &dyn std::fmt::Display| Error::Copy(format!("{}: {error}", what.display()));
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| failed(Path::new("git"), &error))?;
    let names = String::from_utf8_lossy(&listed.stdout);
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), folder.join(name));
        let Ok(new) = std::fs::read(&from) else { continue };
        if std::fs::read(&to).is_ok_and(|old| old == new) {
            continue;
        }
        let parent = to.parent().map_or_else(|| folder.to_owned(), PathBuf::from);
        std::fs::create_dir_all(&parent).map_err(|error| failed(&parent, &error))?;
        std::fs::write(&to, new).map_err(|error| failed(&to, &error))?;
    }
    Ok(())
}
