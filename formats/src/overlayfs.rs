//! The marks with which an upper directory says that something below it is deleted, and what else an overlay notes in it.
//!
//! Two programs write them in two languages. The kernel's OverlayFS takes a character device 0/0 for "this name is deleted" and
//! an extended attribute for "nothing below this directory shows" (opaque). fuse-overlayfs, which Apptainer runs without
//! privileges, writes an empty file `.wh.NAME` for the first and `.wh..wh..opq` for the second; it understands the kernel's too.
//! The kernel does not understand the files, and in a user namespace not even its own attribute: there only devices 0/0 count.

use crate::ext::{Node, Stat};
use crate::file::{FileType, Xattr};

const PREFIX: &[u8] = b".wh.";
const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
const OPAQUE_XATTRS: [&[u8]; 3] = [b"trusted.overlay.opaque", b"user.overlay.opaque", b"user.fuseoverlayfs.opaque"];
/// The attribute that our writer gives a user's own file or directory `.wh.NAME`: it hides nothing, whatever fuse-overlayfs takes it for.
pub const OWN_FILE: &[u8] = b"user.condatainer.own";
const REDIRECT_XATTRS: [&[u8]; 2] = [b"trusted.overlay.redirect", b"user.overlay.redirect"];
const METACOPY_XATTRS: [&[u8]; 2] = [b"trusted.overlay.metacopy", b"user.overlay.metacopy"];
const PRIVATE_PREFIXES: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"user.fuseoverlayfs."];

/// What a name means to fuse-overlayfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// An ordinary name, unless [`is_whiteout`] says otherwise of what it stands for.
    Itself,
    /// The name that it hides, in its own directory.
    Hides(&'a [u8]),
    /// Its directory hides everything below.
    Opaque,
}

/// Reads a name the way fuse-overlayfs does, whatever kind of file it belongs to. What [`is_users`] says is a user's marks nothing.
#[must_use]
pub fn meaning(name: &[u8]) -> Meaning<'_> {
    match name.strip_prefix(PREFIX) {
        Some(_) if name == OPAQUE_NAME => Meaning::Opaque,
        // Nobody can be hidden by these: they are no names.
        Some(b"" | b"." | b"..") => Meaning::Itself,
        Some(hidden) => Meaning::Hides(hidden),
        None => Meaning::Itself,
    }
}

/// Whether something is the kernel's whiteout: a character device 0/0, of which `device` is the major and the minor number.
#[must_use]
pub fn is_whiteout(kind: FileType, device: (u32, u32)) -> bool {
    kind == FileType::CharDevice && device == (0, 0)
}

/// Whether a file or directory with such a name is a user's, by one of its attributes. Nobody else than our writer lets a user make one,
/// apart from the kernel, of which nothing tells.
#[must_use]
pub fn is_users(xattr: &Xattr) -> bool {
    xattr.name == OWN_FILE
}

/// Whether it can be a user's: only these have attributes of users. `None` is what nothing is known of.
#[must_use]
pub fn may_be_users(kind: Option<FileType>) -> bool {
    matches!(kind, None | Some(FileType::Regular | FileType::Directory))
}

/// Whether a file with such a name can have been made by fuse-overlayfs, unless [it is a user's](is_users): an empty one with mode 0700,
/// whatever the umask, or a device 0/0.
///
/// Others are somebody's: the files `.wh.NAME` of an OCI layer, unpacked where the image was mounted by the kernel. fuse-overlayfs
/// takes them for whiteouts, too, but lets nobody make them.
#[must_use]
pub fn is_of_fuse(file: &impl Says) -> bool {
    let (kind, device) = file.what();
    let empty = kind == FileType::Regular && file.size() == 0 && file.mode() == 0o700;
    file.links() == 1 && (empty || is_whiteout(kind, device))
}

/// What an inode says of itself, as far as it decides about marks.
pub trait Says {
    /// What it is, and which device.
    fn what(&self) -> (FileType, (u32, u32));
    /// Permission bits (the low twelve).
    fn mode(&self) -> u16;
    /// In bytes.
    fn size(&self) -> u64;
    /// Number of names.
    fn links(&self) -> u16;
}

