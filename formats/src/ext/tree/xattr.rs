//! Extended attributes of an inode: those beside its fields, those in its attribute block, and large values in inodes of
//! their own.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::bytes::u32_at;
use crate::ext::blocks::content::Content;
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::{InodeRecord, flag};
use crate::file::Xattr;

const MAGIC: u32 = 0xEA02_0000;
/// Block header, before the first entry.
const BLOCK_HEADER: usize = 32;
/// The kernel's limit for one value.
const LARGEST_VALUE: usize = 64 * 1024;
/// All values of one file together; real ones have a few hundred bytes.
const MOST_VALUES: usize = 1 << 20;
/// On disk, ext keeps access control lists in a form of its own.
const ACL_ACCESS: u8 = 2;
const ACL_DEFAULT: u8 = 3;

/// The kernel's `ext4_xattr_entry`, under its names. The name follows.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Entry {
    e_name_len: u8,
    e_name_index: u8,
    e_value_offs: U16,
    e_value_inum: U32,
    e_value_size: U32,
    e_hash: U32,
}

/// All attributes of the inode of this record.
pub(crate) fn xattrs(fs: &Fs<'_>, record: &InodeRecord) -> Result<Vec<Xattr>, ExtError> {
    let mut all = Vec::new();
    let room = record.attributes().filter(|room| u32_at(room, 0) == Some(MAGIC));
    if let Some(body) = room.and_then(|room| room.get(4..)) {
        collect(fs, body, body, &mut all)?;
    }
    if record.inode.file_acl() != 0 {
        let block = fs.block(record.inode.file_acl(), "an attribute block")?;
        if u32_at(&block, 0) != Some(MAGIC) {
            return Err(ExtError::corrupt("an attribute block has no magic"));
        }
        collect(fs, block.get(BLOCK_HEADER..).unwrap_or_default(), &block, &mut all)?;
    }
    all.sort();
    Ok(all)
}

/// Values lie at offsets from the start of `values`; the entries end with four zero bytes.
fn collect(fs: &Fs<'_>, entries: &[u8], values: &[u8], all: &mut Vec<Xattr>) -> Result<(), ExtError> {
    let mut at = 0;
    while let Some(entry) = entries.get(at..).filter(|rest| u32_at(rest, 0).is_some_and(|word| word != 0)) {
        let (length, attribute) = parse(fs, entry, values)?;
        all.extend(attribute);
        at += length;
        if all.iter().map(|xattr| xattr.value.len()).sum::<usize>() > MOST_VALUES {
            return Err(ExtError::unsupported("more than 1 MiB of extended attributes for one file"));
        }
    }
    Ok(())
}

/// One entry and its length; an attribute of no known class has no name that anybody could ask for.
fn parse(fs: &Fs<'_>, entry: &[u8], values: &[u8]) -> Result<(usize, Option<Xattr>), ExtError> {
    let broken = || ExtError::corrupt("an extended attribute is broken");
    let (header, rest) = Entry::ref_from_prefix(entry).map_err(|_| broken())?;
    let suffix = rest.get(..usize::from(header.e_name_len)).ok_or_else(broken)?;
    let size = usize::try_from(header.e_value_size.get()).ok().filter(|size| *size <= LARGEST_VALUE);
    let (size, offset) = (size.ok_or_else(broken)?, usize::from(header.e_value_offs.get()));
    let value = match header.e_value_inum.get() {
        0 => values.get(offset..offset + size).ok_or_else(broken)?.to_vec(),
        ino => large_value(fs, ino, size)?,
    };
    let name = prefix(header.e_name_index).map(|prefix| [prefix, suffix].concat());
    let length = (size_of::<Entry>() + suffix.len()).next_multiple_of(4);
    Ok((length, name.map(|name| Xattr { name, value })))
}

fn large_value(fs: &Fs<'_>, ino: u32, size: usize) -> Result<Vec<u8>, ExtError> {
    let inode = fs.inode(ino)?;
    if !inode.has(flag::EA_INODE) || inode.size() != size as u64 {
        return Err(ExtError::corrupt("an extended attribute points to an inode that is not for attributes"));
    }
    Content::of(fs, &inode)?.read_whole(size)
}

fn prefix(class: u8) -> Option<&'static [u8]> {
    Some(match class {
        1 => b"user.",
        ACL_ACCESS => b"system.posix_acl_access",
        ACL_DEFAULT => b"system.posix_acl_default",
        4 => b"trusted.",
        6 => b"security.",
        7 => b"system.",
        _ => return None,
    })
}
