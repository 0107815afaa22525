//! What every file system says about a file, each in bytes of its own: what it is, whose it is, and its extended attributes.

/// What kind of file an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileType {
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A directory.
    Directory,
    /// A block device.
    BlockDevice,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
    /// A socket.
    Socket,
    /// A mode that means nothing.
    Unknown,
}

impl FileType {
    /// From the mode word of an inode.
    #[must_use]
    pub fn from_mode(mode: u16) -> Self {
        match mode >> 12 {
            0x1 => Self::Fifo,
            0x2 => Self::CharDevice,
            0x4 => Self::Directory,
            0x6 => Self::BlockDevice,
            0x8 => Self::Regular,
            0xA => Self::Symlink,
            0xC => Self::Socket,
            _ => Self::Unknown,
        }
    }

    /// As a listing of a directory tells it (`d_type` of getdents64(2), in the place where a mode has it); not every file system does.
    #[must_use]
    pub fn listed(mode: u32) -> Option<Self> {
        match Self::from_mode((mode & 0xFFFF) as u16) {
            Self::Unknown => None,
            kind => Some(kind),
        }
    }

    /// The bits of a mode word that say so.
    #[must_use]
    pub fn mode(self) -> u16 {
        match self {
            Self::Fifo => 0x1000,
            Self::CharDevice => 0x2000,
            Self::Directory => 0x4000,
            Self::BlockDevice => 0x6000,
            Self::Regular => 0x8000,
            Self::Symlink => 0xA000,
            Self::Socket => 0xC000,
            Self::Unknown => 0,
        }
    }

    /// With an article, for messages: "a directory".
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Fifo => "a fifo",
            Self::CharDevice => "a character device",
            Self::Directory => "a directory",
            Self::BlockDevice => "a block device",
            Self::Regular => "a regular file",
            Self::Symlink => "a symbolic link",
            Self::Socket => "a socket",
            Self::Unknown => "of an unknown type",
        }
    }
}

/// A user and a group id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Ids {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Ids {
    /// 0:0.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

impl std::fmt::Display for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// A full name, `user.` and so on included, and the value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// As getfattr shows it.
    pub name: Vec<u8>,
    /// As stored; access control lists in the form in which the file system stores them.
    pub value: Vec<u8>,
}

impl Xattr {
    /// Whether this is an access control list, for which squashfs has no place.
    #[must_use]
    pub fn is_acl(&self) -> bool {
        self.name.starts_with(b"system.posix_acl_")
    }
}

/// Major and minor number of a device, in the form in which the kernel keeps them in 32 bits.
pub(crate) fn device(number: u32) -> (u32, u32) {
    ((number >> 8) & 0xFFF, (number & 0xFF) | (number >> 12) & 0xF_FF00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_the_mode() {
        assert_eq!(FileType::from_mode(0o040_755), FileType::Directory);
        assert_eq!(FileType::from_mode(0o120_777), FileType::Symlink);
        assert_eq!(FileType::from_mode(0), FileType::Unknown);
        assert_eq!(FileType::listed(0o140_000), Some(FileType::Socket));
        assert_eq!([FileType::listed(0), FileType::listed(0o170_000)], [None, None]);
        for kind in (0..16).map(|kind| FileType::from_mode(kind << 12)) {
            assert_eq!(FileType::from_mode(kind.mode() | 0o755), kind);
        }
    }
}
