//! Names into a directory with an index: where a block is full it is split, and so are the blocks of the index.

use condatainer_formats::ext::raw::{FileType, flag};
use nix::errno::Errno;

use super::blocks::{self, Block};
use super::hash::{Hash, Hasher};
use super::index::{Path, Table, broken, put_root};
use super::record::{Form, Record};
use crate::error::Result;
use crate::inode::Node;
use crate::store::Handle;

/// Puts a name into the block at the end of `path`, which is the one for its hash.
pub(super) fn insert(
    handle: &mut Handle<'_>,
    dir: &mut Node,
    path: Path,
    (name, ino, kind): (&[u8], u32, FileType),
) -> Result<()> {
    let form = Form::of(&handle.geometry().sb);
    let names = path.read(handle, dir)?;
    if let Some(room) = form.room(&names.bytes, name)? {
        return form.put(handle.change(names.physical)?, room, name, ino, kind);
    }
    let hash = path.hasher.hash(name);
    let path = make_room(handle, dir, path, hash)?;
    let physical = split_names(handle, dir, &path, &names, hash)?;
    let bytes = handle.block(physical)?;
    let room = form.room(&bytes, name)?.ok_or_else(broken)?;
    form.put(handle.change(physical)?, room, name, ino, kind)
}

/// Makes room for one more entry in the last table of `path`, and returns the way that is right then.
fn make_room(handle: &mut Handle<'_>, dir: &mut Node, path: Path, hash: Hash) -> Result<Path> {
    if path.tables.last().is_none_or(|last| !last.is_full()) {
        return Ok(path);
    }
    match path.tables.as_slice() {
        [root] => deepen(handle, dir, root)?,
        [root, node] if !root.is_full() => split_node(handle, dir, root, node)?,
        // One level more comes with the feature `large_dir`.
        _ => return Err(Errno::ENOSPC.into()),
    }
    let path = Path::find(handle, dir, |_| hash.major)?.ok_or_else(broken)?;
    // The root of an image that says so has more entries than a node has room for.
    if path.tables.last().is_none_or(Table::is_full) { Err(broken()) } else { Ok(path) }
}

/// All of the root's entries go to a node.
fn deepen(handle: &mut Handle<'_>, dir: &mut Node, root: &Table) -> Result<()> {
    let (logical, physical) = blocks::append(handle, dir)?;
    root.copy_to_node(handle, 0, physical)?;
    root.deepen(handle, logical)
}

/// The upper half of a node's entries goes to a new one.
fn split_node(handle: &mut Handle<'_>, dir: &mut Node, root: &Table, node: &Table) -> Result<()> {
    let (logical, physical) = blocks::append(handle, dir)?;
    let half = node.count / 2;
    let least = node.copy_to_node(handle, half, physical)?;
    node.cut(handle, half)?;
    root.insert(handle, least, logical)
}

/// The names with the higher hashes go to a new block: half of what there is, in bytes. Returns which of both blocks, on the disk, a
/// new name of this hash belongs to.
fn split_names(handle: &mut Handle<'_>, dir: &mut Node, path: &Path, names: &Block, hash: Hash) -> Result<u64> {
    let form = Form::of(&handle.geometry().sb);
    let sorted = sorted(form, &path.hasher, names)?;
    let split = split_point(&sorted);
    let (lower, upper) = sorted.split_at_checked(split).ok_or_else(broken)?;
    let (Some((below, _)), Some((least, _))) = (lower.last(), upper.first()) else { return Err(broken()) };
    let (logical, physical) = blocks::append(handle, dir)?;
    form.pack(handle.change(physical)?, &names.bytes, upper.iter().map(|(_, record)| *record))?;
    form.pack(handle.change(names.physical)?, &names.bytes, lower.iter().map(|(_, record)| *record))?;
    let last = path.tables.last().ok_or_else(broken)?;
    last.insert(handle, least | u32::from(least == below), logical)?;
    Ok(if hash.major >= *least { physical } else { names.physical })
}

/// The records of a block that have names, by their hashes.
fn sorted(form: Form, hasher: &Hasher, names: &Block) -> Result<Vec<(u32, Record)>> {
    let mut sorted = Vec::new();
    for record in form.records(&names.bytes) {
        let record = record?;
        if record.ino != 0 {
            sorted.push((hasher.hash(record.name(&names.bytes)).major, record));
        }
    }
    sorted.sort_by_key(|(hash, _)| *hash);
    Ok(sorted)
}

/// How many records stay, so that both halves have as nearly as possible the same bytes: then each has room for the longest name.
fn split_point(sorted: &[(u32, Record)]) -> usize {
    let all: usize = sorted.iter().map(|(_, record)| record.used()).sum();
    let mut lower = 0;
    let points = sorted.iter().enumerate().skip(1).zip(sorted).map(|((point, _), (_, record))| {
        lower += record.used();
        (all.abs_diff(2 * lower), point)
    });
    points.min().map_or(0, |(_, point)| point)
}

/// Gives a directory of one block an index: its names go to a second block. False when the file system has no hash that is known.
pub(super) fn make_index(handle: &mut Handle<'_>, dir: &mut Node, first: &Block) -> Result<bool> {
    let geometry = handle.geometry();
    let (form, version) = (Form::of(&geometry.sb), geometry.sb.def_hash_version);
    let records = form.records(&first.bytes).collect::<Result<Vec<_>>>()?;
    let begins_as_usual = matches!(records.as_slice(), [dot, dotdot, ..]
        if dot.name(&first.bytes) == b"." && dotdot.name(&first.bytes) == b".." && dotdot.at == super::index::DOTDOT_AT);
    if Hasher::of(&geometry.sb, version).is_none() || !begins_as_usual {
        return Ok(false);
    }
    let names = records.into_iter().skip(2).filter(|record| record.ino != 0);
    let (logical, physical) = blocks::append(handle, dir)?;
    form.pack(handle.change(physical)?, &first.bytes, names)?;
    put_root(handle.change(first.physical)?, version, logical)?;
    let inode = dir.inode_mut()?;
    inode.i_flags.set(inode.i_flags.get() | flag::INDEX);
    Ok(true)
}
