//! What stands below one name in the mount's root: the merged tree of the layers, or a tree that can be written to.
//!
//! All of a tree's nodes are in its own number space, so that the server knows from a number alone whose it is. A node is counted: every
//! answer that gives one to the kernel counts one, and `forget` takes them away. A tree keeps what it must know of a node while
//! the kernel has it, also when its last name is gone.

use nix::errno::Errno;

use crate::layer::{Attributes, Time};
use condatainer_formats::ext::{FileType, Ids};

/// What a request comes to.
pub type Answer<T> = Result<T, Errno>;

/// The number of the mount's root, which belongs to no tree.
pub const ROOT: u64 = 1;
/// Set in all numbers of a tree that can be written to, and in no others.
pub const WRITABLE: u64 = 1 << 62;
/// Set in the numbers of directories that several layers share. Bit 63 is never set: some programs take an inode number as signed.
pub const SHARED: u64 = 1 << 61;

/// A node, as it is shown to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub node: u64,
    /// What it says, with the ids that are shown.
    pub attributes: Attributes,
}

/// One name of a listing.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// Never `.` or `..`.
    pub name: &'a [u8],
    /// Its number, not counted.
    pub node: u64,
    /// What it is.
    pub kind: FileType,
    /// Where the listing goes on after it; never 0.
    pub next: u64,
}

/// How large a tree is, for statfs(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// In bytes, of one block.
    pub block: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that can still be written.
    pub free: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Inodes that can still be made.
    pub free_inodes: u64,
}

/// What is to be made.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    /// What it will be; a regular file is empty.
    pub kind: FileType,
    /// Permission bits as they were asked for.
    pub mode: u16,
    /// Bits that are not wanted in the mode, unless the directory has a default access control list, which then decides.
    pub umask: u16,
    /// Whose it will be. A set-group-ID directory gives its own group instead, and a new directory the bit too: that is the tree's work.
    pub ids: Ids,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Where a symbolic link leads.
    pub target: &'a [u8],
}

/// A time to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When the request is carried out.
    Now,
    /// This one.
    At(Time),
}

/// What is to be changed of an inode. The tree clears set-user-ID and set-group-ID where a change of owner or size asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Permission bits.
    pub mode: Option<u16>,
    /// Owner, as shown.
    pub uid: Option<u32>,
    /// Group, as shown.
    pub gid: Option<u32>,
    /// Length of a regular file.
    pub size: Option<u64>,
    /// When it was last read.
    pub accessed: Option<Moment>,
    /// When its content was last changed.
    pub modified: Option<Moment>,
    /// When anything of it was last changed.
    pub changed: Option<Time>,
    /// Another length leaves set-user-ID and set-group-ID as they are.
    pub keeps: bool,
}

/// What renameat2(2) can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Renaming {
    /// EEXIST where the new name exists.
    pub no_replace: bool,
    /// Both names change places.
    pub exchange: bool,
    /// A device 0/0 takes the old name.
    pub whiteout: bool,
}

/// Reading, for every tree, and writing, for one that can be written to. Any number of threads ask at the same time; nothing in a request can
/// do more than produce an error, and no call waits for anything but the file below.
///
/// `ENOENT` means a missing name, `ESTALE` a number that the tree does not know.
pub trait Tree: Send + Sync {
    /// What `name` in `directory` stands for; counted.
    ///
    /// # Errors
    /// No such name (`ENOENT`), or it cannot be read.
    fn lookup(&self, directory: u64, name: &[u8]) -> Answer<Entry>;

    /// As [`Tree::lookup`] for a name that a listing has just shown; counted. A tree may know it without a search.
    ///
    /// # Errors
    /// As [`Tree::lookup`].
    fn entry(&self, directory: u64, listed: &Listed<'_>) -> Answer<Entry> {
        self.lookup(directory, listed.name)
    }

    /// The kernel has `count` fewer.
    fn forget(&self, node: u64, count: u64);

    /// Of a file that the kernel has under several numbers: the one that all its names show. What it says is then asked for each time.
    fn shared(&self, _node: u64) -> Option<u64> {
        None
    }

    /// Whether others may change it: what is said of it and of the names in it is asked for again soon.
    fn may_change(&self, _node: u64) -> bool {
        false
    }

    /// Whether there is anything that others may change.
    fn any_may_change(&self) -> bool {
        false
    }

    /// A program has opened a file; where nothing may change this is not asked.
    ///
    /// # Errors
    /// It cannot be opened.
    fn open(&self, _file: u64) -> Answer<()> {
        Ok(())
    }

    /// It has closed it.
    fn close(&self, _file: u64) {}

    /// What a node says.
    ///
    /// # Errors
    /// It is not known, or cannot be read.
    fn attributes(&self, node: u64) -> Answer<Attributes>;

