//! What lies in the inode itself, with the feature `inline_data`: the first 60 bytes in place of the block map, the rest as an attribute.

use std::ops::ControlFlow;

use zerocopy::IntoBytes;

use crate::ext::directory::{Entries, Entry};
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::inode::{InodeRecord, flag};
use crate::ext::tree::xattr::xattrs;
use crate::file::FileType;

const REST: &[u8] = b"system.data";
/// The number of the parent stands in place of `.` and `..`.
const PARENT: usize = 4;

/// The content of a file or a link; what is missing at its end are zeros.
pub(super) fn content(fs: &Fs<'_>, record: &InodeRecord) -> Result<Vec<u8>, ExtError> {
    let (first, rest) = parts(fs, record)?;
    let size = usize::try_from(record.inode.size()).ok().filter(|size| *size <= fs.sb.block_size as usize);
    let size = size.ok_or_else(|| ExtError::corrupt("a file in its inode is longer than a block"))?;
    let mut all = [first, &rest].concat();
    all.resize(size, 0);
    Ok(all)
}

/// As [`crate::ext::directory::each_entry`].
pub(super) fn each_entry(
    fs: &Fs<'_>,
    record: &InodeRecord,
    visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<(), ExtError> {
    if record.inode.file_type() != FileType::Directory {
        return Err(ExtError::corrupt("a directory is not a directory"));
    }
    if record.inode.has(flag::CASEFOLD) {
        return Err(ExtError::unsupported("casefold for a directory"));
    }
    let (first, rest) = parts(fs, record)?;
    for part in [first.get(PARENT..).unwrap_or_default(), &rest] {
        for entry in Entries::of(part, &fs.sb) {
            let entry = entry?;
            if entry.name != b"." && entry.name != b".." && visit(entry).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn parts<'a>(fs: &Fs<'_>, record: &'a InodeRecord) -> Result<(&'a [u8], Vec<u8>), ExtError> {
    if record.inode.has(flag::ENCRYPT) {
        return Err(ExtError::unsupported("encrypt for a file"));
    }
    let rest = xattrs(fs, record)?.into_iter().find(|xattr| xattr.name == REST);
    Ok((record.inode.i_block.as_bytes(), rest.map(|xattr| xattr.value).unwrap_or_default()))
}
