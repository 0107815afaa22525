//! Inodes and the group descriptors that locate them: the few fields that matter here.

use super::error::ExtError;
use super::features::incompat;
use super::superblock::Superblock;
use crate::bytes::{array_at, put_u16, put_u32, u16_at, u32_at};

pub(crate) const GENERATION_AT: usize = 0x64;
pub(crate) const CHECKSUM_LO_AT: usize = 0x7C;
pub(crate) const EXTRA_ISIZE_AT: usize = 0x80;
pub(crate) const CHECKSUM_HI_AT: usize = 0x82;
/// Where the map of its blocks begins.
pub(crate) const BLOCK_AT: u64 = 0x28;
const FLAGS_AT: usize = 0x20;
const CTIME_AT: usize = 0x0C;
const MTIME_AT: usize = 0x10;
const DELETED_AT: usize = 0x14;
const CTIME_EXTRA_AT: usize = 0x84;
const MTIME_EXTRA_AT: usize = 0x88;
const UID_AT: usize = 0x02;
const GID_AT: usize = 0x18;
const UID_HIGH_AT: usize = 0x78;
const GID_HIGH_AT: usize = 0x7A;

/// Bits of `i_flags`.
pub mod flag {
    pub(crate) const ENCRYPT: u32 = 0x800;
    pub const INDEX: u32 = 0x1000;
    pub(crate) const EXTENTS: u32 = 0x8_0000;
    pub const EA_INODE: u32 = 0x20_0000;
    pub const INLINE_DATA: u32 = 0x1000_0000;
    pub(crate) const CASEFOLD: u32 = 0x4000_0000;
}

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

    /// In the order of the type byte of directory entries, from 1.
    const IN_ENTRIES: [Self; 7] =
        [Self::Regular, Self::Directory, Self::CharDevice, Self::BlockDevice, Self::Fifo, Self::Socket, Self::Symlink];

    /// From the type byte of a directory entry; `None` when it does not tell.
    pub(crate) fn from_entry(code: u8) -> Option<Self> {
        Self::IN_ENTRIES.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// The type byte of a directory entry; 0 tells nothing.
    pub(crate) fn entry_code(self) -> u8 {
        (1..).zip(Self::IN_ENTRIES).find(|(_, kind)| *kind == self).map_or(0, |(code, _)| code)
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

/// The fields of an on-disk inode that are used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    pub(crate) mode: u16,
    pub ids: Ids,
    pub links_count: u16,
    pub(crate) size: u64,
    pub flags: u32,
    pub(crate) block: [u8; 60],
    /// In units of 512 bytes, attribute blocks included; only whether it is none is used.
    pub(crate) blocks: u32,
    /// Block with extended attributes, 0 for none.
    pub(crate) file_acl: u64,
}

impl Inode {
    /// Parses one record of the inode table.
    pub fn from_bytes(b: &[u8]) -> Option<Self> {
        let mode = u16_at(b, 0)?;
        // Only directories and regular files use the high half for their size.
        let size_high = u32_at(b, 0x6C)?;
        Some(Self {
            mode,
            ids: ids_of(b)?,
            links_count: u16_at(b, 0x1A)?,
            size: u64::from(u32_at(b, 0x04)?) | u64::from(size_high) << 32,
            flags: u32_at(b, FLAGS_AT)?,
            block: array_at(b, 0x28)?,
            blocks: u32_at(b, 0x1C)?,
            file_acl: u64::from(u32_at(b, 0x68)?) | u64::from(u16_at(b, 0x76)?) << 32,
        })
    }

    /// Whether there are blocks besides that with the extended attributes.
    pub fn has_blocks(&self, sb: &Superblock) -> bool {
        let of_attributes = if self.file_acl == 0 { 0 } else { sb.cluster_size / 512 };
        self.blocks > of_attributes
    }

    /// Whether a symbolic link keeps its target in the inode itself; judged as the kernel judges it.
    ///
    /// With the feature `ea_inode` the blocks of a large attribute, which lie in an inode of their own, count as the link's. So
    /// there only the length tells. Without it only the blocks do: old kernels gave short targets a block, too.
    pub(crate) fn is_fast_symlink(&self, sb: &Superblock) -> bool {
        let short = (1..self.block.len() as u64).contains(&self.size);
        let plain = !self.has(flag::INLINE_DATA) && !self.has(flag::EXTENTS);
        match sb.features.has_incompat(incompat::EA_INODE) {
            true => short && plain,
            false => short && !self.has_blocks(sb),
        }
    }

    /// Last change of the content, from the whole record: seconds since 1970, and nanoseconds where there is room for them.
    pub(crate) fn mtime(&self, raw: &[u8]) -> (i64, u32) {
        time(raw, MTIME_AT, MTIME_EXTRA_AT)
    }

    /// Last change of anything, which no program can set, in the same form.
    pub(crate) fn ctime(&self, raw: &[u8]) -> (i64, u32) {
        time(raw, CTIME_AT, CTIME_EXTRA_AT)
    }

    pub fn file_type(&self) -> FileType {
        FileType::from_mode(self.mode)
    }

    pub fn has(&self, bit: u32) -> bool {
        self.flags & bit != 0
    }
}

fn time(raw: &[u8], at: usize, extra_at: usize) -> (i64, u32) {
    let seconds = i64::from(u32_at(raw, at).unwrap_or(0).cast_signed());
    let reaches = u16_at(raw, EXTRA_ISIZE_AT).is_some_and(|extra| usize::from(extra) + 128 >= extra_at + 4);
    let extra = if reaches { u32_at(raw, extra_at).unwrap_or(0) } else { 0 };
    // The low two bits continue the seconds, the others count nanoseconds.
    (seconds + (i64::from(extra & 3) << 32), extra >> 2)
}

/// Whether a raw inode is in use: it has a type and at least one name.
pub fn is_live(b: &[u8]) -> bool {
    u16_at(b, 0).is_some_and(|mode| mode != 0) && u16_at(b, 0x1A).is_some_and(|links| links != 0)
}

/// What kind of file a raw inode is.
pub fn kind_of(b: &[u8]) -> Option<FileType> {
    u16_at(b, 0).map(FileType::from_mode)
}

/// The flags of a raw inode.
pub fn flags_of(b: &[u8]) -> Option<u32> {
    u32_at(b, 0x20)
}

/// Owner and group of a raw inode, both halves.
pub fn ids_of(b: &[u8]) -> Option<Ids> {
    let join = |low, high| Some(u32::from(u16_at(b, low)?) | u32::from(u16_at(b, high)?) << 16);
    Some(Ids { uid: join(UID_AT, UID_HIGH_AT)?, gid: join(GID_AT, GID_HIGH_AT)? })
}

/// Replaces owner and group of a raw inode, both halves; false when the record is too short.
#[must_use]
pub fn put_ids(b: &mut [u8], ids: Ids) -> bool {
    put_u16(b, UID_AT, (ids.uid & 0xFFFF) as u16)
        && put_u16(b, UID_HIGH_AT, (ids.uid >> 16) as u16)
        && put_u16(b, GID_AT, (ids.gid & 0xFFFF) as u16)
        && put_u16(b, GID_HIGH_AT, (ids.gid >> 16) as u16)
}

/// Makes a raw inode without blocks a character device 0/0 of this owner, with the permissions and the attributes that it has. False
/// when the record is too short. An owner whom a container's user namespace does not know would be in the way of whoever
/// wants the name back (EOVERFLOW).
#[must_use]
pub fn make_whiteout(b: &mut [u8], owner: Ids) -> bool {
    const BLOCK: std::ops::Range<usize> = 0x28..0x64;
    let Some(mode) = u16_at(b, 0) else { return false };
    let Some(block) = b.get_mut(BLOCK) else { return false };
    block.fill(0);
    put_u16(b, 0, mode & 0o7777 | 0x2000) && put_ids(b, owner) && clear_flag(b, flag::EXTENTS)
}

/// Makes a raw inode one that was deleted at `time`, in seconds since 1970. False when the record is too short.
#[must_use]
pub fn delete_inode(b: &mut [u8], time: u32) -> bool {
    const LINKS_AT: usize = 0x1A;
    put_u16(b, LINKS_AT, 0) && put_u32(b, DELETED_AT, time)
}

/// Sets a bit of a bitmap; false when it was set already, or is not there.
#[must_use]
pub fn set_bit(bitmap: &mut [u8], bit: u32) -> bool {
    let mask = 1 << (bit % 8);
    let byte = bitmap.get_mut((bit / 8) as usize).filter(|byte| **byte & mask == 0);
    byte.map(|byte| *byte |= mask).is_some()
}

/// Clears a bit of a bitmap; false when it was clear already, or is not there.
#[must_use]
pub fn clear_bit(bitmap: &mut [u8], bit: u32) -> bool {
    let mask = 1 << (bit % 8);
    let byte = bitmap.get_mut((bit / 8) as usize).filter(|byte| **byte & mask != 0);
    byte.map(|byte| *byte &= !mask).is_some()
}

/// Takes a flag away from a raw inode; false when the record is too short.
#[must_use]
pub fn clear_flag(b: &mut [u8], bit: u32) -> bool {
    let Some(flags) = u32_at(b, FLAGS_AT).map(|flags| flags & !bit) else { return false };
    put_u32(b, FLAGS_AT, flags)
}

/// What a group descriptor says about the inode table of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupDescriptor {
    pub block_bitmap: u64,
    pub inode_bitmap: u64,
    pub inode_table: u64,
    pub flags: u16,
    pub itable_unused: u32,
}

