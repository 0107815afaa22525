//! The ext engine: our own safe reader (and, for owners, writer) of ext2, ext3 and ext4 images.
//!
//! It works on the bytes of the image, so a probe costs microseconds instead of a process, and nothing in a hostile image
//! can do more than produce an error. Making, checking and resizing file systems stays with e2fsprogs.

pub mod blocks;
mod checksum;
pub mod directory;
pub mod error;
pub mod features;
mod fs;
mod inode;
mod inode_table;
mod inoset;
pub mod probe;
mod superblock;
mod tree;
mod walk;
mod xattr;

pub(crate) use crate::bytes::{array_at, text, u16_at, u32_at, u64_at};
pub use crate::ext::blocks::content::{Content, Extent};
pub use crate::ext::probe::room::{Lack, Room};
pub use crate::ext::probe::stamp::Stamp;
pub use crate::source::read_exact_at;
pub use crate::source::{Effort, ReadAt, Window};
pub use error::ExtError;
pub use features::Features;
pub use inode::{FileType, Ids};
pub use probe::features;
pub use probe::{Found, Owner, Probe, State, probe, probe_measured, room, stamp, way};
pub use superblock::has_magic;
pub use tree::{Met, Name, Node, Tree};
pub use walk::{Visit, Walk};
pub use xattr::Xattr;

/// The parts that a writer of owners works with.
pub mod raw {
    pub use super::checksum::{inode_checksum, seal_inode, stored_inode_checksum};
    pub use super::features::compat::DIR_INDEX;
    pub use super::fs::Fs;
    pub use super::inode::{
        FileType, GroupDescriptor, Inode, clear_bit, clear_flag, delete_inode, flag, flags_of, ids_of, is_live,
        kind_of, make_whiteout, put_ids, set_bit,
    };
    pub use super::inode_table::{Chunk, Holes, NextData, each_chunk, require_apart};
    pub use super::inoset::InoSet;
    pub use super::probe::{find_upper_and_work, state_of};
    pub use super::superblock::{COMPAT_AT, ROOT_INO, Superblock, put_free_inodes, put_valid};
    pub use crate::ext::blocks::claims::Claims;
    pub use crate::ext::blocks::map::pointer_offset;
    pub use crate::ext::blocks::pointers::{Endless, Pointers};
    pub use crate::ext::directory::dir::{
        Entries, block_count, check_plain, each_block, put_name, put_type, read_block, remove_name, scan,
    };
}
