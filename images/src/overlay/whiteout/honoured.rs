//! Whether the kernel's overlay shows a stack as fuse-overlayfs does.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::remembered::find;
use super::scan::{Found, Kinds, scan_with};
use crate::overlay::lower::Lower;
use condatainer_formats::ext::{ExtError, Tree, Window, Xattr};
use condatainer_formats::overlayfs::{is_opaque, is_opaque_for_root};

/// Whose kernel overlay it is that reads an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounter {
    /// The user's, in a user namespace, on top of fuse2fs: Apptainer's.
    User,
    /// Root's, on top of the kernel's own ext driver: that of a setuid SingularityCE.
    Root,
}

/// Whether the kernel's overlay shows the image in `window` of `file`, on top of the layers `below`, as fuse-overlayfs does. `None`
/// when `limit` was not long enough for the search.
///
/// # Errors
/// A tree that cannot be read, or has no `upper`.
pub fn honoured_by(
    mounter: Mounter,
    file: &File,
    window: Window,
    below: &[PathBuf],
    limit: Option<Duration>,
) -> Result<Option<bool>, ExtError> {
    let Some(found) = find(file, window, limit)? else { return Ok(None) };
    match mounter {
        Mounter::User => Ok(Some(honoured(&found, below))),
        // Files that only look like whiteouts are files to it.
        Mounter::Root if found.kinds.fuse > 0 => Ok(Some(false)),
        Mounter::Root if found.kinds.opaque == 0 => Ok(Some(true)),
        Mounter::Root => {
            let deadline = limit.map(|limit| Instant::now() + limit);
            let found = scan_with(&Tree::open(file, window)?, deadline, opaque_but_not_for_root)?;
            Ok(found.map(|found| found.opaque.is_some_and(|opaque| opaque.is_empty() || have_none_of(below, &opaque))))
        }
    }
}

/// Root's overlay honours the attribute that it has written itself, and its whiteouts everywhere.
fn opaque_but_not_for_root(xattrs: &[Xattr]) -> bool {
    xattrs.iter().any(is_opaque) && !xattrs.iter().any(is_opaque_for_root)
}

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
            let Kinds { fuse, ordinary, kernel, .. } = found.kinds;
            fuse + ordinary + kernel == 0 && (opaque.is_empty() || have_none_of(below, opaque))
        }
        None => false,
    }
}

/// As [`honoured`], whatever lies below.
#[must_use]
pub fn honoured_on_anything(found: &Found) -> bool {
    honoured(found, &[]) && found.kinds.opaque == 0
}

fn have_none_of(below: &[PathBuf], paths: &[Vec<u8>]) -> bool {
    Lower::open(below).is_ok_and(|lower| paths.iter().all(|path| matches!(lower.get(path), Ok(None))))
}
