//! What every inode has: the first 128 bytes of the kernel's `ext4_inode`.

use std::mem::offset_of;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ext::superblock::Superblock;
use crate::ext::superblock::features::{incompat, ro_compat};
use crate::file::{FileType, Ids, device};

/// Bits of `i_flags`.
pub mod flag {
    /// It is to be removed so that nobody can bring it back; no kernel does that.
    pub const SECRM: u32 = 0x1;
    /// It is to be removed so that it can be brought back; no kernel does that.
    pub const UNRM: u32 = 0x2;
    /// It is to be compressed; no kernel does that.
    pub const COMPR: u32 = 0x4;
    /// Writes wait for the disk.
    pub const SYNC: u32 = 0x8;
    /// Nobody may change it.
    pub const IMMUTABLE: u32 = 0x10;
    /// It can only grow.
    pub const APPEND: u32 = 0x20;
    /// dump(8) leaves it out.
    pub const NODUMP: u32 = 0x40;
    /// Reading leaves no trace.
    pub const NOATIME: u32 = 0x80;
    /// It is not to be compressed.
    pub const NOCOMPR: u32 = 0x400;
    pub(crate) const ENCRYPT: u32 = 0x800;
    /// The directory has an index.
    pub const INDEX: u32 = 0x1000;
    /// Its content goes through the journal.
    pub const JOURNAL_DATA: u32 = 0x4000;
    /// Its last block is its own.
    pub const NOTAIL: u32 = 0x8000;
    /// Changes in the directory wait for the disk.
    pub const DIRSYNC: u32 = 0x1_0000;
    /// Directories in it have nothing to do with each other and are spread over the disk.
    pub const TOPDIR: u32 = 0x2_0000;
    /// What it takes of the disk is counted in blocks.
    pub(crate) const HUGE_FILE: u32 = 0x4_0000;
    /// The blocks are mapped by an extent tree.
    pub const EXTENTS: u32 = 0x8_0000;
    /// It holds the value of an extended attribute.
    pub const EA_INODE: u32 = 0x20_0000;
    /// The content lies in the inode itself.
    pub const INLINE_DATA: u32 = 0x1000_0000;
    pub(crate) const CASEFOLD: u32 = 0x4000_0000;
}

/// Where `i_block` begins in an inode, in bytes.
pub(crate) const I_BLOCK_AT: u64 = offset_of!(Inode, i_block) as u64;

/// The fields, under the kernel's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Inode {
    pub i_mode: U16,
    pub i_uid: U16,
    pub i_size_lo: U32,
    pub i_atime: U32,
    pub i_ctime: U32,
    pub i_mtime: U32,
    pub i_dtime: U32,
    pub i_gid: U16,
    pub i_links_count: U16,
    pub i_blocks_lo: U32,
    pub i_flags: U32,
    pub l_i_version: U32,
    pub i_block: [U32; 15],
    pub i_generation: U32,
    pub i_file_acl_lo: U32,
    pub i_size_high: U32,
    pub i_obso_faddr: U32,
    pub l_i_blocks_high: U16,
    pub l_i_file_acl_high: U16,
    pub l_i_uid_high: U16,
    pub l_i_gid_high: U16,
    pub l_i_checksum_lo: U16,
    pub l_i_reserved: U16,
}

const _: () = assert!(size_of::<Inode>() == 128);

