//! Whiteouts: what an upper directory says that is deleted below it.
//!
//! The marks themselves are described in [`condatainer_formats::overlayfs`]: those of fuse-overlayfs are files `.wh.NAME`, those of the
//! kernel's OverlayFS are devices 0/0, and each has its own for an opaque directory.
//!
//! `scan` searches a whole image for them and `remembered` keeps what was found, so that a start need not search. `honoured` tells whether
//! the kernel's overlay may read such an image instead of fuse-overlayfs. `translate` turns the files into devices.

mod honoured;
mod paths;
mod remembered;
mod scan;
mod translate;

pub use honoured::{Mounter, honoured, honoured_by, honoured_on_anything};
pub use remembered::{find, remember, remembered};
pub use scan::{Found, Kinds, scan};
pub(crate) use translate::require_translatable;
pub use translate::{TranslateError, Translated, translate};
