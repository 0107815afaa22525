//! Extended attributes of an inode: those beside its fields, those in its attribute block, and large values in inodes of
//! their own.

use crate::bytes::{u8_at, u16_at, u32_at};
use crate::ext::blocks::content::Content;
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::{InodeRecord, flag};
use crate::file::Xattr;

const MAGIC: u32 = 0xEA02_0000;
/// Block header, before the first entry.
const BLOCK_HEADER: usize = 32;
/// Entry, before its name.
const ENTRY_HEADER: usize = 16;
/// The kernel's limit for one value.
const LARGEST_VALUE: usize = 64 * 1024;
/// All values of one file together; real ones have a few hundred bytes.
const MOST_VALUES: usize = 1 << 20;
/// On disk, ext keeps access control lists in a form of its own.
const ACL_ACCESS: u8 = 2;
const ACL_DEFAULT: u8 = 3;

/// All attributes of the inode of this record.
pub(crate) fn xattrs(fs: &Fs<'_>, record: &InodeRecord) -> Result<Vec<Xattr>, ExtError> {
    let mut all = Vec::new();
    let room = record.attributes().filter(|room| u32_at(room, 0) == Some(MAGIC));
    if let Some(body) = room.and_then(|room| room.get(4..)) {
        collect(fs, body, body, &mut all)?;
    }
    if record.inode.file_acl() != 0 {
        let block = fs.read_block(record.inode.file_acl(), "an attribute block")?;
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
        let broken = || ExtError::corrupt("an extended attribute is broken");
        let (length, attribute) = parse(fs, entry, values)?.ok_or_else(broken)?;
        all.extend(attribute);
        at += length;
        if all.iter().map(|xattr| xattr.value.len()).sum::<usize>() > MOST_VALUES {
            return Err(ExtError::unsupported("more than 1 MiB of extended attributes for one file"));
        }
    }
    Ok(())
}

/// One entry and its length; an attribute of no known class has no name that anybody could ask for.
#[allow(clippy::type_complexity)]
fn parse(fs: &Fs<'_>, entry: &[u8], values: &[u8]) -> Result<Option<(usize, Option<Xattr>)>, ExtError> {
    let header = || {
        let length = usize::from(u8_at(entry, 0)?);
        let suffix = entry.get(ENTRY_HEADER..ENTRY_HEADER + length)?;
        let size = usize::try_from(u32_at(entry, 8)?).ok().filter(|size| *size <= LARGEST_VALUE)?;
        Some((suffix, u8_at(entry, 1)?, usize::from(u16_at(entry, 2)?), u32_at(entry, 4)?, size))
    };
    let Some((suffix, class, offset, in_inode, size)) = header() else { return Ok(None) };
    let value = match in_inode {
        0 => values.get(offset..offset + size).map(<[u8]>::to_vec),
        ino => Some(large_value(fs, ino, size)?),
    };
    let Some(value) = value else { return Ok(None) };
    let name = prefix(class).map(|prefix| [prefix, suffix].concat());
    let length = (ENTRY_HEADER + suffix.len()).next_multiple_of(4);
    Ok(Some((length, name.map(|name| Xattr { name, value }))))
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
