//! Whether the kernel's overlay shows a stack as fuse-overlayfs does.

use std::path::PathBuf;

use super::Found;

/// Whether the kernel's overlay honours all that is deleted in an image with these whiteouts, on top of the layers `below` (lowest
/// first, the base among them).
///
/// The kernel does not know opaque directories here, so none may have a counterpart below. What cannot be read counts as one. Its own
/// whiteouts it hides from whoever asks for the name, but lists them where the file system does not tell types along with names,
/// as fuse2fs before 1.47.4 does not: so there may be none of these either.
#[must_use]
pub fn honoured(found: &Found, below: &[PathBuf]) -> bool {
    match &found.opaque {
        Some(opaque) => {
            found.kinds.fuse + found.kinds.kernel == 0 && (opaque.is_empty() || have_none_of(below, opaque))
        }
        None => false,
    }
}

/// As [`honoured`], whatever lies below.
#[must_use]
pub fn honoured_on_anything(found: &Found) -> bool {
    honoured(found, &[]) && found.kinds.opaque == 0
}

#[cfg(feature = "lower")]
fn have_none_of(below: &[PathBuf], paths: &[Vec<u8>]) -> bool {
    use crate::lower::Lower;
    Lower::open(below).is_ok_and(|lower| paths.iter().all(|path| matches!(lower.get(path), Ok(None))))
}

#[cfg(not(feature = "lower"))]
fn have_none_of(_: &[PathBuf], _: &[Vec<u8>]) -> bool {
    false
}
