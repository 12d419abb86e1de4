//! The folder of one control plane (data, certificates, logs) or of another process on a leash. It is removed when nobody uses
//! it any more, even when this process is killed.
//!
//! As in `leash`, a shell waits for the end of a pipe. This pipe is also held by the shell of every process that works in the
//! folder, so the removal cannot run into files still being written.

use std::{
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use super::error::Error;

/// Waits for the end of its input, then removes the folder. The other signals of a terminal are not for it.
const SHELL: &str = r#"cat >/dev/null; rm -rf "$1""#;

/// A folder that only its owner may read: it holds the keys of the control plane.
pub(crate) struct Folder {
    path: PathBuf,
    shell: Child,
    /// `None` once it is let go.
    use_of_it: Option<ChildStdin>,
}

impl Folder {
    /// Creates one among the temporary files. The name is short because paths of Unix sockets must be (104 bytes on macOS).
    pub(crate) fn create() -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("control-plane-")
            .tempdir()
            .map_err(Error::system("create a folder in", std::env::temp_dir()))?;
        let mut shell = Command::new("sh")
            .args(["-c", SHELL, "remove-folder"])
            .arg(folder.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::system("start", "sh"))?;
        let use_of_it = shell.stdin.take();
        // From here on the shell removes it.
        Ok(Self { path: folder.keep(), shell, use_of_it })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// To be held by a process as long as it uses the folder.
    pub(crate) fn in_use(&self) -> io::Result<Stdio> {
        let use_of_it = self.use_of_it.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(use_of_it.as_fd().try_clone_to_owned()?.into())
    }
}

/// Waits until the folder is gone.
impl Drop for Folder {
    fn drop(&mut self) {
        self.use_of_it = None;
        // It can only fail for a process that was waited for already.
        let _ = self.shell.wait();
    }
}