impl Inode {
    /// From the beginning of a record; `None` when it is too short.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::read_from_prefix(bytes).ok().map(|(inode, _)| inode)
    }

    /// What kind of file it is.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        FileType::from_mode(self.i_mode.get())
    }

    /// Permission bits (the low twelve).
    #[must_use]
    pub fn permissions(&self) -> u16 {
        self.i_mode.get() & 0o7777
    }

    /// Gives it other permission bits (the low twelve).
    pub fn set_permissions(&mut self, permissions: u16) {
        self.i_mode.set(self.i_mode.get() & !0o7777 | permissions & 0o7777);
    }

    /// Owner and group, both halves.
    #[must_use]
    pub fn ids(&self) -> Ids {
        let join = |low: U16, high: U16| u32::from(low) | u32::from(high) << 16;
        Ids { uid: join(self.i_uid, self.l_i_uid_high), gid: join(self.i_gid, self.l_i_gid_high) }
    }

    /// Gives it to this owner and group.
    pub fn set_ids(&mut self, ids: Ids) {
        self.i_uid.set((ids.uid & 0xFFFF) as u16);
        self.l_i_uid_high.set((ids.uid >> 16) as u16);
        self.i_gid.set((ids.gid & 0xFFFF) as u16);
        self.l_i_gid_high.set((ids.gid >> 16) as u16);
    }

    /// In bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::from(self.i_size_lo) | u64::from(self.i_size_high) << 32
    }

    /// Makes it `size` bytes long.
    pub fn set_size(&mut self, size: u64) {
        self.i_size_lo.set((size & 0xFFFF_FFFF) as u32);
        self.i_size_high.set((size >> 32) as u32);
    }

    /// The block with extended attributes, 0 for none.
    #[must_use]
    pub fn file_acl(&self) -> u64 {
        u64::from(self.i_file_acl_lo) | u64::from(self.l_i_file_acl_high) << 32
    }

    /// Whether a bit of `i_flags` is set.
    #[must_use]
    pub fn has(&self, flag: u32) -> bool {
        self.i_flags.get() & flag != 0
    }

    /// Sets a bit of `i_flags`.
    pub fn set(&mut self, flag: u32) {
        self.i_flags.set(self.i_flags.get() | flag);
    }

    /// Takes a bit of `i_flags` away.
    pub fn clear(&mut self, flag: u32) {
        self.i_flags.set(self.i_flags.get() & !flag);
    }

    /// Whether it is in use: it has a type and at least one name.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.i_mode.get() != 0 && self.i_links_count.get() != 0
    }

    /// Whether there are blocks besides that with the extended attributes.
    #[must_use]
    pub fn has_blocks(&self, sb: &Superblock) -> bool {
        // In units of 512 bytes, attribute blocks included.
        let of_attributes = if self.file_acl() == 0 { 0 } else { sb.cluster_size / 512 };
        self.i_blocks_lo.get() > of_attributes
    }

    /// What it takes of the disk, in units of 512 bytes.
    pub(crate) fn sectors(&self, sb: &Superblock) -> u64 {
        let low = u64::from(self.i_blocks_lo);
        if !sb.features.has_ro_compat(ro_compat::HUGE_FILE) {
            return low;
        }
        let all = low | u64::from(self.l_i_blocks_high) << 32;
        if self.has(flag::HUGE_FILE) { all * u64::from(sb.block_size / 512) } else { all }
    }

    /// Whether a symbolic link keeps its target in the inode itself; judged as the kernel judges it.
    ///
    /// With the feature `ea_inode` the blocks of a large attribute, which lie in an inode of their own, count as the link's. So
    /// there only the length tells. Without it only the blocks do: old kernels gave short targets a block, too.
    #[must_use]
    pub fn is_fast_symlink(&self, sb: &Superblock) -> bool {
        let short = (1..size_of_val(&self.i_block) as u64).contains(&self.size());
        let plain = !self.has(flag::INLINE_DATA) && !self.has(flag::EXTENTS);
        match sb.features.has_incompat(incompat::EA_INODE) {
            true => short && plain,
            false => short && !self.has_blocks(sb),
        }
    }

    /// Major and minor number of a device, in the old form or in the new one; 0:0 of everything else.
    #[must_use]
    pub fn device(&self) -> (u32, u32) {
        let [old, new] = [self.i_block[0].get(), self.i_block[1].get()];
        match (self.file_type(), old) {
            (FileType::CharDevice | FileType::BlockDevice, 0) => device(new),
            (FileType::CharDevice | FileType::BlockDevice, _) => ((old >> 8) & 0xFF, old & 0xFF),
            _ => (0, 0),
        }
    }

    /// Makes it the device with this major and minor number, in the form that the kernel would choose: the old one has room for one
    /// byte each.
    pub fn set_device(&mut self, (major, minor): (u32, u32)) {
        let is_old = major < 256 && minor < 256;
        let (old, new) = (major << 8 | minor, (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & 0xF_FF00) << 12);
        self.i_block = [U32::ZERO; 15];
        self.i_block[usize::from(!is_old)].set(if is_old { old } else { new });
    }

    /// Makes an inode without blocks a character device 0/0 of this owner, with the permissions and the attributes that it has. An
    /// owner whom a container's user namespace does not know would be in the way of whoever wants the name back (EOVERFLOW).
    pub fn make_whiteout(&mut self, owner: Ids) {
        self.i_block = [U32::ZERO; 15];
        self.i_mode.set(self.permissions() | 0x2000);
        self.set_ids(owner);
        self.clear(flag::EXTENTS);
    }

    /// Makes it one that was deleted at `time`, in seconds since 1970.
    pub fn delete(&mut self, time: u32) {
        self.i_links_count.set(0);
        self.i_dtime.set(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_lie_where_the_kernel_has_them() {
        assert_eq!(offset_of!(Inode, i_gid), 0x18);
        assert_eq!(I_BLOCK_AT, 0x28);
        assert_eq!(offset_of!(Inode, i_generation), 0x64);
        assert_eq!(offset_of!(Inode, l_i_file_acl_high), 0x76);
        assert_eq!(offset_of!(Inode, l_i_checksum_lo), 0x7C);
    }

    #[test]
    fn ids_have_two_halves() {
        let raw = vec![0; 128];
        let ids = Ids { uid: 0x0012_d687, gid: 70_000 };
        let mut inode = Inode::from_bytes(&raw).unwrap();
        inode.set_ids(ids);
        assert_eq!(inode.ids(), ids);
        assert_eq!(inode.as_bytes()[2..4], [0x87, 0xd6]);
        assert_eq!(Inode::from_bytes(&raw[..0x79]), None);
    }

    #[test]
    fn devices_come_back_in_either_form() {
        let mut inode = Inode::from_bytes(&[0; 128]).unwrap();
        inode.i_mode.set(0o060_600);
        for device in [(0, 0), (8, 1), (255, 255), (256, 0), (8, 256), (0xFFF, 0xF_FFFF)] {
            inode.set_device(device);
            assert_eq!(inode.device(), device);
        }
    }

    #[test]
    fn sizes_have_two_halves() {
        let mut inode = Inode::from_bytes(&[0; 128]).unwrap();
        inode.set_size((5 << 32) + 7);
        assert_eq!((inode.size(), inode.i_size_lo.get(), inode.i_size_high.get()), ((5 << 32) + 7, 7, 5));
    }
}