impl GroupDescriptor {
    pub const INODE_UNINIT: u16 = 0x1;

    pub fn from_bytes(b: &[u8], sb: &Superblock) -> Option<Self> {
        let wide = sb.features.has_incompat(incompat::BIT64);
        let high = |at| if wide { u32_at(b, at) } else { Some(0) };
        let unused_high = if wide { u32::from(u16_at(b, 0x32)?) } else { 0 };
        Some(Self {
            block_bitmap: u64::from(u32_at(b, 0x0)?) | u64::from(high(0x20)?) << 32,
            inode_bitmap: u64::from(u32_at(b, 0x4)?) | u64::from(high(0x24)?) << 32,
            inode_table: u64::from(u32_at(b, 0x8)?) | u64::from(high(0x28)?) << 32,
            flags: u16_at(b, 0x12)?,
            itable_unused: u32::from(u16_at(b, 0x1C)?) | unused_high << 16,
        })
    }

    /// Counts `more` free inodes, or fewer, in a raw descriptor; false when it is too short.
    #[must_use]
    pub fn add_free_inodes(b: &mut [u8], sb: &Superblock, more: i64) -> bool {
        Self::add(b, sb, (0xE, 0x2E), more)
    }

    /// The same for blocks.
    #[must_use]
    pub fn add_free_blocks(b: &mut [u8], sb: &Superblock, more: i64) -> bool {
        Self::add(b, sb, (0xC, 0x2C), more)
    }