macro_rules! says {
    ($inode:ty) => {
        impl Says for $inode {
            fn what(&self) -> (FileType, (u32, u32)) {
                (self.kind, self.device)
            }
            fn mode(&self) -> u16 {
                self.mode
            }
            fn size(&self) -> u64 {
                self.size
            }
            fn links(&self) -> u16 {
                self.links
            }
        }
    };
}

says!(Node);
says!(Stat);

/// Whether a directory's attribute makes it opaque.
#[must_use]
pub fn is_opaque(xattr: &Xattr) -> bool {
    OPAQUE_XATTRS.contains(&xattr.name.as_slice()) && matches!(xattr.value.as_slice(), b"y" | b"y\0")
}

/// Whether an attribute makes its directory opaque also for a fuse-overlayfs without privileges, which sees no `trusted` ones.
#[must_use]
pub fn is_opaque_for_everybody(xattr: &Xattr) -> bool {
    is_opaque(xattr) && xattr.name.starts_with(b"user.")
}

/// Whether an attribute makes its directory opaque for an overlay that root has mounted.
#[must_use]
pub fn is_opaque_for_root(xattr: &Xattr) -> bool {
    is_opaque(xattr) && xattr.name.starts_with(b"trusted.")
}

/// Whether a directory's attribute says that it goes on with another directory below, from which a kernel overlay renamed it.
#[must_use]
pub fn is_redirect(xattr: &Xattr) -> bool {
    REDIRECT_XATTRS.contains(&xattr.name.as_slice())
}

/// Whether a file's attribute says that only its metadata was copied up by a kernel overlay: its content is the one below.
#[must_use]
pub fn is_metacopy(xattr: &Xattr) -> bool {
    METACOPY_XATTRS.contains(&xattr.name.as_slice())
}

/// Whether an attribute says that something is not complete without what lies below it, in this overlay or in one that lies in it: the
/// kernel writes the attributes of an inner overlay with a prefix more.
#[must_use]
pub fn points_below(xattr: &Xattr) -> bool {
    xattr.name.ends_with(b".overlay.redirect") || xattr.name.ends_with(b".overlay.metacopy")
}

/// Whether an attribute is an overlay's own bookkeeping, which no program inside gets to see.
#[must_use]
pub fn is_private(xattr: &Xattr) -> bool {
    PRIVATE_PREFIXES.iter().any(|prefix| xattr.name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fuse_overlayfs() {
        assert_eq!(meaning(b".wh.passwd"), Meaning::Hides(b"passwd"));
        assert_eq!(meaning(b".wh..wh..opq"), Meaning::Opaque);
        assert_eq!(meaning(b".wh..wh.x"), Meaning::Hides(b".wh.x"));
        for name in [&b".wh."[..], b".wh..", b".wh..."] {
            assert_eq!(meaning(name), Meaning::Itself);
        }
        assert_eq!(meaning(b"passwd"), Meaning::Itself);
    }

    #[test]
    fn attributes() {
        assert!(is_users(&Xattr { name: OWN_FILE.into(), value: b"y".into() }));
        assert!(
            may_be_users(None) && may_be_users(Some(FileType::Directory)) && !may_be_users(Some(FileType::CharDevice))
        );
        let xattr = |name: &str, value: &str| Xattr { name: name.into(), value: value.into() };
        assert!(is_opaque(&xattr("user.fuseoverlayfs.opaque", "y")));
        assert!(!is_opaque(&xattr("trusted.overlay.opaque", "n")));
        assert!(is_private(&xattr("trusted.overlay.origin", "")));
        assert!(!is_private(&xattr("user.comment", "y")));
        assert!(
            points_below(&xattr("trusted.overlay.overlay.redirect", "/a"))
                && points_below(&xattr("user.overlay.metacopy", ""))
        );
        assert!(!is_redirect(&xattr("trusted.overlay.overlay.redirect", "/a")));
    }
}
