//! A file system as it is once its journal is replayed. The file stays as it is: what is newer in the journal is read from there.

use std::io;

use crate::ext::blocks::journal::JournalMap;
use crate::ext::error::ExtError;
use crate::ext::fs::Fs;
use crate::ext::superblock::features::incompat;
use crate::jbd2::{Place, Replay};
use crate::source::{ReadAt, Window, read_exact_at};

/// The file, with what its journal has lying over it.
struct Replayed<'a> {
    file: Box<dyn ReadAt + 'a>,
    window: Window,
    block_size: u64,
    journal: JournalMap,
    replay: Replay,
}

/// What reads as the file system in `window` of `file` does after a mount. A journal counts only where the superblock says so, as for the
/// kernel; also one that fuse2fs did not use.
pub(super) fn replayed<'a>(file: Box<dyn ReadAt + 'a>, window: Window) -> Result<Box<dyn ReadAt + 'a>, ExtError> {
    let Some((block_size, journal)) = find(&file, window)? else { return Ok(file) };
    let replay = journal.recover(&file, window)?;
    if replay.is_empty() {
        return Ok(file);
    }
    Ok(Box::new(Replayed { file, window, block_size, journal, replay }))
}

/// The journal of a file system that needs it, with the size of its blocks.
fn find(file: &dyn ReadAt, window: Window) -> Result<Option<(u64, JournalMap)>, ExtError> {
    let fs = Fs::open(file, window, u64::MAX)?;
    match fs.sb.features.has_incompat(incompat::RECOVER) {
        true => Ok(Some((fs.sb.block_size.into(), JournalMap::of(&fs)?))),
        false => Ok(None),
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