    /// Both halves of a count; the second one only in wide descriptors.
    fn add(b: &mut [u8], sb: &Superblock, (at, high_at): (usize, usize), more: i64) -> bool {
        let wide = sb.features.has_incompat(incompat::BIT64);
        let high = if wide { u16_at(b, high_at).unwrap_or(0) } else { 0 };
        let Some(low) = u16_at(b, at) else { return false };
        let sum = (i64::from(low) | i64::from(high) << 16).saturating_add(more).max(0);
        put_u16(b, at, (sum & 0xFFFF) as u16) && (!wide || put_u16(b, high_at, (sum >> 16 & 0xFFFF) as u16))
    }

    /// The end of the descriptors behind the first superblock, in bytes.
    pub fn first_table_end(sb: &Superblock) -> u64 {
        let per_block = u64::from(sb.block_size / u32::from(sb.desc_size));
        let all = sb.group_count().div_ceil(per_block);
        let spread = sb.features.has_incompat(incompat::META_BG);
        let blocks = if spread { all.min(u64::from(sb.first_meta_bg)) } else { all };
        table_block(sb, blocks).saturating_mul(u64::from(sb.block_size))
    }

    /// Where the descriptor of `group` lies, in bytes; with meta_bg descriptors are spread over the disk.
    pub fn offset(sb: &Superblock, group: u64) -> Result<u64, ExtError> {
        let per_block = u64::from(sb.block_size / u32::from(sb.desc_size));
        let (metagroup, index) = (group / per_block, group % per_block);
        let spread = sb.features.has_incompat(incompat::META_BG) && metagroup >= u64::from(sb.first_meta_bg);
        let block = if spread { spread_block(sb, metagroup, per_block) } else { table_block(sb, metagroup) };
        Ok(sb.block_offset(block, "the group descriptor table")? + index * u64::from(sb.desc_size))
    }
}

/// The descriptor block `index` of the one table behind the superblock.
fn table_block(sb: &Superblock, index: u64) -> u64 {
    u64::from(sb.first_data_block) + boot_block(sb) + 1 + index
}

/// The descriptor block of a metagroup, in the first group of it.
fn spread_block(sb: &Superblock, metagroup: u64, groups: u64) -> u64 {
    let first = metagroup.saturating_mul(groups);
    let start = first.saturating_mul(u64::from(sb.blocks_per_group)).saturating_add(u64::from(sb.first_data_block));
    let boot = if metagroup == 0 { boot_block(sb) } else { 0 };
    start.saturating_add(u64::from(sb.group_has_super(first)) + boot)
}

/// With clusters of 1 KiB blocks, block 0 is the boot block although it is counted.
fn boot_block(sb: &Superblock) -> u64 {
    u64::from(sb.block_size == 1024 && sb.first_data_block == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_two_halves() {
        let mut raw = vec![0; 128];
        let ids = Ids { uid: 0x0012_d687, gid: 70_000 };
        assert!(put_ids(&mut raw, ids));
        assert_eq!(ids_of(&raw), Some(ids));
        assert_eq!(u16_at(&raw, UID_AT), Some(0xd687));
        assert_eq!(ids_of(&raw[..0x79]), None);
    }

    #[test]
    fn types_follow_the_mode() {
        assert_eq!(FileType::from_mode(0o040_755), FileType::Directory);
        assert_eq!(FileType::from_mode(0o120_777), FileType::Symlink);
        assert_eq!(FileType::from_mode(0), FileType::Unknown);
    }
}