    /// Whether it is set-user-ID or set-group-ID. Each write asks for it.
    ///
    /// # Errors
    /// As [`Tree::attributes`].
    fn has_set_ids(&self, node: u64) -> Answer<bool> {
        Ok(self.attributes(node)?.mode & 0o6000 != 0)
    }

    /// Calls `visit` with each name of a directory from place `from` on (0 is the beginning), until that returns `false`.
    ///
    /// # Errors
    /// Not a directory, or it cannot be read.
    fn list(&self, directory: u64, from: u64, visit: &mut dyn FnMut(&Listed<'_>) -> bool) -> Answer<()>;

    /// Fills `buf` with content from `offset` on, as far as there is any.
    ///
    /// # Errors
    /// Not a regular file, or it cannot be read.
    fn read(&self, file: u64, offset: u64, buf: &mut [u8]) -> Answer<usize>;

    /// The next place from `offset` on with data, or with a hole.
    ///
    /// # Errors
    /// The file ends before it (`ENXIO`), or it cannot be read.
    fn seek(&self, file: u64, offset: u64, hole: bool) -> Answer<u64>;

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// Not a symbolic link, or it cannot be read.
    fn target(&self, link: u64) -> Answer<Vec<u8>>;

    /// Whether any node can have extended attributes. Where no tree has any, the kernel is told not to ask.
    fn may_have_xattrs(&self) -> bool {
        true
    }

    /// The value of an attribute.
    ///
    /// # Errors
    /// It has none of that name (`ENODATA`), or it cannot be read.
    fn xattr(&self, node: u64, name: &[u8]) -> Answer<Vec<u8>>;

    /// The names of all attributes, each ended by a NUL, as listxattr(2) gives them.
    ///
    /// # Errors
    /// They cannot be read.
    fn xattrs(&self, node: u64) -> Answer<Vec<u8>>;

    /// How large it is.
    fn room(&self) -> Room;

    /// Makes something new; counted.
    ///
    /// # Errors
    /// The name exists, there is no room, …
    fn make(&self, _directory: u64, _name: &[u8], _new: &New<'_>) -> Answer<Entry> {
        Err(Errno::EROFS)
    }

    /// Gives a file one name more; counted.
    ///
    /// # Errors
    /// The name exists, there is no room, …
    fn link(&self, _node: u64, _directory: u64, _name: &[u8]) -> Answer<Entry> {
        Err(Errno::EROFS)
    }

    /// Takes a name away: of anything but a directory, or of an empty directory where `directory_wanted`.
    ///
    /// # Errors
    /// No such name, not of that kind, not empty, …
    fn remove(&self, _directory: u64, _name: &[u8], _directory_wanted: bool) -> Answer<()> {
        Err(Errno::EROFS)
    }

    /// Gives what stands under one name another.
    ///
    /// # Errors
    /// As renameat2(2).
    fn rename(&self, _from: (u64, &[u8]), _to: (u64, &[u8]), _how: Renaming) -> Answer<()> {
        Err(Errno::EROFS)
    }

    /// Changes what an inode says, and returns what it says then.
    ///
    /// # Errors
    /// It cannot be written.
    fn change(&self, _node: u64, _changes: &Changes) -> Answer<Attributes> {
        Err(Errno::EROFS)
    }

    /// Writes `data` and returns how much there was room for; `strip` takes set-user-ID and set-group-ID away.
    ///
    /// # Errors
    /// No room for any of it, or it cannot be written.
    fn write(&self, _file: u64, _offset: u64, _data: &[u8], _strip: bool) -> Answer<usize> {
        Err(Errno::EROFS)
    }

    /// As fallocate(2), with its `mode`; `strip` as in [`Tree::write`].
    ///
    /// # Errors
    /// As fallocate(2).
    fn allocate(&self, _file: u64, _offset: u64, _length: u64, _mode: i32, _strip: bool) -> Answer<()> {
        Err(Errno::EROFS)
    }

    /// Sets an attribute, with the flags of setxattr(2).
    ///
    /// # Errors
    /// As setxattr(2).
    fn set_xattr(&self, _node: u64, _name: &[u8], _value: &[u8], _flags: i32) -> Answer<()> {
        Err(Errno::EROFS)
    }

    /// Takes an attribute away.
    ///
    /// # Errors
    /// As removexattr(2).
    fn remove_xattr(&self, _node: u64, _name: &[u8]) -> Answer<()> {
        Err(Errno::EROFS)
    }

    /// Makes what was written last. `ENOSYS` says that nothing here ever needs it: the kernel then answers by itself, also for the
    /// other trees.
    ///
    /// # Errors
    /// It cannot be written.
    fn sync(&self, _node: u64, _only_data: bool) -> Answer<()> {
        Err(Errno::ENOSYS)
    }
}
