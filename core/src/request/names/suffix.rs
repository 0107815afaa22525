//! The endings of file names: what tells a path from a name, and what the file of a name can be called.

use std::path::Path;

/// What a layer's file can be called, in the order in which a name looks for it.
pub(super) const SUFFIXES: [&str; 4] = ["sqf", "sqsh", "squashfs", "img"];
/// As [`SUFFIXES`], for a base.
pub(super) const BASE_SUFFIXES: [&str; 4] = ["sif", "sqf", "sqsh", "squashfs"];
/// Endings that make a word a path.
pub(super) const PATH_SUFFIXES: [&str; 6] = ["img", "ext3", "sqf", "sqsh", "squashfs", "sif"];

/// Whether this text means a path. All else is a name, or, where no such name exists but a file does, that file.
#[must_use]
pub fn is_path(text: &Path) -> bool {
    let written = text.to_string_lossy();
    let starts = ["/", "./", "../", "~/"].iter().any(|start| written.starts_with(start));
    let ending = || text.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    starts || matches!(&*written, "." | ".." | "~") || ending().is_some_and(|e| PATH_SUFFIXES.contains(&e.as_str()))
}
