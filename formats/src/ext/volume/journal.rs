//! A file system as it is once its journal is replayed. The file stays as it is: what is newer in the journal is read from there.

use std::io;
use std::ops::ControlFlow;

use crate::ext::blocks::map::{Run, walk};
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::superblock::features::incompat;
use crate::file::FileType;
use crate::jbd2::{self, JournalError, Place, Replay};
use crate::source::{ReadAt, Window, read_exact_at};

/// A journal in more pieces is not believed: mke2fs makes one of a handful.
const MOST_PIECES: usize = 1 << 16;

/// The file, with what its journal has lying over it.
struct Replayed<'a> {
    file: Box<dyn ReadAt + 'a>,
    window: Window,
    block_size: u64,
    journal: Pieces,
    replay: Replay,
}

/// Where the journal's blocks lie, by their number in the journal.
struct Pieces(Vec<Run>);

/// The journal itself, from its first byte.
struct Journal<'a> {
    file: &'a dyn ReadAt,
    window: Window,
    block_size: u64,
    pieces: &'a Pieces,
}

/// What reads as the file system in `window` of `file` does after a mount. A journal counts only where the superblock says so, as for the
/// kernel; also one that fuse2fs did not use.
pub(super) fn replayed<'a>(file: Box<dyn ReadAt + 'a>, window: Window) -> Result<Box<dyn ReadAt + 'a>, ExtError> {
    let Some((block_size, pieces)) = find(&file, window)? else { return Ok(file) };
    let journal = Journal { file: &file, window, block_size: block_size.into(), pieces: &pieces };
    let room = pieces.0.iter().map(|run| run.logical + run.blocks).max().unwrap_or(0);
    let replay = jbd2::recover(&journal, room, block_size, window.size / u64::from(block_size)).map_err(error)?;
    if replay.is_empty() {
        return Ok(file);
    }
    Ok(Box::new(Replayed { file, window, block_size: block_size.into(), journal: pieces, replay }))
}

/// The journal of a file system that needs it.
fn find(file: &dyn ReadAt, window: Window) -> Result<Option<(u32, Pieces)>, ExtError> {
    let fs = Fs::open(file, window, u64::MAX)?;
    if !fs.sb.features.has_incompat(incompat::RECOVER) {
        return Ok(None);
    }
    match fs.sb.journal_inum {
        _ if !fs.sb.features.has_journal() => Err(ExtError::corrupt("it needs a journal that it does not have")),
        0 => Err(ExtError::unsupported("a journal in another file")),
        ino => {
            let inode = fs.inode(ino)?;
            if inode.file_type() != FileType::Regular || !inode.is_live() {
                return Err(ExtError::corrupt("its journal is no file"));
            }
            let blocks = inode.size() / u64::from(fs.sb.block_size);
            let mut pieces: Vec<Run> = Vec::new();
            walk(&fs, &inode, 0..blocks, &mut |run| {
                match pieces.last_mut() {
                    Some(last) if last.is_before(&run) => last.blocks += run.blocks,
                    _ => pieces.push(run),
                }
                match pieces.len() > MOST_PIECES {
                    true => Err(ExtError::unsupported(format!("a journal in more than {MOST_PIECES} pieces"))),
                    false => Ok(ControlFlow::Continue(())),
                }
            })?;
            Ok(Some((fs.sb.block_size, Pieces(pieces))))
        }
    }
}

fn error(error: JournalError) -> ExtError {
    match error {
        JournalError::Io(error) => ExtError::Io(error),
        JournalError::Corrupt(_) => ExtError::corrupt(error.to_string()),
        JournalError::Unsupported(what) => ExtError::unsupported(what),
    }
}

impl Pieces {
    /// Where a block of the journal lies, and how many behind it lie together.
    fn find(&self, block: u64) -> io::Result<(u64, u64)> {
        let index = self.0.partition_point(|run| run.logical + run.blocks <= block);
        match self.0.get(index).filter(|run| run.logical <= block) {
            Some(run) => Ok((run.physical + (block - run.logical), run.logical + run.blocks - block)),
            None => Err(io::Error::other(ExtError::corrupt("its journal has a hole"))),
        }
    }
}

impl ReadAt for Journal<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let (block, within) = (offset / self.block_size, offset % self.block_size);
        let (physical, together) = self.pieces.find(block)?;
        let length = usize::try_from(together * self.block_size - within).unwrap_or(usize::MAX).min(buf.len());
        let buf = buf.get_mut(..length).unwrap_or_default();
        read_exact_at(self.file, buf, self.window.offset + physical * self.block_size + within)?;
        Ok(length)
    }
}

impl ReadAt for Replayed<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(at) = offset.checked_sub(self.window.offset) else { return self.file.read_at(buf, offset) };
        let (block, within) = (at / self.block_size, at % self.block_size);
        let next = self.replay.next_from(block);
        let is_here = next.is_some_and(|place| place.block == block);
        // As far as one of both goes: this block, or all blocks before the next one that the journal has.
        let until = match next {
            Some(_) if is_here => self.block_size - within,
            Some(place) => (place.block - block) * self.block_size - within,
            None => u64::MAX,
        };
        let length = usize::try_from(until).unwrap_or(usize::MAX).min(buf.len());
        let buf = buf.get_mut(..length).unwrap_or_default();
        match next.filter(|_| is_here) {
            Some(place) => self.read_journal(buf, place, within),
            None => self.file.read_at(buf, offset),
        }
    }
}

impl Replayed<'_> {
    fn read_journal(&self, buf: &mut [u8], place: Place, within: u64) -> io::Result<usize> {
        let (physical, _) = self.journal.find(place.at.into())?;
        read_exact_at(self.file.as_ref(), buf, self.window.offset + physical * self.block_size + within)?;
        if place.is_escaped {
            let head = Place::ESCAPED.iter().skip(usize::try_from(within).unwrap_or(usize::MAX));
            buf.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
        }
        Ok(buf.len())
    }
}
