//! The two directories at the top of an overlay image.

use serde::Serialize;

/// Owner and mode of `upper` or `work`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Top {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Four octal digits.
    pub mode: String,
}

impl Top {
    /// From the mode with or without the bits of the type.
    pub(super) fn new(uid: u32, gid: u32, mode: u32) -> Self {
        Self { uid, gid, mode: format!("{:04o}", mode & 0o7777) }
    }
}
