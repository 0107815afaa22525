//! From a directory to a layer: everything readable for all and owned by root, packed by mksquashfs.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::error::CondaError;
use crate::build::process::{End, Running};
use crate::build::progress::{News, Watch};
use condatainer_images::tools::ToolError;
use condatainer_images::tools::disk_full;
use condatainer_images::tools::mksquashfs::{self, Compression, NAME, PACKAGE};
use condatainer_images::tools::open_file::path_of;
use condatainer_images::tools::programs;

/// How to pack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packing<'a> {
    /// Its content is the layer's.
    pub(super) root: &'a Path,
    /// What the layer is written to.
    pub(super) out: &'a File,
    pub(super) compression: Compression,
    /// The layer, as messages name it.
    pub(super) path: &'a Path,
}

impl Packing<'_> {
    /// Packs; what mksquashfs says is told as lines only when it fails.
    pub(super) fn run(&self, watch: Watch<'_>) -> Result<(), CondaError> {
        let program =
            programs::find(NAME).ok_or_else(|| self.tool(ToolError::Missing { tool: NAME, package: PACKAGE }))?;
        let mut command = Command::new(&program);
        command.arg(self.root).arg(path_of(self.out));
        command.args(["-noappend", "-all-root", "-no-xattrs", "-no-progress", "-quiet"]);
        // Otherwise what it cannot read is an empty file in the layer, and all is well.
        command.arg("-exit-on-error").args(self.compression.options(None)).env("LC_ALL", "C");
        let mut said = Vec::new();
        let running = Running::start(&command).map_err(|error| self.tool(ToolError::Start { tool: NAME, error }))?;
        let mut quiet = |news: News<'_>| match news {
            News::Line(_) => watch(News::Nothing),
            other => watch(other),
        };
        match running.wait(&mut |line| said.push(line.into()), &mut quiet).map_err(|e| CondaError::io(self.path, e))? {
            End::Stopped => Err(CondaError::Interrupted { path: self.path.into() }),
            End::Exited(status) if status.success() => Ok(()),
            End::Exited(status) => Err(self.failed(&said, &status.to_string())),
        }
    }

    fn failed(&self, said: &[String], status: &str) -> CondaError {
        if said.iter().any(|line| disk_full::is_said(line)) {
            return CondaError::io(self.path, io::ErrorKind::StorageFull.into());
        }
        let why = mksquashfs::reason(said.iter().map(String::as_str)).unwrap_or(status);
        self.tool(mksquashfs::failed(why))
    }

    fn tool(&self, error: ToolError) -> CondaError {
        CondaError::Pack { path: self.path.into(), error }
    }
}

/// In the layer everything belongs to root, so what is closed to others would be closed to all users.
pub(super) fn open_to_all(dir: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(dir)?;
    set(dir, meta.permissions().mode(), 0o755)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open_to_all(&entry.path())?;
        } else if kind.is_file() {
            let mode = entry.metadata()?.permissions().mode();
            set(&entry.path(), mode, if mode & 0o100 == 0 { 0o444 } else { 0o555 })?;
        }
    }
    Ok(())
}

/// Nothing is written where nothing is missing.
fn set(path: &Path, mode: u32, wanted: u32) -> io::Result<()> {
    if mode & wanted == wanted {
        Ok(())
    } else {
        fs::set_permissions(path, Permissions::from_mode(mode & 0o7777 | wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn nothing_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let (sub, script, text) = (dir.path().join("a"), dir.path().join("a/run"), dir.path().join("a/text"));
        fs::create_dir(&sub).unwrap();
        fs::write(&script, "").unwrap();
        fs::write(&text, "").unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("link")).unwrap();
        for (path, mode) in [(&script, 0o700), (&text, 0o600), (&sub, 0o700)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        open_to_all(dir.path()).unwrap();
        assert_eq!((mode(&sub), mode(&script), mode(&text), mode(dir.path())), (0o755, 0o755, 0o644, 0o755));
    }

    #[test]
    fn a_layer_is_made_and_can_be_broken_off() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/cnt/x")).unwrap();
        fs::write(dir.path().join("root/cnt/x/f"), "text").unwrap();
        let (root, path) = (dir.path().join("root"), dir.path().join("x.sqf"));
        let out = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let packing = Packing { root: &root, out: &out, compression: Compression::Zstd, path: &path };
        packing.run(&mut |_| ControlFlow::Continue(())).unwrap();
        assert!(matches!(
            condatainer_images::image::identify(&path).unwrap().kind,
            condatainer_images::image::Kind::Squashfs
        ));
        let stopped = packing.run(&mut |_| ControlFlow::Break(())).unwrap_err();
        assert!(matches!(stopped, CondaError::Interrupted { .. }));
    }
    #[test]
    fn what_cannot_be_read_is_not_left_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sqf");
        let out = File::create_new(&path).unwrap();
        // Root may open everything, but here nobody can read as much as there should be.
        let root = Path::new("/proc/sys/vm");
        let packing = Packing { root, out: &out, compression: Compression::Zstd, path: &path };
        let error = packing.run(&mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
        assert!(error.contains("x.sqf: mksquashfs failed: Failed to read file /proc/sys/vm/"), "{error}");
    }
}
