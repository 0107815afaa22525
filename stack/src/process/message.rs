//! What the processes of a mounted stack tell one another.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::merge::Mounted;
use crate::namespace::user::Users;

/// What a server serves besides the images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Whose the files are shown as.
    pub users: Users,
    /// What has to be there for the engine to mount on, where it cannot make that itself.
    pub points: Vec<Point>,
    /// Where what is written is kept in memory, how many bytes at most.
    pub memory: Option<u64>,
}

/// A mount point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// In the container.
    pub path: PathBuf,
    /// What is mounted there.
    pub mounted: Mounted,
}

/// One image or directory, whose descriptor comes along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What messages call it.
    pub path: PathBuf,
    /// How it is read.
    pub format: Format,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size: u64,
}

/// How an image is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A squashfs.
    Squashfs,
    /// The directory `upper` of an ext2, ext3 or ext4.
    Ext,
    /// The whole of an ext2, ext3 or ext4.
    ExtRoot,
    /// The directory `upper` of an ext3 that is written: it is laid over the others.
    Workspace,
    /// A directory of the host.
    Directory,
}

/// What becomes the engine has to do before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Who exists in the user namespace.
    pub users: Users,
    /// Where to mount.
    pub place: PathBuf,
    /// Whether something can be written. Where nothing can, the mount itself refuses it.
    pub is_written: bool,
    /// Whether the kernel's OverlayFS lies on it.
    pub is_overlaid: bool,
    /// Whether the server has laid what is written over the rest, so that its tree is all there is.
    pub is_laid: bool,
}

/// To the server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToServer {
    /// The next image, from the lowest on, with its descriptor.
    Image(Image),
    /// That was the last one. Where something is written to a disk, the directory for that comes along.
    Serve(Stack),
    /// The descriptor of the mount comes along, and that of its user namespace if that is a new one.
    Mount,
    /// Nobody needs the mount any more: make what was written last, and end.
    End,
}

/// From the server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromServer {
    /// The kernel has been answered.
    Ready,
    /// A line for the user.
    Says(String),
    /// It ends.
    Failed(String),
}

/// To what becomes the engine.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToEntry {
    /// Begin; the standard input of the engine comes along.
    Enter(Entry),
    /// Your ids are mapped.
    Mapped,
    /// The mount is served.
    Ready,
}

/// From what becomes the engine. When it has become it, the socket is closed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromEntry {
    /// Map my ids.
    InNamespace,
    /// The descriptor of the mount comes along, and that of its user namespace if that is a new one.
    Mounted,
    /// It ends.
    Failed(String),
    /// It ends: there is nothing to be said against the mounts, but the engine cannot be executed.
    NoEngine(String),
}
