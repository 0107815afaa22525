//! The file and its free space together: blocks that are written, or go back where they came from.

use std::io::IoSlice;

use nix::errno::Errno;

use super::backing::Backing;
use super::space::{Run, Space};

use crate::serve::tree::{Answer, Room};

/// In bytes; a page, which is what the kernel asks for.
pub(crate) const BLOCK: u64 = 4096;
pub(super) const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

/// The file and its free space.
#[derive(Debug)]
pub(crate) struct Data {
    pub(super) backing: Backing,
    pub(super) space: Space,
}

impl Data {
    /// An empty one, in which files may have `limit` bytes together.
    pub(crate) fn new(backing: Backing, limit: Option<u64>) -> Self {
        Self { backing, space: Space::new(limit.map(|bytes| bytes / BLOCK)) }
    }

    /// How much there is room for.
    pub(crate) fn room(&self) -> Answer<Room> {
        let disk = self.backing.file_system()?;
        let unit = disk.fragment_size().max(1);
        let of_disk = |count: u64| (u128::from(count) * u128::from(unit) / u128::from(BLOCK)) as u64;
        let (taken, limit) = self.space.taken();
        // The kernel's own tmpfs, in which files without a directory lie, has no size and says so by zeros.
        let free = if disk.blocks() == 0 { u64::MAX } else { of_disk(disk.blocks_available()) };
        let (blocks, free) = match limit {
            Some(limit) => (limit, free.min(limit.saturating_sub(taken))),
            None => (of_disk(disk.blocks()), free),
        };
        Ok(Room { block: BLOCK as u32, blocks, free, inodes: 1 << 32, free_inodes: 1 << 31 })
    }

    /// Writes `data` into fresh blocks, `head` bytes behind their beginning, and returns the number of blocks that are then complete, and the
    /// number of bytes in them. What was not written is given back.
    pub(super) fn fill(&self, run: Run, head: u64, data: &[u8]) -> Answer<(u64, usize)> {
        let all = (run.len * BLOCK) as usize;
        let (head, tail) = (head as usize, all - head as usize - data.len());
        let result = if run.clean {
            self.backing.write(run.at * BLOCK + head as u64, &[IoSlice::new(data)]).map(|done| head + done)
        } else {
            let slices = [IoSlice::new(&ZEROS[..head]), IoSlice::new(data), IoSlice::new(&ZEROS[..tail])];
            self.backing.write(run.at * BLOCK, &slices)
        };
        let written = match &result {
            Ok(done) if *done >= head + data.len() && (run.clean || *done == all) => return Ok((run.len, data.len())),
            Ok(done) => *done as u64 / BLOCK,
            Err(_) => 0,
        };
        self.release(&[(run.at + written, run.len - written)]);
        match result {
            Ok(_) if written == 0 => Err(Errno::ENOSPC),
            Ok(_) => Ok((written, (written * BLOCK) as usize - head)),
            Err(error) => Err(error),
        }
    }

    /// Gives blocks back.
    pub(super) fn release(&self, runs: &[(u64, u64)]) {
        for run in self.space.give_back(runs) {
            self.clean(run);
        }
    }

    /// Gives the disk everything back that no file has any more, for one that is full. It returns whether there was anything.
    pub(super) fn tidy(&self) -> bool {
        self.space.all_written().into_iter().filter(|run| self.clean(*run)).count() > 0
    }

    fn clean(&self, run: (u64, u64)) -> bool {
        let done = self.backing.punch(run.0 * BLOCK, run.1 * BLOCK).is_ok();
        self.space.cleaned(run, done);
        done
    }
}
