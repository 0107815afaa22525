//! The ext engine: our own safe reader (and, for owners, writer) of ext2, ext3 and ext4 images.
//!
//! It works on the bytes of the image, so a probe costs microseconds instead of a process, and nothing in a hostile image
//! can do more than produce an error. Making, checking and resizing file systems stays with e2fsprogs.

mod bytes;
mod checksum;
mod claims;
mod content;
mod dir;
mod dirhash;
mod error;
mod features;
mod fs;
mod htree;
mod inode;
mod inoset;
mod map;
mod pointers;
mod probe;
mod room;
mod runs;
mod source;
mod stamp;
mod superblock;
mod tree;
mod xattr;

pub(crate) use bytes::{array_at, text, u16_at, u32_at, u64_at};
pub use content::{Content, Extent};
pub use error::ExtError;
pub use features::Features;
pub use inode::{FileType, Ids};
pub(crate) use probe::features;
pub use probe::{Found, Owner, Probe, State, probe, probe_measured, room, stamp, way};
pub use room::{Lack, Room};
pub(crate) use source::read_exact_at;
pub use source::{Effort, ReadAt, Window};
pub use stamp::Stamp;
pub(crate) use superblock::has_magic;
pub use tree::{Met, Name, Node, Tree};
pub use xattr::Xattr;

/// The parts that a writer of owners works with.
pub(crate) mod raw {
    pub(crate) use super::checksum::{inode_checksum, seal_inode, stored_inode_checksum};
    pub(crate) use super::claims::Claims;
    pub(crate) use super::dir::{
        Entries, block_count, check_plain, each_block, put_name, put_type, read_block, remove_name, scan,
    };
    pub(crate) use super::features::compat::DIR_INDEX;
    pub(crate) use super::fs::Fs;
    pub(crate) use super::inode::{
        FileType, GroupDescriptor, Inode, clear_bit, clear_flag, delete_inode, flag, flags_of, ids_of, is_live,
        kind_of, make_whiteout, put_ids, set_bit,
    };
    pub(crate) use super::inoset::InoSet;
    pub(crate) use super::map::pointer_offset;
    pub(crate) use super::pointers::{Endless, Pointers};
    pub(crate) use super::probe::{find_upper_and_work, state_of};
    pub(crate) use super::superblock::{COMPAT_AT, ROOT_INO, Superblock, put_free_inodes, put_valid};
}
