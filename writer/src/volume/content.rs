//! The content of files. Bytes go to the device outside of the store's lock, and before anything points to them.

use std::ops::Range;

use condatainer_formats::ext::{FileType, Stat};
use condatainer_formats::source::read_exact_at;
use nix::errno::Errno;

use super::base::{Volume, now};
use super::flags::{may_change, may_gain, may_write};
use super::orphan;
use super::says::{drop_capabilities, strip};
use crate::alloc;
use crate::error::{Error, Result};
use crate::inode::Node;
use crate::map::{self, Run};
use crate::store::{Handle, Held};

/// What is looked up, written or cleared at once, in blocks.
const AT_ONCE: u64 = 1024;

/// A piece of a file that is written in one go.
enum Place {
    /// It has blocks.
    Mapped { first: u64, bytes: usize },
    /// There is a hole, for which these blocks are held.
    Hole { first: u64, held: Held, bytes: usize },
}

impl Volume {
    /// Fills `buf` with content from `offset` on, as far as there is any; holes read as zeros.
    ///
    /// # Errors
    /// Not a regular file, or it cannot be read.
    pub fn read(&self, ino: u32, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let _content = self.contents.of(ino).read();
        let block_size = self.block_size();
        let size = self.look(|handle| Ok(file(handle, ino)?.inode()?.size()))?;
        let length = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let (mut done, buf) = (0, buf.get_mut(..length).unwrap_or_default());
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            let (first, within) = (at / block_size, at % block_size);
            let wanted = (within + rest.len() as u64).div_ceil(block_size).min(AT_ONCE);
            let run = self.run(ino, first, wanted)?;
            let bytes = bytes_of(run.blocks, within, rest.len(), block_size);
            let piece = rest.get_mut(..bytes).unwrap_or_default();
            match run.physical {
                None => piece.fill(0),
                Some(physical) => {
                    self.geometry.require_free_for_files(physical..physical + run.blocks, "a file")?;
                    read_exact_at(&*self.device, piece, physical * block_size + within)?;
                }
            }
            done += bytes;
        }
        Ok(done)
    }

    /// Writes `data` and returns how much there was room for; `strips` takes set-user-ID and set-group-ID away.
    ///
    /// # Errors
    /// No room for any of it (`ENOSPC`), a file that would be too long (`EFBIG`), or it cannot be written.
    pub fn write(&self, ino: u32, offset: u64, data: &[u8], strips: bool) -> Result<usize> {
        let end = offset.checked_add(data.len() as u64).ok_or(Errno::EFBIG)?;
        let most = map::longest(&self.geometry);
        let data = match end.checked_sub(most) {
            Some(over) if over > 0 => {
                let fits = usize::try_from(most.saturating_sub(offset)).unwrap_or(0);
                data.get(..fits).filter(|data| !data.is_empty()).ok_or(Errno::EFBIG)?
            }
            _ => data,
        };
        let _content = self.contents.of(ino).write();
        let size = self.size_of(ino, |node| may_write(node, offset))?;
        if offset > size {
            self.clear_tail(ino, size)?;
        }
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            match self.write_piece(ino, offset + done as u64, rest, strips && done == 0) {
                Ok(bytes) => done += bytes,
                // What was written before counts; who asks for the rest gets the error.
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_piece(&self, ino: u32, offset: u64, data: &[u8], strips: bool) -> Result<usize> {
        let block_size = self.block_size();
        let (logical, within) = (offset / block_size, offset % block_size);
        let place = self.with_room(|| self.place(ino, logical, within, data.len()))?;
        let (bytes, held) = match place {
            Place::Mapped { first, bytes } => {
                let piece = data.get(..bytes).unwrap_or_default();
                self.device.write_at(piece, first * block_size + within)?;
                (bytes, None)
            }
            Place::Hole { first, held, bytes } => {
                let piece = data.get(..bytes).unwrap_or_default();
                self.write_whole(piece, within as usize, &held.blocks())?;
                (bytes, Some((first, held)))
            }
        };
        self.with_room(|| {
            self.change(|handle| {
                let mut node = file(handle, ino)?;
                if let Some((logical, held)) = &held {
                    insert(handle, &mut node, *logical, held)?;
                }
                let end = offset + bytes as u64;
                if end > node.inode()?.size() {
                    node.set_size(handle, end)?;
                }
                self.content_changed(handle, &mut node, strips)?;
                node.write(handle)
            })
        })?;
        Ok(bytes)
    }

    /// Where the next piece goes.
    fn place(&self, ino: u32, logical: u64, within: u64, length: usize) -> Result<Place> {
        let block_size = self.block_size();
        let wanted = (within + length as u64).div_ceil(block_size).min(AT_ONCE);
        self.change(|handle| {
            let node = file(handle, ino)?;
            let run = map::find(handle, &node, logical, wanted)?;
            let blocks = run.blocks.min(wanted);
            match run.physical {
                Some(first) => {
                    handle.geometry().require_free_for_files(first..first + blocks, "a file")?;
                    Ok(Place::Mapped { first, bytes: bytes_of(blocks, within, length, block_size) })
                }
                None => {
                    let goal = map::goal(handle, &node, logical)?;
                    let held = alloc::hold(handle, ino, goal, blocks)?;
                    let blocks = held.blocks();
                    let bytes = bytes_of(blocks.end - blocks.start, within, length, block_size);
                    Ok(Place::Hole { first: logical, held, bytes })
                }
            }
        })
    }

    /// Writes whole new blocks: what the data leaves of the first and of the last one is zeros.
    fn write_whole(&self, data: &[u8], within: usize, blocks: &Range<u64>) -> Result<()> {
        let block_size = self.block_size();
        let length = usize::try_from((blocks.end - blocks.start) * block_size).map_err(|_| Errno::EFBIG)?;
        let at = blocks.start * block_size;
        if within == 0 && data.len() == length {
            return Ok(self.device.write_at(data, at)?);
        }
        let mut whole = vec![0; length];
        if let Some(place) = whole.get_mut(within..within + data.len()) {
            place.copy_from_slice(data);
        }
        Ok(self.device.write_at(&whole, at)?)
    }

    /// What lies behind the end of the content in its last block must read as zeros once the file is longer.
    fn clear_tail(&self, ino: u32, size: u64) -> Result<()> {
        let block_size = self.block_size();
        let within = size % block_size;
        if within == 0 {
            return Ok(());
        }
        let run = self.run(ino, size / block_size, 1)?;
        let Some(physical) = run.physical else { return Ok(()) };
        self.geometry.require_free_for_files(physical..physical + 1, "a file")?;
        let zeros = vec![0; (block_size - within) as usize];
        Ok(self.device.write_at(&zeros, physical * block_size + within)?)
    }

    /// Makes a file longer or shorter.
    ///
    /// # Errors
    /// Not a regular file, too long (`EFBIG`), or it cannot be written.
    pub fn truncate(&self, ino: u32, size: u64, strips: bool) -> Result<Stat> {
        if size > map::longest(&self.geometry) {
            return Err(Errno::EFBIG.into());
        }
        let _content = self.contents.of(ino).write();
        let before = self.size_of(ino, may_change)?;
        self.clear_tail(ino, before.min(size))?;
        let first = size.div_ceil(self.block_size());
        orphan::shorten(self, ino, first, |handle, node| {
            if node.inode()?.size() != size {
                node.set_size(handle, size)?;
            }
            self.content_changed(handle, node, strips)
        })?;
        self.stat(ino)
    }

    /// Makes a hole of whatever lies in a range of bytes; the size stays. `strips` as in [`Self::write`].
    ///
    /// # Errors
    /// Not a regular file, or it cannot be written.
    pub fn punch(&self, ino: u32, range: Range<u64>, strips: bool) -> Result<()> {
        let _content = self.contents.of(ino).write();
        let block_size = self.block_size();
        let size = self.size_of(ino, may_change)?;
        let is_end = range.end > size;
        let range = range.start.min(size)..range.end.min(size);
        let whole = range.start.div_ceil(block_size)..range.end / block_size;
        // The last block goes as a whole where the range goes on behind it, as in the kernel.
        let whole = if is_end { whole.start..size.div_ceil(block_size) } else { whole };
        let edges = [
            range.start..(whole.start * block_size).min(range.end),
            (whole.end * block_size).max(range.start)..range.end,
        ];
        for edge in edges.into_iter().filter(|edge| !edge.is_empty()) {
            self.clear(ino, edge)?;
        }
        if whole.is_empty() {
            return self.change(|handle| {
                let mut node = file(handle, ino)?;
                self.content_changed(handle, &mut node, strips)?;
                node.write(handle)
            });
        }
        let mut to = whole.end;
        while to > whole.start {
            to = self.change(|handle| {
                let mut node = file(handle, ino)?;
                let rest = map::punch(handle, &mut node, whole.start, to)?;
                self.content_changed(handle, &mut node, strips)?;
                node.write(handle)?;
                Ok(rest)
            })?;
        }
        Ok(())
    }

    /// Zeros in a part of one block, if it is on the disk.
    fn clear(&self, ino: u32, range: Range<u64>) -> Result<()> {
        let block_size = self.block_size();
        let (logical, within) = (range.start / block_size, range.start % block_size);
        let run = self.run(ino, logical, 1)?;
        let Some(physical) = run.physical else { return Ok(()) };
        self.geometry.require_free_for_files(physical..physical + 1, "a file")?;
        let length = (range.end - range.start).min(block_size - within);
        Ok(self.device.write_at(&vec![0; length as usize], physical * block_size + within)?)
    }

    /// Gives a range of a file blocks where it has none; they read as zeros. The file is at least `range.end` long then. `strips` as in
    /// [`Self::write`].
    ///
    /// # Errors
    /// No room (`ENOSPC`), too long (`EFBIG`), or not a regular file.
    pub fn allocate(&self, ino: u32, range: Range<u64>, strips: bool) -> Result<()> {
        if range.end > map::longest(&self.geometry) {
            return Err(Errno::EFBIG.into());
        }
        let _content = self.contents.of(ino).write();
        let block_size = self.block_size();
        let size = self.size_of(ino, may_gain)?;
        self.clear_tail(ino, size)?;
        let (mut at, end) = (range.start / block_size, range.end.div_ceil(block_size));
        while at < end {
            let wanted = (end - at).min(AT_ONCE);
            let bytes = usize::try_from(wanted * block_size).map_err(|_| Errno::EFBIG)?;
            match self.with_room(|| self.place(ino, at, 0, bytes))? {
                Place::Mapped { bytes, .. } => at += (bytes as u64).div_ceil(block_size),
                Place::Hole { first, held, .. } => {
                    self.write_whole(&[], 0, &held.blocks())?;
                    let blocks = held.blocks().end - held.blocks().start;
                    self.change_with_room(|handle| {
                        let mut node = file(handle, ino)?;
                        insert(handle, &mut node, first, &held)?;
                        // As far as it is there: blocks behind the end of a file belong to nobody.
                        let reached = ((first + blocks) * block_size).min(range.end);
                        if reached > node.inode()?.size() {
                            node.set_size(handle, reached)?;
                        }
                        node.write(handle)
                    })?;
                    at += blocks;
                }
            }
        }
        self.change(|handle| {
            let mut node = file(handle, ino)?;
            if range.end > node.inode()?.size() {
                node.set_size(handle, range.end)?;
            }
            self.content_changed(handle, &mut node, strips)?;
            node.write(handle)
        })
    }

    /// The next place from `offset` on with data, or with a hole.
    ///
    /// # Errors
    /// The file ends before it (`ENXIO`), or it cannot be read.
    pub fn seek(&self, ino: u32, offset: u64, hole: bool) -> Result<u64> {
        let _content = self.contents.of(ino).read();
        let block_size = self.block_size();
        let size = self.look(|handle| Ok(file(handle, ino)?.inode()?.size()))?;
        let mut at = offset;
        while at < size {
            let (logical, most) = (at / block_size, (size - at).div_ceil(block_size) + 1);
            let run = self.run(ino, logical, most)?;
            if run.physical.is_none() == hole {
                return Ok(at);
            }
            at = logical.saturating_add(run.blocks.max(1)).saturating_mul(block_size);
        }
        if hole && offset < size { Ok(size) } else { Err(Errno::ENXIO.into()) }
    }

    /// How long a file is that passes a test.
    fn size_of(&self, ino: u32, passes: impl FnOnce(&Node) -> Result<()>) -> Result<u64> {
        self.look(|handle| {
            let node = file(handle, ino)?;
            passes(&node)?;
            Ok(node.inode()?.size())
        })
    }

    /// The content is another. The node is not written.
    fn content_changed(&self, handle: &mut Handle<'_>, node: &mut Node, strips: bool) -> Result<()> {
        node.set_modified(now())?;
        if strips { strip(handle, node) } else { drop_capabilities(handle, node) }
    }

    /// Where a block of a file lies, and how many of the next lie together with it, at most `most`.
    fn run(&self, ino: u32, logical: u64, most: u64) -> Result<Run> {
        self.look(|handle| {
            let node = file(handle, ino)?;
            map::find(handle, &node, logical, most)
        })
    }

    fn block_size(&self) -> u64 {
        u64::from(self.geometry.sb.block_size)
    }
}

/// How many of `length` bytes lie in so many blocks, the first of which is entered at `within`.
fn bytes_of(blocks: u64, within: u64, length: usize, block_size: u64) -> usize {
    let room = blocks.saturating_mul(block_size).saturating_sub(within);
    usize::try_from(room).unwrap_or(usize::MAX).min(length)
}

/// The inode of a regular file.
fn file(handle: &mut Handle<'_>, ino: u32) -> Result<Node> {
    let node = Node::read(handle, ino)?;
    match node.inode()?.file_type() {
        FileType::Regular => Ok(node),
        FileType::Directory => Err(Errno::EISDIR.into()),
        FileType::Unknown => Err(Error::corrupt(format!("inode {ino} has no type"))),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// Blocks that were held, and have their data, become a file's. The node is not written.
fn insert(handle: &mut Handle<'_>, node: &mut Node, logical: u64, held: &Held) -> Result<()> {
    let blocks = held.blocks();
    alloc::take(handle, held)?;
    map::insert(handle, node, Run { logical, physical: Some(blocks.start), blocks: blocks.end - blocks.start })
}
