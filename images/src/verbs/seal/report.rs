//! What a sealing has made, as it is printed and as `--json` has it.

use std::path::PathBuf;

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The image.
    #[serde(serialize_with = "crate::system::json_paths::path")]
    pub image: PathBuf,
    /// The layer.
    #[serde(serialize_with = "crate::system::json_paths::path")]
    pub layer: PathBuf,
    /// The file of variables beside it, where there is something to say.
    #[serde(serialize_with = "crate::system::json_paths::maybe")]
    pub environment: Option<PathBuf>,
    /// Size of the layer, in bytes.
    pub size_bytes: u64,
    /// Content that was read from the image, in bytes.
    pub content_bytes: u64,
    /// Inodes in the layer.
    pub inodes: u64,
    /// Regular files in the layer; more names of one count once.
    pub files: u64,
    /// Directories in the layer, its root included.
    pub directories: u64,
    /// Single names that the layer hides because the image does.
    pub whiteouts: u64,
    /// Directories that hid everything below.
    pub opaque_translated: u64,
    /// Single names that the layer hides in their stead.
    pub opaque_whiteouts: u64,
    /// Inodes whose access control list is lost, since squashfs has no place for it.
    pub acls_dropped: u64,
    /// Other extended attributes that are lost.
    pub xattrs_dropped: u64,
    /// Sockets that were left out.
    pub sockets_skipped: u64,
    /// Whether the root directory of the layer has the owner that it has in the image; mksquashfs before 4.6 may not manage.
    pub root_owner_kept: bool,
    /// Whether e2fsck cleaned the image first.
    pub repaired: bool,
    /// Whether the image is not marked as clean and was read as it is, because others read it too or it cannot be written.
    pub unclean: bool,
    /// Whether the image could not be locked, because the file system that holds it has no locks.
    pub unlocked: bool,
}
