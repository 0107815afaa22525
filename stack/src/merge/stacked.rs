//! A layer with the name that messages give it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;

use crate::layer::Layer;

/// A layer of a stack.
#[derive(Clone)]
pub struct Stacked {
    /// The file that it comes from, for messages.
    pub path: PathBuf,
    /// How large that is, in bytes: what statfs(2) shows.
    pub bytes: u64,
    /// What can be read.
    pub layer: Arc<dyn Layer>,
}

impl Stacked {
    /// The error with the layer's name. What is the caller's own fault stays as it is, so that an error with a text is always trouble.
    pub(super) fn named(&self, error: io::Error) -> io::Error {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EACCES | Errno::EPERM | Errno::ENOENT | Errno::ESTALE | Errno::ELOOP | Errno::EAGAIN)
                if self.layer.is_of_host() =>
            {
                error
            }
            Some(Errno::ENOTDIR | Errno::EINVAL | Errno::EISDIR | Errno::ENXIO | Errno::ENODATA) => error,
            Some(code) => self.of_kind(error.kind(), &format!("cannot be read: {}", code.desc())),
            None => self.of_kind(error.kind(), &error.to_string()),
        }
    }

    /// An error of what the layer holds.
    pub(super) fn refuse(&self, what: &str) -> io::Error {
        self.of_kind(io::ErrorKind::Other, what)
    }

    fn of_kind(&self, kind: io::ErrorKind, what: &str) -> io::Error {
        io::Error::new(kind, format!("{}: {what}", self.path.display()))
    }
}
