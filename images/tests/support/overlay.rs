//! Overlays that the kernel mounts, and what goes into them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tempfile::TempDir;

use super::ok;

/// The kernel's own whiteout.
pub fn whiteout(at: &Path) {
    mknod(at, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)).unwrap();
}

/// A file below a root, with the directories that lead to it.
pub fn put(root: &Path, path: &str, content: &str) {
    fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
    fs::write(root.join(path), content).unwrap();
}

/// Memory with an `upper` and a `work`; what holds temporary files may itself be an overlay, on which no other can write.
pub struct Tmpfs {
    pub at: TempDir,
}

impl Tmpfs {
    pub fn new() -> Self {
        let at = tempfile::tempdir().unwrap();
        ok(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(at.path()).output().unwrap(), "mount tmpfs");
        ["upper", "work"].iter().for_each(|name| fs::create_dir(at.path().join(name)).unwrap());
        Self { at }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        unmount(self.at.path());
    }
}

/// A kernel overlay; unmounted when dropped.
pub struct Overlay {
    at: TempDir,
}

impl Overlay {
    /// `lower`, topmost first; `writable` holds `upper` and `work`.
    pub fn new(lower: &[&Path], writable: Option<&Path>) -> Self {
        let at = tempfile::tempdir().unwrap();
        let [merged, empty] = ["merged", "empty"].map(|name| at.path().join(name));
        [&merged, &empty].iter().for_each(|dir| fs::create_dir(dir).unwrap());
        // Without an upper the kernel wants two.
        let lower: Vec<&str> = lower.iter().copied().chain([&*empty]).map(|path| path.to_str().unwrap()).collect();
        let mut options = format!("redirect_dir=off,metacopy=off,index=off,lowerdir={}", lower.join(":"));
        if let Some(dir) = writable {
            options += &format!(",upperdir={0}/upper,workdir={0}/work", dir.display());
        }
        let mount = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&merged).output();
        ok(mount.unwrap(), "mount overlay");
        Self { at }
    }

    pub fn path(&self) -> PathBuf {
        self.at.path().join("merged")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        unmount(&self.path());
    }
}

/// Waits while somebody has it open, see [`super::Mounted`].
fn unmount(at: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !Command::new("umount").arg(at).output().is_ok_and(|output| output.status.success()) {
        if Instant::now() >= deadline {
            assert!(std::thread::panicking(), "umount failed");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
