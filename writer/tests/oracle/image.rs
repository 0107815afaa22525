//! Images, and what the kernel and e2fsck make of them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

#[path = "../support/place.rs"]
mod place;

/// An empty ext3 in a file.
pub struct Image {
    dir: TempDir,
}

impl Image {
    /// 24 MiB, made by mke2fs with these options.
    pub fn make(options: &[&str]) -> Self {
        Self::of_size(24, options)
    }

    /// Of so many MiB.
    pub fn of_size(mebibytes: u64, options: &[&str]) -> Self {
        let image = Self { dir: place::directory() };
        File::create(image.path()).unwrap().set_len(mebibytes << 20).unwrap();
        run(Command::new("mke2fs")
            .args(["-q", "-F", "-t", "ext3", "-m", "0", "-J", "size=4"])
            .args(options)
            .arg(image.path()));
        image
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// What e2fsck has to say, if it says anything.
    pub fn check(&self) -> Result<(), String> {
        let output = Command::new("e2fsck").arg("-fn").arg(self.path()).output().unwrap();
        match output.status.code() {
            Some(0) => Ok(()),
            _ => Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))),
        }
    }
}

/// An image that the kernel has mounted.
pub struct Mounted {
    dir: TempDir,
}

impl Mounted {
    pub fn new(image: &Image) -> Self {
        let mounted = Self { dir: tempfile::tempdir().unwrap() };
        run(Command::new("mount").args(["-t", "ext3", "-o", "loop"]).arg(image.path()).arg(mounted.dir.path()));
        mounted
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.dir.path()).status();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
