//! Whiteouts: how an upper directory says that something below it is deleted.
//!
//! Two programs write them in two languages. The kernel's OverlayFS takes a character device 0/0 for "this name is deleted" and
//! an extended attribute for "nothing below this directory shows" (opaque). fuse-overlayfs, which Apptainer runs without
//! privileges, writes an empty file `.wh.NAME` for the first and `.wh..wh..opq` for the second; it understands the kernel's too.
//! The kernel does not understand the files, and in a user namespace not even its own attribute: there only devices 0/0 count.

mod honoured;
mod mark;
mod paths;
mod scan;
mod translate;

pub use honoured::{Mounter, honoured, honoured_by, honoured_on_anything};
pub(crate) use mark::MARK;
pub use mark::{find, remember, remembered};
pub use scan::{Found, Kinds, scan};
pub use translate::{TranslateError, Translated, require_translatable, translate};
