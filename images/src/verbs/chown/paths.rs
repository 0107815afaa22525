//! From a path in an image to its inode, and from a directory back to its path.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use condatainer_formats::ext::ExtError;
use condatainer_formats::ext::raw::{
    Claims, Entries, FileType, Fs, InoSet, ROOT_INO, block_count, check_plain, each_entry, lookup, read_block,
};

/// The inode at `path` in `upper`, without following symbolic links; `None` when there is none.
pub(super) fn resolve(fs: &Fs<'_>, upper: u32, path: &Path) -> Result<Option<u32>, ExtError> {
    let mut ino = upper;
    for part in path.components() {
        let name = match part {
            Component::RootDir | Component::CurDir => continue,
            Component::Normal(name) => name.as_bytes(),
            Component::ParentDir | Component::Prefix(_) => return Ok(None),
        };
        let dir = fs.inode(ino)?;
        if dir.file_type() != FileType::Directory {
            return Ok(None);
        }
        check_plain(&dir, "a directory on the way")?;
        let [Some(next)] = lookup(fs, &dir, [name])? else { return Ok(None) };
        ino = next;
    }
    Ok(Some(ino))
}

/// The path of a directory from the image's root, found by climbing; `None` where the names do not lead there.
pub(super) fn path_of(fs: &Fs<'_>, directory: u32) -> Option<PathBuf> {
    const DEEPEST: usize = 256;
    let mut names = Vec::new();
    let (mut climbed, mut claims) = (InoSet::default(), Claims::default());
    let mut ino = directory;
    while ino != ROOT_INO {
        let parent = parent_of(fs, ino)?;
        if names.len() > DEEPEST || !climbed.insert(parent) {
            return None;
        }
        claims.claim(&fs.sb, parent, block_count(&fs.sb, &fs.inode(parent).ok()?)).ok()?;
        names.push(name_in(fs, parent, ino)?);
        ino = parent;
    }
    Some(names.iter().rev().map(|name| OsStr::from_bytes(name)).collect())
}

fn parent_of(fs: &Fs<'_>, ino: u32) -> Option<u32> {
    let dir = fs.inode(ino).ok()?;
    check_plain(&dir, "a directory").ok()?;
    let (_, block) = read_block(fs, &dir, 0).ok()?;
    let mut entries = Entries::of(&block, &fs.sb);
    entries.find_map(|entry| entry.ok().filter(|entry| entry.name == b"..")).map(|entry| entry.ino)
}

fn name_in(fs: &Fs<'_>, parent: u32, child: u32) -> Option<Vec<u8>> {
    let mut found = None;
    let dir = fs.inode(parent).ok()?;
    let looked = each_entry(fs, &dir, &mut |entry| {
        if entry.ino == child {
            found = Some(entry.name.to_vec());
        }
        if found.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    looked.ok().and(found)
}
