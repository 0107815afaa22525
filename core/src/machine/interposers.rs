//! Our links in front of the engine's FUSE programs, as `make install` makes them beside the directory of our program: what they are
//! called, and what they lead to (`programs/interposer/`).

use std::path::{Path, PathBuf};

use crate::machine::libexec;

/// The FUSE programs by their names as the kernel keeps them (15 bytes), topmost mount first: a lower one cannot end before what
/// stands on it.
pub(crate) const FUSE_PROGRAMS: [&str; 4] = ["fuse-overlayfs", "fuse2fs", "squashfuse_ll", "squashfuse"];
/// What the interposer is called, beside the links.
pub(crate) const INTERPOSER_FILE: &str = "interposer";
/// What the preload is called, beside the links, by the interposer's own word.
pub(crate) const PRELOAD_FILE: &str = "fuse-overlayfs.so";

/// The directory with the links.
pub(crate) fn directory() -> Option<PathBuf> {
    let dir = libexec::directory()?;
    dir.join("fuse2fs").exists().then_some(dir)
}

/// The file that the links in this directory must lead to.
pub(crate) fn behind_the_links(dir: &Path) -> Option<PathBuf> {
    dir.join(INTERPOSER_FILE).canonicalize().ok()
}
