//! The ext engine: our own safe reader (and, for owners and whiteouts, writer) of ext2, ext3 and ext4 images.
//!
//! It works on the bytes of the image, so a probe costs microseconds instead of a process, and nothing in a hostile image
//! can do more than produce an error. Making, checking and resizing file systems stays with e2fsprogs.
//!
//! The way through, from the bytes upwards: `superblock`, `group` and `inode` are the kernel's structures under its names. [`raw::Fs`] is
//! one open file system, read within bounds: where a group's descriptor and an inode lie. `blocks` leads from a file's blocks to
//! those of the disk, `directory` from names to inodes, `inode_table` through all inodes. [`probe()`] is one look on top of that, [`Tree`]
//! a whole tree from its start to its end, [`Volume`] one that many threads read wherever they like. Every error is an [`ExtError`].

mod blocks;
mod checksum;
mod directory;
mod error;
mod fs;
mod group;
mod inode;
mod inode_table;
pub mod probe;
mod superblock;
mod tree;
mod volume;

pub use crate::file::{FileType, Ids, Xattr};
pub use crate::source::{ReadAt, Window, read_exact_at};
pub use blocks::content::{Content, Extent};
pub use directory::Entry;
pub use error::ExtError;
pub use fs::Effort;
pub use probe::room::{Lack, Room};
pub use probe::{Found, Owner, Probe, State, features, owners_below_upper, probe, probe_measured, room, stamp};
pub use superblock::Stamp;
pub use superblock::features::Features;
pub(crate) use superblock::has_magic;
pub use tree::{Name, Node, Tree, Visit, Walk};
pub use volume::{Stat, Time, Volume};

/// The parts that a writer works with.
pub mod raw {
    pub use super::blocks::claims::Claims;
    pub use super::blocks::journal::JournalMap;
    pub use super::blocks::map::pointer_offset;
    pub use super::blocks::pointers::{Endless, Pointers};
    pub use super::directory::{
        Entries, block_count, check_plain, code_of, each_entry, lookup, put_name, put_type, read_block, remove_name,
        type_of,
    };
    pub use super::fs::Fs;
    pub use super::group::{GroupDescriptor, clear_bit, set_bit};
    pub use super::inode::{InoSet, Inode, InodeRecord, flag};
    pub use super::inode_table::{Chunk, Holes, NextData, each_chunk, require_apart};
    pub use super::probe::{find_upper_and_work, state_of};
    pub use super::superblock::features::compat::DIR_INDEX;
    pub use super::superblock::features::ro_compat::LARGE_FILE;
    pub use super::superblock::{COMPAT_AT, ROOT_INO, RawSuperblock, SUPERBLOCK_OFFSET, Superblock};
    pub use super::volume::acl::shown as shown_acl;
    pub use crate::file::FileType;
}
