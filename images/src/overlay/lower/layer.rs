//! What every kind of layer can do.

use std::io::{self, Read};
use std::path::Path;

use super::error::LowerError;
use super::node::{At, LowerNode};
use condatainer_formats::ext::FileType;

/// One name in a directory of a layer.
pub(super) struct Child {
    pub name: Vec<u8>,
    pub at: At,
    /// What the directory claims it to be, where it does.
    pub(super) kind: Option<FileType>,
}

/// A read-only tree. Every function but `root` reads, and fails where that cannot be done.
pub(super) trait Layer {
    /// The file or directory that it comes from, for messages.
    fn path(&self) -> &Path;

    fn root(&self) -> At;

    /// What is there; the number of the layer is set by the caller.
    fn node(&self, at: &At) -> Result<LowerNode, LowerError>;

    /// Calls `visit` with the names of a directory, in any order.
    fn list(&self, directory: &At, visit: &mut dyn FnMut(Child)) -> Result<(), LowerError>;

    /// Whether an attribute makes a directory opaque.
    fn is_opaque(&self, directory: &At) -> Result<bool, LowerError>;

    /// Whether an attribute says that a file or directory with the name of a mark is a user's.
    fn is_users(&self, at: &At) -> Result<bool, LowerError>;

    /// Hands the content of a file to `visit`, whose errors are those of reading it.
    fn read(&self, file: &At, visit: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>) -> Result<(), LowerError>;
}
